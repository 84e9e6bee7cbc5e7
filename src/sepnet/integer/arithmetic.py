"""Nodes that compute with numbers: layers, norms, functions, sums and products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sepnet.graphs.onnx_graph import Node
from sepnet.graphs.windows import reach as reach_of
from sepnet.integer.functions import clamp_of, function_of
from sepnet.integer.geometry import same_pads
from sepnet.integer.graph_values import Array, GraphValues, Ref
from sepnet.integer.operators.add import Sum
from sepnet.integer.operators.conv import Linear
from sepnet.integer.operators.fixed import Given
from sepnet.integer.operators.lookup import Function
from sepnet.integer.operators.multiply import Product
from sepnet.integer.operators.slope import Bend
from sepnet.integer.view import View

__all__ = ["bent", "binary", "conv", "floats", "gemm", "limited", "matmul", "norm", "power", "several", "unary"]


def conv(values: GraphValues, node: Node) -> None:
    """Conv of maps, and of rows as maps of height 1."""
    ref = values.map_of(node)
    weight, scale = values.weight(node, 1)
    channels, high, wide = values.shapes[ref.name]
    groups, flat = node.integer("group", 1), weight.ndim == 3
    if weight.ndim not in (3, 4) or weight.ndim != len(ref.sides) or weight.shape[1] * groups != channels:
        raise values.unsupported(node, f"a weight of shape {list(weight.shape)} for a value of {list(ref.sides)}")
    more = (1,) * flat
    strides, dilations = ((*more, *(node.integers(name) or (1,) * (2 - flat))) for name in ("strides", "dilations"))
    weight = weight[:, :, None] if flat else weight
    reach = reach_of(weight.shape[2:], dilations)
    before, after = _ends(node.integers("pads") or (0,) * (4 - 2 * flat))
    pads = same_pads(node, (high, wide), reach, strides) or (*(0,) * flat, *before, *(0,) * flat, *after)
    draft = Linear(
        ref.name,
        node.outputs[0],
        weight,
        scale,
        floats(values.constant(node, 2), weight.shape[0]),
        node.inputs[1],
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        (dilations[0], dilations[1]),
        groups,
    )
    sides = [(side + pads[at] + pads[at + 2] - reach[at]) // strides[at] + 1 for at, side in enumerate((high, wide))]
    shape = weight.shape[0], sides[0], sides[1]
    if min(shape) < 1:
        raise values.unsupported(node, f"its output would have the shape {list(shape)}")
    values.give(node, draft, shape, View.of(shape, (1, shape[0], *sides[flat:])))


def _ends(pads: Sequence[int]) -> tuple[Sequence[int], Sequence[int]]:
    return pads[: len(pads) // 2], pads[len(pads) // 2 :]


def gemm(values: GraphValues, node: Node) -> None:
    """Gemm by a constant: a convolution whose kernel is the whole map, in whatever order its numbers lie."""
    ref = values.ref(node)
    alpha, beta = node.number("alpha", 1.0), node.number("beta", 1.0)
    if len(ref.sides) != 2 or ref.sides[0] != 1 or node.integer("transA"):
        raise values.unsupported(node, f"it works on a value of shape {list(ref.sides)}")
    weight, scale = values.weight(node, 1, turned=node.op == "MatMul" or not node.integer("transB"))
    bias = beta * floats(values.constant(node, 2), weight.shape[0])
    _whole(values, node, ref, (weight, alpha * scale, bias))


def matmul(values: GraphValues, node: Node) -> None:
    """MatMul by a constant: over a whole map, or over the last side of a tensor as a convolution of 1 x 1."""
    ref = values.ref(node)
    if values.given(node, 1).ndim != 2:
        raise values.unsupported(node, f"a weight of shape {list(values.given(node, 1).shape)}")
    weight, scale = values.weight(node, 1, turned=True)
    bias = np.zeros(len(weight))
    if math.prod(ref.sides[:-1]) == 1:
        _whole(values, node, ref, (weight, scale, bias))
        return
    laid, axes = values.by_channel(node, ref, len(ref.sides) - 1)
    shape = (len(weight), *values.shapes[laid.name][1:])
    if weight.shape[1] != ref.sides[-1]:
        raise values.unsupported(node, f"a weight of shape {list(weight.shape)} for a value of {list(ref.sides)}")
    draft = Linear(laid.name, node.outputs[0], weight[:, :, None, None], scale, bias, node.inputs[1])
    values.give(node, draft, shape, View.along(axes, shape))


def _whole(values: GraphValues, node: Node, ref: Ref, layer: tuple[Array, Array, Array]) -> None:
    """A layer whose kernel is the whole map."""
    weight, scale, bias = layer
    shape = values.shapes[ref.name]
    if weight.ndim != 2 or weight.shape[1] != math.prod(shape):
        raise values.unsupported(node, f"a weight of shape {list(weight.shape)} for {math.prod(shape)} inputs")
    kernel = ref.view.put(weight.astype(np.int8), shape)
    draft = Linear(ref.name, node.outputs[0], kernel, scale, bias, node.inputs[1])
    made = weight.shape[0], 1, 1
    values.give(node, draft, made, View.of(made, (*ref.sides[:-1], made[0])))


def norm(values: GraphValues, node: Node) -> None:
    """BatchNormalization: a scale and a bias a channel."""
    gamma, beta, mean, variance = (values.given(node, at) for at in range(1, 5))
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.number("epsilon", 1e-5))
    _affine(values, node, values.ref(node), 1, scale=scale, bias=beta.astype(np.float64) - scale * mean)


def _affine(values: GraphValues, node: Node, ref: Ref, side: int, *, scale: Array, bias: Array) -> None:
    """x * scale + bias, one number each along a side."""
    laid, axes = values.by_channel(node, ref, side)
    shape = values.shapes[laid.name]
    scale, bias = (np.broadcast_to(np.asarray(each, np.float64).ravel(), (shape[0],)) for each in (scale, bias))
    ones = np.ones((shape[0], 1, 1, 1), np.int8)
    draft = Linear(
        laid.name,
        node.outputs[0],
        ones,
        scale,
        bias,
        values.layer or node.outputs[0],
        groups=shape[0],
        by_channel=True,
    )
    values.give(node, draft, shape, View.along(axes, shape))


def bent(values: GraphValues, node: Node) -> None:
    """PRelu: a slope for all, or one along a side."""
    ref, slopes = values.ref(node), values.given(node, 1).astype(np.float64)
    sides = (1,) * (len(ref.sides) - slopes.ndim) + slopes.shape
    long = [at for at, side in enumerate(sides) if side > 1]
    if slopes.size == 1:
        slope = float(slopes.ravel()[0])
        _apply(values, node, ref, lambda x: np.where(x < 0, slope * x, x), clamp=None)
        return
    if len(long) > 1 or len(sides) != len(ref.sides) or sides[long[0]] != ref.sides[long[0]]:
        raise values.unsupported(node, f"slopes of shape {list(slopes.shape)} for a value of {list(ref.sides)}")
    laid, axes = values.by_channel(node, ref, long[0])
    shape = values.shapes[laid.name]
    values.give(node, Bend(laid.name, node.outputs[0], slopes.ravel()), shape, View.along(axes, shape))


def unary(values: GraphValues, node: Node) -> None:
    """A function of each number."""
    limits = [values.constant(node, at) for at in range(1, len(node.inputs))]
    _apply(values, node, values.ref(node), function_of(node, limits), clamp=clamp_of(node, limits))


def power(values: GraphValues, node: Node) -> None:
    """Pow of one constant exponent."""
    exponent = values.given(node, 1)
    if exponent.size != 1:
        raise values.unsupported(node, f"exponents of shape {list(exponent.shape)}")
    by = float(exponent.ravel()[0])
    _apply(values, node, values.ref(node), lambda x: np.power(x, by), clamp=None)


def _apply(
    values: GraphValues,
    node: Node,
    ref: Ref,
    function: Callable[[Array], Array],
    *,
    clamp: tuple[float, float] | None,
    line: tuple[float, float] | None = None,
) -> None:
    draft = Function(ref.name, node.outputs[0], function, clamp, line)
    values.give(node, draft, values.shapes[ref.name], ref.view)


def several(values: GraphValues, node: Node) -> None:
    """Sum of one value or of two."""
    if len(node.inputs) == 1:
        values.known[node.outputs[0]] = values.ref(node)
    elif len(node.inputs) == 2:
        binary(values, replace(node, op="Add"))
    else:
        raise values.unsupported(node, f"it adds up {len(node.inputs)} values; expected two")


def limited(values: GraphValues, node: Node) -> None:
    """Max and Min of a value and a number."""
    at = int(isinstance(values.known.get(node.inputs[0]), np.ndarray))
    numbers = values.given(node, 1 - at)
    if len(node.inputs) != 2 or numbers.size != 1:
        raise values.unsupported(node, f"limits of shape {list(numbers.shape)}; expected a number")
    limit = float(numbers.ravel()[0])
    clamp = (limit, math.inf) if node.op == "Max" else (-math.inf, limit)
    _apply(values, node, values.ref(node, at), lambda x: np.clip(x, *clamp), clamp=clamp)


_LEFT = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}


def binary(values: GraphValues, node: Node) -> None:
    """Add, Sub, Mul, Div of two values, or of a value and a constant."""
    first, second = (values.known[name] for name in node.inputs[:2])
    if isinstance(first, Ref) and isinstance(second, Ref):
        _combine(values, node, first, second)
        return
    reverse = not isinstance(first, Ref)
    ref, numbers = values.ref(node, int(reverse)), values.given(node, 1 - reverse).astype(np.float64)
    if numbers.ndim > len(ref.sides):
        ref = values.reshaped(ref, (1,) * (numbers.ndim - len(ref.sides)) + ref.sides)
    sides = (1,) * (len(ref.sides) - numbers.ndim) + numbers.shape
    long = [at for at, side in enumerate(sides) if side > 1]
    if not long:
        _by_number(values, node, ref, numbers.item())
    elif len(long) == 1 and sides[long[0]] == ref.sides[long[0]] and not (reverse and node.op == "Div"):
        flat = numbers.ravel()
        one, none = np.ones_like(flat), np.zeros_like(flat)
        scale, bias = {
            "Add": (one, flat),
            "Sub": (-one, flat) if reverse else (one, -flat),
            "Mul": (flat, none),
            "Div": (1 / np.where(flat == 0, 1, flat), none),
        }[node.op]
        _affine(values, node, ref, long[0], scale=scale, bias=bias)
    elif not (reverse and node.op == "Div"):
        fixed = _fixed(values, node, ref, 1 / numbers if node.op == "Div" else numbers)
        pair = (fixed, ref) if reverse else (ref, fixed)
        _combine(values, replace(node, op="Mul" if node.op == "Div" else node.op), *pair)
    else:
        raise values.unsupported(node, f"a constant of shape {list(numbers.shape)} over a value of {list(ref.sides)}")


def _by_number(values: GraphValues, node: Node, ref: Ref, number: float) -> None:
    """With one number."""
    left, reverse = _LEFT[node.op], not isinstance(values.known[node.inputs[0]], Ref)
    lines = {"Add": (1.0, number), "Sub": (-1.0, number) if reverse else (1.0, -number), "Mul": (number, 0.0)}
    if node.op == "Div" and not reverse and number:
        lines["Div"] = 1 / number, 0.0
    line = lines.get(node.op)
    _apply(values, node, ref, lambda x: left(number, x) if reverse else left(x, number), clamp=None, line=line)


def _fixed(values: GraphValues, node: Node, ref: Ref, numbers: Array) -> Ref:
    """A constant, as large as the value that it goes with, as a map of the same shape."""
    shape, name = values.shapes[ref.name], f"{node.outputs[0]} constant"
    try:
        whole = np.broadcast_to(numbers, ref.sides)
    except ValueError as error:
        raise values.unsupported(
            node, f"a constant of shape {list(numbers.shape)} for a value of {list(ref.sides)}"
        ) from error
    draft = Given(name, ref.view.put(whole[None], shape)[0].astype(np.float64))
    return values.give(replace(node, outputs=(name,)), draft, shape, ref.view)


def _combine(values: GraphValues, node: Node, first: Ref, second: Ref) -> None:
    if node.op == "Div":
        raise values.unsupported(node, "it divides by a value that depends on the input")
    rank = max(len(first.sides), len(second.sides))
    first, second = (values.reshaped(each, (1,) * (rank - len(each.sides)) + each.sides) for each in (first, second))
    sides = np.broadcast_shapes(first.sides, second.sides)
    if math.prod(first.sides) < math.prod(second.sides) and node.op != "Sub":
        first, second = second, first
    if first.sides != sides:
        if second.sides != sides:
            raise values.unsupported(node, f"values of shapes {list(first.sides)} and {list(second.sides)}")
        first = values.laid(node, first, values.shapes[second.name], second.view)
    whole = values.shapes[first.name]
    if second.view != first.view or values.shapes[second.name] != whole:
        second = _beside(values, node, first, second)
    if node.op == "Mul":
        values.give(node, Product(first.name, second.name, node.outputs[0]), whole, first.view)
    else:
        draft = Sum(first.name, second.name, node.outputs[0], -1 if node.op == "Sub" else 1)
        values.give(node, draft, whole, first.view)


def _beside(values: GraphValues, node: Node, first: Ref, second: Ref) -> Ref:
    """The second where it can be read beside the first: one number a channel, or as a map of the same shape."""
    shape = values.shapes[first.name]
    axes = first.view.axes(shape)
    long = [at for at, side in enumerate(second.sides) if side > 1]
    if axes is not None and all(axes[at] == (0,) for at in long) and shape[1] * shape[2] > 1:
        view = View(second.sides, tuple(((shape[0], 1),) if at in long else () for at in range(len(second.sides))))
        if values.shapes[second.name] == (shape[0], 1, 1) and second.view == view:
            return second
        sides = tuple(side if axes[at] == (0,) else 1 for at, side in enumerate(first.sides))
        return values.laid(node, second, (shape[0], 1, 1), View.of((shape[0], 1, 1), sides))
    return values.laid(node, second, shape, first.view)


def floats(bias: Array | None, count: int) -> npt.NDArray[np.float64]:
    """A bias for each filter; zeros without one."""
    return np.zeros(count) if bias is None else np.broadcast_to(np.asarray(bias, np.float64).ravel(), (count,)).copy()
