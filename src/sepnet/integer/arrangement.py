"""Nodes that pool, cut, join and reshape maps."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from sepnet.graphs.onnx_graph import Node
from sepnet.integer.drafts import Mean
from sepnet.integer.geometry import window_pads
from sepnet.integer.graph_values import Array, GraphValues, Ref
from sepnet.integer.model import Concat, Gather, MaxPool, Pad, Slice

__all__ = ["concat", "gather", "over_map", "pad", "pool", "split", "strided", "view"]


def pool(values: GraphValues, node: Node) -> None:
    """MaxPool and AveragePool."""
    ref = values.map_of(node)
    channels, high, wide = values.shapes[ref.name]
    kernel = node.integers("kernel_shape")
    if len(kernel) != 2 or set(node.integers("dilations") or (1, 1)) != {1} or len(node.outputs) > 1:
        raise values.unsupported(node, f"a window of shape {list(kernel)}, perhaps with gaps")
    strides = node.integers("strides") or (1, 1)
    pads, sides = window_pads(node, (high, wide), kernel, strides)
    window = (kernel[0], kernel[1]), (strides[0], strides[1]), pads
    if node.op == "MaxPool":
        values.give(node, MaxPool(ref.name, node.outputs[0], *window), (channels, *sides))
        return
    padded = bool(node.integer("count_include_pad"))
    if padded and node.integer("ceil_mode"):
        raise values.unsupported(node, "it counts zeros outside of the map and rounds its size up")
    values.give(node, Mean(ref.name, node.outputs[0], *window, padded), (channels, *sides))


def over_map(values: GraphValues, node: Node) -> None:
    """ReduceMean, ReduceMax over the map, GlobalAveragePool, GlobalMaxPool."""
    ref = values.map_of(node)
    channels, high, wide = values.shapes[ref.name]
    if node.op.startswith("Reduce"):
        listed = values.constant(node, 1)
        axes = node.integers("axes") if listed is None else tuple(int(each) for each in listed.ravel())
        if sorted(axis % 4 for axis in axes) != [2, 3] or len(ref.sides) != 3:
            raise values.unsupported(
                node, f"axes {list(axes)} of a value of {list(ref.sides)}; expected height and width"
            )
    window = (high, wide), (1, 1), (0, 0, 0, 0)
    sides = (channels, 1, 1) if node.integer("keepdims", 1) else (channels,)
    if node.op in ("ReduceMax", "GlobalMaxPool"):
        values.give(node, MaxPool(ref.name, node.outputs[0], *window), (channels, 1, 1), sides)
    else:
        values.give(node, Mean(ref.name, node.outputs[0], *window, False), (channels, 1, 1), sides)


def view(values: GraphValues, node: Node) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout, Cast: the same numbers."""
    ref = values.ref(node)
    if node.op in ("Identity", "Dropout", "Cast"):
        values.known[node.outputs[0]] = ref
        return
    shape = values.shapes[ref.name]
    sides: tuple[int, ...]
    if node.op == "Flatten":
        sides = (math.prod(ref.sides),) if node.integer("axis", 1) == 1 else ()
    elif node.op == "Reshape":
        wanted = [int(each) for each in values.given(node, 1).ravel()]
        wanted = [
            (1, *ref.sides)[at] if side == 0 and not node.integer("allowzero") else side
            for at, side in enumerate(wanted)
        ]
        rest = math.prod(ref.sides) // max(1, math.prod(side for side in wanted if side > 0))
        whole = [rest if side == -1 else side for side in wanted]
        sides = tuple(whole[1:]) if whole and whole[0] == 1 else ()
    else:
        sides = _squeezed(node, ref, set(node.integers("axes") or values.given(node, 1).ravel().tolist()))
    kept = tuple(side for side in sides if side != 1)
    same = kept in ((math.prod(shape),), tuple(side for side in shape if side != 1)) or math.prod(sides) == 1
    if math.prod(sides) != math.prod(shape) or not same:
        raise values.unsupported(node, f"from {list(ref.sides)} to {list(sides)}")
    if len(sides) == 3 and sides != shape and sides[1:] != (1, 1):
        raise values.unsupported(node, f"from {list(ref.sides)} to {list(sides)}")
    values.known[node.outputs[0]] = Ref(ref.name, sides)


def _squeezed(node: Node, ref: Ref, axes: set[int]) -> tuple[int, ...]:
    before = [1, *ref.sides]
    if node.op == "Squeeze":
        axes = {axis % len(before) for axis in axes}
        return tuple(side for at, side in enumerate(before) if at and at not in axes)
    length = len(before) + len(axes)
    axes = {axis % length for axis in axes}
    rest = iter(before)
    return tuple(1 if at in axes else next(rest) for at in range(length))[1:]


