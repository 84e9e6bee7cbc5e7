"""Nodes that compute with numbers: layers, norms, functions, sums and products."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from sepnet.graphs.onnx_graph import Node
from sepnet.integer.drafts import Function, Linear, Product, Sum
from sepnet.integer.functions import clamp_of, function_of
from sepnet.integer.geometry import same_pads
from sepnet.integer.graph_values import Array, GraphValues, Ref

__all__ = ["binary", "conv", "gemm", "norm", "unary"]


def conv(values: GraphValues, node: Node) -> None:
    """Conv."""
    ref = values.map_of(node)
    weight, scale = values.weight(node, 1)
    channels, high, wide = values.shapes[ref.name]
    groups = node.integer("group", 1)
    if weight.ndim != 4 or weight.shape[1] * groups != channels:
        raise values.unsupported(node, f"a weight of shape {list(weight.shape)} for inputs {[channels, high, wide]}")
    strides, dilations = (node.integers("strides") or (1, 1)), (node.integers("dilations") or (1, 1))
    kernel = (weight.shape[2], weight.shape[3])
    reach = tuple((side - 1) * gap + 1 for side, gap in zip(kernel, dilations, strict=True))
    pads = same_pads(node, (high, wide), reach, strides) or node.integers("pads") or (0, 0, 0, 0)
    bias = values.constant(node, 2)
    draft = Linear(
        ref.name,
        node.outputs[0],
        weight,
        scale,
        _floats(bias, weight.shape[0]),
        node.inputs[1],
        (strides[0], strides[1]),
        (pads[0], pads[1], pads[2], pads[3]),
        (dilations[0], dilations[1]),
        groups,
    )
    sides = [(side + pads[at] + pads[at + 2] - reach[at]) // strides[at] + 1 for at, side in enumerate((high, wide))]
    values.give(node, draft, (weight.shape[0], sides[0], sides[1]))


def gemm(values: GraphValues, node: Node) -> None:
    """Gemm and MatMul by a constant: a convolution whose kernel is the whole map."""
    ref = values.ref(node)
    if len(ref.sides) != 1 or node.integer("transA") or node.number("alpha", 1.0) != 1 or node.number("beta", 1.0) != 1:
        raise values.unsupported(node, f"it works on a value of shape {list(ref.sides)}, or scales it")
    weight, scale = values.weight(node, 1, turned=node.op == "MatMul" or not node.integer("transB"))
    shape = values.shapes[ref.name]
    if weight.ndim != 2 or weight.shape[1] != math.prod(shape):
        raise values.unsupported(node, f"a weight of shape {list(weight.shape)} for {math.prod(shape)} inputs")
    bias = _floats(values.constant(node, 2), weight.shape[0])
    kernel = weight.reshape(weight.shape[0], *shape)
    draft = Linear(ref.name, node.outputs[0], kernel, scale, bias, node.inputs[1])
    values.give(node, draft, (weight.shape[0], 1, 1), (weight.shape[0],))


def norm(values: GraphValues, node: Node) -> None:
    """BatchNormalization: a scale and a bias a channel."""
    gamma, beta, mean, variance = (values.given(node, at) for at in range(1, 5))
    scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.number("epsilon", 1e-5))
    _affine(values, node, values.map_of(node), scale=scale, bias=beta.astype(np.float64) - scale * mean)


def _affine(values: GraphValues, node: Node, ref: Ref, *, scale: Array, bias: Array) -> None:
    channels = values.shapes[ref.name][0]
    scale, bias = (np.broadcast_to(np.asarray(each, np.float64).ravel(), (channels,)) for each in (scale, bias))
    ones = np.ones((channels, 1, 1, 1), np.int8)
    draft = Linear(ref.name, node.outputs[0], ones, scale, bias, values.layer or node.outputs[0], groups=channels)
    values.give(node, draft, values.shapes[ref.name], ref.sides)


def unary(values: GraphValues, node: Node) -> None:
    """A function of each number."""
    limits = [values.constant(node, at) for at in range(1, len(node.inputs))]
    _apply(values, node, values.ref(node), function_of(node, limits), clamp=clamp_of(node, limits))


def _apply(
    values: GraphValues, node: Node, ref: Ref, function: Callable[[Array], Array], *, clamp: tuple[float, float] | None
) -> None:
    draft = Function(ref.name, node.outputs[0], function, clamp)
    values.give(node, draft, values.shapes[ref.name], ref.sides)


def binary(values: GraphValues, node: Node) -> None:
    """Add, Sub, Mul, Div of two values, or of a value and a constant."""
    first, second = (values.known[name] for name in node.inputs[:2])
    if isinstance(first, Ref) and isinstance(second, Ref):
        _combine(values, node, first, second)
        return
    reverse = not isinstance(first, Ref)
    ref, numbers = values.ref(node, int(reverse)), values.given(node, 1 - reverse).astype(np.float64)
    if numbers.size == 1:
        left = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[node.op]
        number = float(numbers.ravel()[0])
        _apply(values, node, ref, lambda x: left(number, x) if reverse else left(x, number), clamp=None)
        return
    ref = values.map_of(node, 1 if reverse else 0)
    sides = (1,) * (1 + len(ref.sides) - numbers.ndim) + numbers.shape
    if (
        len(sides) > 1 + len(ref.sides)
        or numbers.size != sides[1]
        or sides[1] != ref.sides[0]
        or (reverse and node.op == "Div")
    ):
        raise values.unsupported(node, f"a constant of shape {list(numbers.shape)} for a value of {list(ref.sides)}")
    flat = numbers.ravel()
    one, none = np.ones_like(flat), np.zeros_like(flat)
    scale, bias = {
        "Add": (one, flat),
        "Sub": (-one, flat) if reverse else (one, -flat),
        "Mul": (flat, none),
        "Div": (1 / flat, none),
    }[node.op]
    _affine(values, node, ref, scale=scale, bias=bias)


def _combine(values: GraphValues, node: Node, first: Ref, second: Ref) -> None:
    if math.prod(first.sides) < math.prod(second.sides) and node.op != "Sub":
        first, second = second, first
    whole, part = values.shapes[first.name], values.shapes[second.name]
    if (part != whole and part != (whole[0], 1, 1)) or node.op == "Div" or values.flat(first) != values.flat(second):
        raise values.unsupported(node, f"values of shapes {list(first.sides)} and {list(second.sides)}")
    if node.op == "Mul":
        values.give(node, Product(first.name, second.name, node.outputs[0]), whole, first.sides)
    else:
        draft = Sum(first.name, second.name, node.outputs[0], -1 if node.op == "Sub" else 1)
        values.give(node, draft, whole, first.sides)


def _floats(bias: Array | None, count: int) -> npt.NDArray[np.float64]:
    return np.zeros(count) if bias is None else np.broadcast_to(np.asarray(bias, np.float64).ravel(), (count,)).copy()
