"""ONNX operators as torch functions."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F

__all__ = ["OPERATORS", "Operator", "Options"]

Options = Mapping[str, Any]
Operator = Callable[..., Any]


def _padded(o: Options, x: torch.Tensor, value: float) -> tuple[torch.Tensor, list[int]]:
    """`x` and the padding that torch is to add: its functions know only the same on both sides."""
    if o.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ValueError(f"auto_pad {o['auto_pad']!r}; expected explicit pads")
    sides = x.ndim - 2
    pads = list(o.get("pads", [0] * 2 * sides))
    if pads[:sides] == pads[sides:]:
        return x, pads[:sides]
    around = [pad for side in reversed(range(sides)) for pad in (pads[side], pads[sides + side])]
    return F.pad(x, around, value=value), [0] * sides


def _conv(o: Options, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
    x, pads = _padded(o, x, 0.0)
    ones = [1] * len(pads)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[len(pads) - 1]
    return convolve(x, w, b, o.get("strides", ones), pads, o.get("dilations", ones), o.get("group", 1))


def _conv_transpose(o: Options, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor | None = None) -> torch.Tensor:
    sides = x.ndim - 2
    ones, pads = [1] * sides, list(o.get("pads", [0] * 2 * sides))
    if pads[:sides] != pads[sides:]:
        raise ValueError(f"ConvTranspose with pads {pads}; expected the same on both sides")
    convolve = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[sides - 1]
    more = o.get("output_padding", [0] * sides)
    return convolve(x, w, b, o.get("strides", ones), pads[:sides], more, o.get("group", 1), o.get("dilations", ones))


def _max_pool(o: Options, x: torch.Tensor) -> torch.Tensor:
    x, pads = _padded(o, x, -torch.inf)
    ones, pool = [1] * len(pads), (F.max_pool1d, F.max_pool2d, F.max_pool3d)[len(pads) - 1]
    ceil = bool(o.get("ceil_mode", 0))
    pooled: torch.Tensor = pool(x, o["kernel_shape"], o.get("strides", ones), pads, o.get("dilations", ones), ceil)
    return pooled


def _average_pool(o: Options, x: torch.Tensor) -> torch.Tensor:
    pads = o.get("pads", [0] * 2 * (x.ndim - 2))
    sides = len(pads) // 2
    if list(pads[:sides]) != list(pads[sides:]):
        raise ValueError(f"AveragePool with pads {pads}; expected the same on both sides")
    pool = (F.avg_pool1d, F.avg_pool2d, F.avg_pool3d)[sides - 1]
    ceil, count = bool(o.get("ceil_mode", 0)), bool(o.get("count_include_pad", 0))
    return pool(x, o["kernel_shape"], o.get("strides", [1] * sides), list(pads[:sides]), ceil, count)


def _gemm(o: Options, a: torch.Tensor, b: torch.Tensor, c: torch.Tensor | None = None) -> torch.Tensor:
    if o.get("transB", 0) and not o.get("transA", 0) and o.get("alpha", 1.0) == o.get("beta", 1.0) == 1.0:
        return F.linear(a, b, c)
    a, b = (a.T if o.get("transA", 0) else a), (b.T if o.get("transB", 0) else b)
    product = a @ b if o.get("alpha", 1.0) == 1.0 else o["alpha"] * (a @ b)
    return product if c is None else product + o.get("beta", 1.0) * c


def _reduce(o: Options, x: torch.Tensor, axes: torch.Tensor | None, function: Operator) -> torch.Tensor:
    given = axes.tolist() if axes is not None else o.get("axes", [])
    over = given or ([] if o.get("noop_with_empty_axes", 0) else list(range(x.ndim)))
    reduced: torch.Tensor = function(x, over, keepdim=bool(o.get("keepdims", 1))) if over else x
    return reduced


def _slice(
    o: Options, x: torch.Tensor, starts: torch.Tensor, ends: torch.Tensor, axes: Any = None, steps: Any = None
) -> torch.Tensor:
    over = range(len(starts)) if axes is None else axes.tolist()
    by = [1] * len(starts) if steps is None else steps.tolist()
    for axis, start, end, step in zip(over, starts.tolist(), ends.tolist(), by, strict=True):
        at = range(x.shape[axis])[start : None if step < 0 and end < -x.shape[axis] else end : step]
        one = step == 1 and len(at)
        x = x.narrow(axis, at[0], len(at)) if one else x.index_select(axis, torch.tensor(list(at), dtype=torch.int64))
    return x


def _pad(o: Options, x: torch.Tensor, pads: torch.Tensor, value: Any = None, axes: Any = None) -> torch.Tensor:
    over = list(range(x.ndim)) if axes is None else [axis % x.ndim for axis in axes.tolist()]
    amounts, around = pads.tolist(), [0] * (2 * x.ndim)
    for at, axis in enumerate(over):
        around[2 * (x.ndim - 1 - axis)], around[2 * (x.ndim - 1 - axis) + 1] = amounts[at], amounts[at + len(over)]
    mode = o.get("mode", b"constant").decode()
    if mode == "constant":
        return F.pad(x, around, value=0.0 if value is None else value.item())
    while len(around) > 2 and around[-2:] == [0, 0]:
        around = around[:-2]
    return F.pad(x, around, mode={"edge": "replicate", "wrap": "circular"}.get(mode, mode))


def _reshape(o: Options, x: torch.Tensor, shape: torch.Tensor) -> torch.Tensor:
    sides = [x.shape[at] if side == 0 and not o.get("allowzero", 0) else side for at, side in enumerate(shape.tolist())]
    return x.reshape(sides)


def _unsqueeze(o: Options, x: torch.Tensor, axes: torch.Tensor) -> torch.Tensor:
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes.tolist()):
        x = x.unsqueeze(axis)
    return x


def _gather(o: Options, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    axis = o.get("axis", 0) % x.ndim
    sides = (*x.shape[:axis], *at.shape, *x.shape[axis + 1 :])
    return x.index_select(axis, at.flatten() % x.shape[axis]).reshape(sides)


def _gather_nd(o: Options, x: torch.Tensor, at: torch.Tensor) -> torch.Tensor:
    if o.get("batch_dims", 0):
        raise ValueError("GatherND with batch_dims; expected 0")
    found: torch.Tensor = x[tuple(at.unbind(-1))]
    return found


def _layer_norm(o: Options, x: torch.Tensor, scale: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    sides = x.shape[o.get("axis", -1) % x.ndim :]
    bias = bias if bias is None else bias.expand(sides)
    return F.layer_norm(x, sides, scale.expand(sides), bias, o.get("epsilon", 1e-5))


def _shape(o: Options, x: torch.Tensor) -> torch.Tensor:
    return torch.tensor(x.shape[o.get("start", 0) : o.get("end", None)], dtype=torch.int64)


def _cast(o: Options, x: torch.Tensor) -> torch.Tensor:
    return x.to(torch.from_numpy(np.empty(0, onnx.helper.tensor_dtype_to_np_dtype(o["to"]))).dtype)


def _clip(o: Options, x: torch.Tensor, low: Any = None, high: Any = None) -> torch.Tensor:
    ends = [None if end is None else end.item() for end in (low, high)]
    return x if ends == [None, None] else torch.clamp(x, *ends)


def _squeeze(o: Options, x: torch.Tensor, axes: Any = None) -> torch.Tensor:
    return x.squeeze() if axes is None else x.squeeze(tuple(axes.tolist()))


def _plain(function: Operator) -> Operator:
    """An operator without options."""
    return lambda o, *values: function(*values)


OPERATORS: dict[str, Operator] = {
    "Add": _plain(operator.add),
    "AveragePool": _average_pool,
    "BatchNormalization": lambda o, x, w, b, mean, var: F.batch_norm(
        x, mean, var, w, b, False, 0.0, o.get("epsilon", 1e-5)
    ),
    "Cast": _cast,
    "Clip": _clip,
    "Concat": lambda o, *values: torch.cat(values, o["axis"]),
    "Constant": lambda o: o["value"],
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Div": _plain(operator.truediv),
    "Elu": lambda o, x: F.elu(x, o.get("alpha", 1.0)),
    "Flatten": lambda o, x: x.reshape(int(np.prod(x.shape[: o.get("axis", 1)], dtype=int)), -1),
    "Gather": _gather,
    "GatherND": _gather_nd,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda o, x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "GlobalMaxPool": lambda o, x: x.amax(tuple(range(2, x.ndim)), keepdim=True),
    "Greater": _plain(torch.gt),
    "HardSigmoid": lambda o, x: torch.clamp(o.get("alpha", 0.2) * x + o.get("beta", 0.5), 0, 1),
    "HardSwish": _plain(F.hardswish),
    "Identity": _plain(lambda x: x),
    "InstanceNormalization": lambda o, x, w, b: F.instance_norm(x, None, None, w, b, eps=o.get("epsilon", 1e-5)),
    "LayerNormalization": _layer_norm,
    "LeakyRelu": lambda o, x: F.leaky_relu(x, o.get("alpha", 0.01)),
    "MatMul": _plain(torch.matmul),
    "MaxPool": _max_pool,
    "Mul": _plain(operator.mul),
    "Pad": _pad,
    "Pow": _plain(operator.pow),
    "ReduceMax": lambda o, x, axes=None: _reduce(o, x, axes, torch.amax),
    "ReduceMean": lambda o, x, axes=None: _reduce(o, x, axes, torch.mean),
    "ReduceSum": lambda o, x, axes=None: _reduce(o, x, axes, torch.sum),
    "Relu": _plain(torch.relu),
    "Reshape": _reshape,
    "Shape": _shape,
    "Sigmoid": _plain(torch.sigmoid),
    "Slice": _slice,
    "Softmax": lambda o, x: torch.softmax(x, o.get("axis", -1)),
    "Sqrt": _plain(torch.sqrt),
    "Squeeze": _squeeze,
    "Sub": _plain(operator.sub),
    "Tanh": _plain(torch.tanh),
    "Transpose": lambda o, x: x.permute(o.get("perm", list(reversed(range(x.ndim))))),
    "Unsqueeze": _unsqueeze,
    "Where": _plain(torch.where),
}
"""ONNX operator -> function of its options and inputs."""