def concat(values: GraphValues, node: Node) -> None:
    """Concat of channels."""
    refs = [values.map_of(node, at) for at in range(len(node.inputs))]
    shapes = [values.shapes[ref.name] for ref in refs]
    if node.integer("axis") % (1 + len(refs[0].sides)) != 1 or len({shape[1:] for shape in shapes}) != 1:
        raise values.unsupported(node, f"axis {node.integer('axis')} of {[list(ref.sides) for ref in refs]}")
    channels = sum(shape[0] for shape in shapes)
    draft = Concat(tuple(ref.name for ref in refs), node.outputs[0])
    values.give(node, draft, (channels, *shapes[0][1:]), (channels, *refs[0].sides[1:]))


def strided(values: GraphValues, node: Node) -> None:
    """Slice with steps of one or more."""
    ref = values.map_of(node)
    shape = values.shapes[ref.name]
    starts, ends = ([int(x) for x in _given(values.constant(node, at))] for at in (1, 2))
    axes = [int(x) for x in _given(values.constant(node, 3))] or list(range(len(starts)))
    steps = [int(x) for x in _given(values.constant(node, 4))] or [1] * len(starts)
    first, every, sides = [0, 0, 0], [1, 1, 1], list(shape)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        at = axis % (1 + len(ref.sides)) - 1
        if at < 0 or step < 1:
            raise values.unsupported(node, f"axis {axis}, step {step}")
        chosen = range(shape[at])[start:end:step]
        first[at], every[at], sides[at] = chosen.start, step, len(chosen)
    draft = Slice(ref.name, node.outputs[0], (first[0], first[1], first[2]), (every[0], every[1], every[2]))
    values.give(node, draft, (sides[0], sides[1], sides[2]), tuple(sides[: len(ref.sides)]))


def split(values: GraphValues, node: Node) -> None:
    """Split of channels: a slice for each part."""
    ref = values.map_of(node)
    shape = values.shapes[ref.name]
    listed = values.constant(node, 1)
    parts = len(node.outputs)
    lengths = [-(-shape[0] // parts)] * parts if listed is None else [int(each) for each in listed.ravel()]
    if node.integer("axis") % (1 + len(ref.sides)) != 1:
        raise values.unsupported(node, f"axis {node.integer('axis')}")
    start = 0
    for name, length in zip(node.outputs, lengths, strict=True):
        part = (min(length, shape[0] - start), *shape[1:])
        piece = replace(node, outputs=(name,))
        values.give(piece, Slice(ref.name, name, (start, 0, 0), (1, 1, 1)), part, (part[0], *ref.sides[1:]))
        start += length


def pad(values: GraphValues, node: Node) -> None:
    """Pad with zeros."""
    ref = values.map_of(node)
    shape = values.shapes[ref.name]
    pads = [int(x) for x in _given(values.constant(node, 1))]
    fill = values.constant(node, 2)
    axes = [int(x) % 4 for x in _given(values.constant(node, 3))] or list(range(len(pads) // 2))
    before, after = [0, 0, 0, 0], [0, 0, 0, 0]
    for at, axis in enumerate(axes):
        before[axis], after[axis] = pads[at], pads[at + len(axes)]
    if node.text("mode", "constant") != "constant" or (fill is not None and np.any(fill)) or before[0] or after[0]:
        raise values.unsupported(node, "it pads with something else than zeros")
    if min(*before, *after) < 0 or len(ref.sides) != 3:
        raise values.unsupported(node, f"pads {pads} of a value of {list(ref.sides)}")
    sides = [side + low + high for side, low, high in zip(shape, before[1:], after[1:], strict=True)]
    draft = Pad(ref.name, node.outputs[0], (before[1], before[2], before[3]), (after[1], after[2], after[3]))
    values.give(node, draft, (sides[0], sides[1], sides[2]))


def gather(values: GraphValues, node: Node) -> None:
    """Gather of channels by constant indices."""
    ref = values.map_of(node)
    order = values.constant(node, 1)
    shape = values.shapes[ref.name]
    if node.integer("axis") % (1 + len(ref.sides)) != 1 or order is None or order.ndim != 1:
        raise values.unsupported(node, f"axis {node.integer('axis')}")
    channels = tuple(int(each) % shape[0] for each in order)
    draft = Gather(ref.name, node.outputs[0], channels)
    values.give(node, draft, (len(channels), *shape[1:]), (len(channels), *ref.sides[1:]))


def _given(array: Array | None) -> Array:
    return np.zeros(0, np.int64) if array is None else array.ravel()
