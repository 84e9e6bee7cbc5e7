"""Outputs of common operators on the meta device, worked out here.

torch works them out too, but its first meta operator in a process imports sympy and its compiler, more than a second.  A
rule answers `None` for whatever is unusual (mixed types, strided memory, sizes that do not fit), and then torch is
asked, which also raises the errors.  `tests/steps/test_inspect_shapes.py` holds each rule to torch's own answer.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import torch

__all__ = ["RULES", "quick"]

Rule = Callable[..., Any]
RULES: dict[str, Rule] = {}
META = torch.device("meta")
_IN_PLACE = "relu sigmoid tanh silu hardtanh hardswish hardsigmoid elu leaky_relu"
_NEW = "gelu exp neg sqrt rsqrt abs _softmax _log_softmax _safe_softmax"


def quick(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], inputs: Sequence[torch.Tensor]) -> Any:
    """The output of an operator whose tensors are `inputs`, or None if torch must be asked."""
    rule = RULES.get(str(func).removeprefix("aten."))
    if rule is None or not inputs or any(tensor.device != META for tensor in inputs):
        return None
    kind = inputs[0].dtype
    if not kind.is_floating_point or any(type(tensor) not in PLAIN or tensor.dtype != kind for tensor in inputs):
        return None
    try:
        return rule(*args, **kwargs)
    except (TypeError, IndexError, ValueError):  # arguments that the rule does not know
        return None


PLAIN = (torch.Tensor, torch.nn.Parameter)


def _rule(*names: str) -> Callable[[Rule], Rule]:
    def put(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, rule))
        return rule

    return put


def _new(like: torch.Tensor, shape: Sequence[int], dtype: torch.dtype | None = None) -> torch.Tensor | None:
    return torch.empty(tuple(shape), dtype=dtype or like.dtype, device=META) if min(shape, default=1) > 0 else None


def _pair(value: Sequence[int], n: int) -> tuple[int, ...]:
    return tuple(value) if len(value) == n else tuple(value) * n


@_rule("convolution.default")
def _convolution(
    x: torch.Tensor,
    w: torch.Tensor,
    _bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    transposed: bool,
    extra: Any,
    groups: int,
) -> Any:
    n = x.dim() - 2
    taken = int(w.shape[0]) if transposed else int(w.shape[1]) * groups
    if n < 1 or w.dim() != x.dim() or x.shape[1] != taken or w.shape[0] % groups or not x.is_contiguous():
        return None
    sides = []
    for side, kernel, s, p, d, e in zip(
        x.shape[2:],
        w.shape[2:],
        *(_pair(v, n) for v in (stride, padding, dilation, extra)),
        strict=True,
    ):
        reach = d * (kernel - 1) + 1
        sides.append((side - 1) * s - 2 * p + reach + e if transposed else (side + 2 * p - reach) // s + 1)
    return _new(x, (x.shape[0], w.shape[1] * groups if transposed else w.shape[0], *sides))


@_rule("native_batch_norm.default")
def _batch_norm(x: torch.Tensor, w: Any, b: Any, mean: Any, var: Any, training: bool, *_: Any) -> Any:
    if training or mean is None or not x.is_contiguous() or x.dim() < 2 or mean.shape[0] != x.shape[1]:
        return None
    return _new(x, x.shape), _empty(x), _empty(x)


def _empty(x: torch.Tensor) -> torch.Tensor:
    return torch.empty(0, dtype=x.dtype, device=META)


@_rule(*(f"{name}.default" for name in f"{_IN_PLACE} {_NEW}".split()))
def _same(x: torch.Tensor, *_: Any, **__: Any) -> Any:
    return _new(x, x.shape) if x.is_contiguous() else None


@_rule(*(f"{name}_.default" for name in _IN_PLACE.split()))
def _itself(x: torch.Tensor, *_: Any, **__: Any) -> Any:
    return x


@_rule("pow.Tensor_Scalar")
def _power(x: torch.Tensor, power: float) -> Any:
    return _same(x)


@_rule("_prelu_kernel.default")
def _prelu(x: torch.Tensor, w: torch.Tensor) -> Any:
    return _new(x, x.shape) if x.is_contiguous() and w.dim() == x.dim() else None


def _broadcast(a: Sequence[int], b: Sequence[int]) -> tuple[int, ...] | None:
    sides = []
    for x, y in itertools.zip_longest(reversed(a), reversed(b), fillvalue=1):
        if x != y and 1 not in (x, y):
            return None
        sides.append(y if x == 1 else x)
    return tuple(reversed(sides))


@_rule("add.Tensor", "sub.Tensor", "mul.Tensor", "div.Tensor")
def _binary(a: Any, b: Any, **_: Any) -> Any:
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return _same(a) if isinstance(a, torch.Tensor) and isinstance(b, (int, float)) else None
    shape = _broadcast(a.shape, b.shape)
    return _new(a, shape) if shape is not None and a.is_contiguous() and b.is_contiguous() else None


@_rule("add_.Tensor", "sub_.Tensor", "mul_.Tensor", "div_.Tensor")
def _binary_in_place(a: torch.Tensor, b: Any, **_: Any) -> Any:
    fits = not isinstance(b, torch.Tensor) or _broadcast(a.shape, b.shape) == tuple(a.shape)
    return a if fits else None


def _pooled(n: int, x: torch.Tensor, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil: bool) -> Any:
    if x.dim() != n + 2 or not x.is_contiguous():
        return None
    sides = []
    for side, k, s, p, d in zip(
        x.shape[2:], *(_pair(v, n) for v in (kernel, stride or kernel, padding, dilation)), strict=True
    ):
        if p > k // 2:
            return None
        room = side + 2 * p - d * (k - 1) - 1
        out = (-(-room // s) if ceil else room // s) + 1
        sides.append(out - 1 if ceil and (out - 1) * s >= side + p else out)
    return _new(x, (*x.shape[:2], *sides))


@_rule("max_pool2d_with_indices.default")
def _max_pool(
    x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), dilation: Any = (1,), ceil: Any = False
) -> Any:
    out = _pooled(2, x, kernel, stride, padding, dilation, ceil)
    return None if out is None else (out, _new(out, out.shape, torch.int64))


@_rule("avg_pool2d.default")
def _avg_pool(x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), ceil: Any = False, *_: Any) -> Any:
    return _pooled(2, x, kernel, stride, padding, (1,), ceil)


@_rule("avg_pool3d.default")
def _avg_pool3d(x: Any, kernel: Any, stride: Any = (), padding: Any = (0,), ceil: Any = False, *_: Any) -> Any:
    return _pooled(3, x, kernel, stride, padding, (1,), ceil)


@_rule("_adaptive_avg_pool2d.default")
def _adaptive(x: torch.Tensor, size: Sequence[int]) -> Any:
    return _new(x, (*x.shape[:-2], *size)) if x.dim() == 4 and x.is_contiguous() and len(size) == 2 else None


@_rule("mean.dim", "sum.dim_IntList")
def _reduced(x: torch.Tensor, dims: Sequence[int] | None, keep: bool = False, **kwargs: Any) -> Any:
    if kwargs or not dims:
        return None
    gone = {dim % x.dim() for dim in dims}
    shape = [1 if at in gone else side for at, side in enumerate(x.shape) if keep or at not in gone]
    return _new(x, shape) if x.is_contiguous() and len(gone) == len(dims) else None


@_rule("cat.default")
def _cat(tensors: Sequence[torch.Tensor], dim: int = 0) -> Any:
    first = tensors[0]
    dim %= first.dim()
    rests = {(t.dim(), *t.shape[:dim], *t.shape[dim + 1 :]) for t in tensors}
    if len(rests) > 1 or not all(t.is_contiguous() for t in tensors):
        return None
    return _new(first, (*first.shape[:dim], sum(t.shape[dim] for t in tensors), *first.shape[dim + 1 :]))


@_rule("mm.default", "bmm.default")
def _mm(a: torch.Tensor, b: torch.Tensor) -> Any:
    return (
        _new(a, (*a.shape[:-1], b.shape[-1])) if a.shape[-1] == b.shape[-2] and a.shape[:-2] == b.shape[:-2] else None
    )


@_rule("addmm.default")
def _addmm(c: torch.Tensor, a: torch.Tensor, b: torch.Tensor, **_: Any) -> Any:
    out = (a.shape[0], b.shape[1])
    return _new(a, out) if a.shape[1] == b.shape[0] and _broadcast(out, c.shape) == out else None


@_rule("native_layer_norm.default")
def _layer_norm(x: torch.Tensor, shape: Sequence[int], w: Any, b: Any, _: float) -> Any:
    if not x.is_contiguous() or tuple(x.shape[x.dim() - len(shape) :]) != tuple(shape) or (w is None) != (b is None):
        return None
    if w is not None and (tuple(w.shape) != tuple(shape) or w.shape != b.shape):
        return None
    stats = (*x.shape[: x.dim() - len(shape)], *(1 for _ in shape))
    return _new(x, x.shape), _new(x, stats), _new(x, stats)


@_rule("constant_pad_nd.default")
def _pad(x: torch.Tensor, pad: Sequence[int], _: float = 0) -> Any:
    sides = [int(side) for side in x.shape]
    for at in range(len(pad) // 2):
        sides[-1 - at] += pad[2 * at] + pad[2 * at + 1]
    return _new(x, sides) if x.is_contiguous() else None
