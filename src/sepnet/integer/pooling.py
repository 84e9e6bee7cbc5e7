"""Nodes that pool: the mean or the largest of windows or of whole sides, and shares of a sum."""

from __future__ import annotations

import math
from dataclasses import replace

from sepnet.graphs.onnx_graph import Node, attribute
from sepnet.integer.geometry import window_pads
from sepnet.integer.graph_values import GraphValues, Ref
from sepnet.integer.operators.pool import MaxPool, Mean
from sepnet.integer.operators.softmax import Shares
from sepnet.integer.value import Shape
from sepnet.integer.view import View

__all__ = ["over_sides", "pool", "shares"]


def pool(values: GraphValues, node: Node) -> None:
    """MaxPool and AveragePool, of maps and of rows."""
    ref = values.map_of(node)
    channels, high, wide = values.shapes[ref.name]
    kernel = node.integers("kernel_shape")
    if set(node.integers("dilations") or (1,)) != {1} or len(node.outputs) > 1 or len(kernel) != len(ref.sides) - 2:
        raise values.unsupported(node, f"a window of shape {list(kernel)}, perhaps with gaps")
    strides = node.integers("strides") or (1,) * len(kernel)
    if len(kernel) == 1:
        before, after = node.integers("pads") or (0, 0)
        flat = attribute("pads", (0, before, 0, after))
        node = replace(node, attributes=(*(each for each in node.attributes if b"\x04pads" not in each[:6]), flat))
        kernel, strides = (1, *kernel), (1, *strides)
    pads, sides = window_pads(node, (high, wide), kernel, strides)
    window = (kernel[0], kernel[1]), (strides[0], strides[1]), pads
    shape = (channels, *sides)
    view = View.of(shape, (*ref.sides[:2], *sides[-(len(ref.sides) - 2) :]))
    if node.op == "MaxPool":
        values.give(node, MaxPool(ref.name, node.outputs[0], *window), shape, view)
        return
    padded = bool(node.integer("count_include_pad"))
    if padded and node.integer("ceil_mode"):
        raise values.unsupported(node, "it counts zeros outside of the map and rounds its size up")
    values.give(node, Mean(ref.name, node.outputs[0], *window, padded), shape, view)


def over_sides(values: GraphValues, node: Node) -> None:
    """ReduceMean, ReduceSum and ReduceMax over any sides, GlobalAveragePool, GlobalMaxPool."""
    ref = values.ref(node)
    axes: tuple[int, ...] = tuple(range(2, len(ref.sides)))
    if node.op.startswith("Reduce"):
        listed = values.integers(node, "axes", 1)
        if not listed and node.integer("noop_with_empty_axes"):
            values.known[node.outputs[0]] = ref
            return
        axes = tuple(sorted(axis % len(ref.sides) for axis in listed)) or tuple(range(len(ref.sides)))
    if axes[:1] == (0,) and len(ref.sides) > 1:
        raise values.unsupported(node, f"it goes over all examples of a value of {list(ref.sides)}")
    kept = [at for at in range(len(ref.sides)) if at not in axes]
    sides = tuple(
        1 if at in axes else side for at, side in enumerate(ref.sides) if at in kept or node.integer("keepdims", 1)
    )
    name, shape, window = _gone(values, node, ref, axes)
    target: Shape = (shape[0], 1 if window[0] else shape[1], 1 if window[1] else shape[2])
    lie = ref.view.axes(values.shapes[ref.name])
    if lie is None or any(0 in lie[at] for at in axes):
        view = View.of(target, sides)
    else:  # it was not rearranged
        left = [() if at in axes else each for at, each in enumerate(lie)]
        laid = View.along(left, target)
        view = View(sides, tuple(each for at, each in enumerate(laid.factors) if at in kept or len(sides) == len(lie)))
    kernel = tuple(side if gone else 1 for side, gone in zip(shape[1:], window, strict=True))
    around = (kernel[0], kernel[1]), (1, 1), (0, 0, 0, 0)
    made = node.outputs[0]
    if node.op in ("ReduceMax", "GlobalMaxPool"):
        values.give(node, MaxPool(name, made, *around), target, view)
    else:
        gain = float(math.prod(kernel)) if node.op == "ReduceSum" else 1.0
        values.give(node, Mean(name, made, *around, False, gain), target, view)


def _gone(values: GraphValues, node: Node, ref: Ref, axes: tuple[int, ...]) -> tuple[str, Shape, tuple[bool, bool]]:
    """A map, and which of its height and width are exactly the sides that go."""
    shape = values.shapes[ref.name]
    lie = ref.view.axes(shape)
    if lie is not None:
        gone = {axis for at in axes for axis in lie[at]}
        if 0 not in gone and not any(axis in gone for at, each in enumerate(lie) if at not in axes for axis in each):
            whole = len(gone) == sum(side > 1 for side in shape[1:])
            return ref.name, shape, (True, True) if whole else (1 in gone, 2 in gone)
    kept = [at for at, side in enumerate(ref.sides) if at not in axes and side > 1]
    lost = [at for at in axes if ref.sides[at] > 1]
    count, size = (math.prod(ref.sides[at] for at in each) for each in (kept, lost))
    factors = tuple([factor for at in each for factor in ref.view.factors[at]] for each in (kept, lost))
    return values.rearranged(ref, (count, 1, size), (factors[0], (), factors[1])), (count, 1, size), (True, True)


def shares(values: GraphValues, node: Node) -> None:
    """Softmax and LogSoftmax along any side; before version 13 along all sides from one on."""
    ref = values.ref(node)
    axis = node.integer("axis", -1 if values.opset >= 13 else 1) % len(ref.sides)
    sides = ref.sides
    if values.opset < 13 and math.prod(sides[axis + 1 :]) > 1:
        ref = values.reshaped(ref, (math.prod(sides[:axis]), math.prod(sides[axis:])))
        axis = 1
    laid, axes = values.by_channel(node, ref, axis)
    shape = values.shapes[laid.name]
    draft = Shares(laid.name, node.outputs[0], node.op == "LogSoftmax")
    found = values.give(node, draft, shape, View.along(axes, shape))
    values.known[node.outputs[0]] = values.reshaped(found, sides)
