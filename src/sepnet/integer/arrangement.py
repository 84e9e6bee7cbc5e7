"""Nodes that cut, join and pad tensors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from sepnet.graphs.onnx_graph import Node
from sepnet.integer.graph_values import Array, GraphValues, Ref, map_shape
from sepnet.integer.operators.blend import Blend
from sepnet.integer.operators.concat import Concat
from sepnet.integer.operators.gather import Gather
from sepnet.integer.operators.join import Join
from sepnet.integer.operators.pad import Pad
from sepnet.integer.operators.slice import Slice
from sepnet.integer.value import Shape
from sepnet.integer.view import View

__all__ = ["concat", "gather", "pad", "split", "strided"]

Axes = tuple[tuple[int, ...], ...]
MOST_SIDE = 65535


def concat(values: GraphValues, node: Node) -> None:
    """Concat along any side."""
    refs = [values.ref(node, at) for at in range(len(node.inputs))]
    side = node.integer("axis") % len(refs[0].sides)
    alike = {each.sides[:side] + each.sides[side + 1 :] for each in refs}
    if len(alike) != 1 or (side == 0 and len(refs[0].sides) > 1):
        raise values.unsupported(node, f"axis {side} of {[list(ref.sides) for ref in refs]}")
    sides = (*refs[0].sides[:side], sum(each.sides[side] for each in refs), *refs[0].sides[side + 1 :])
    tried = [_first(sides), _last(sides), _own(values, refs[0], side)]
    if not all(ref.view.plain for ref in refs):
        tried = tried[::-1]
    layouts = [each for each in tried if each is not None and len(each[side]) == 1]
    if not layouts:
        raise values.unsupported(node, f"axis {side} of {[list(ref.sides) for ref in refs]}")
    axes = min(layouts, key=lambda each: sum(not _lies(values, ref, each) for ref in refs))
    parts = [values.laid(node, ref, *_map(ref.sides, axes)) for ref in refs]
    shape, view = _map(sides, axes)
    names, (axis,) = tuple(each.name for each in parts), axes[side]
    draft = Concat(names, node.outputs[0]) if axis == 0 else Join(names, node.outputs[0], axis)
    values.give(node, draft, shape, view)


def _first(sides: Sequence[int]) -> Axes | None:
    """Channels first."""
    rest: tuple[tuple[int, ...], ...] = ((1,), (2,))
    return ((), (0,), *rest[4 - len(sides) :]) if map_shape(sides) and len(sides) > 1 else None


def _last(sides: Sequence[int]) -> Axes | None:
    """Channels last; a batch side of 1 is left out."""
    if len(sides) > 4 or sides[0] != 1:
        return None
    rest: tuple[tuple[int, ...], ...] = ((1,), (2,))
    return ((), *rest[4 - len(sides) :], (0,))


def _own(values: GraphValues, ref: Ref, side: int) -> Axes | None:
    """As a value lies."""
    axes = ref.view.axes(values.shapes[ref.name])
    if axes is None or axes[side]:
        return axes
    free = next((at for at in range(3) if values.shapes[ref.name][at] == 1), None)
    return None if free is None else (*axes[:side], (free,), *axes[side + 1 :])


def _map(sides: Sequence[int], axes: Axes) -> tuple[Shape, View]:
    """A map whose axes are these sides, and the view of it.  A side of several axes is all of its last."""
    length = [1, 1, 1]
    for side, each in zip(sides, axes, strict=True):
        if each:
            length[each[-1]] = side
    shape = length[0], length[1], length[2]
    return shape, View.along([each[-1:] for each in axes], shape)


def _lies(values: GraphValues, ref: Ref, axes: Axes) -> bool:
    return (values.shapes[ref.name], ref.view) == _map(ref.sides, axes)


def _cut(values: GraphValues, node: Node, ref: Ref, chosen: dict[int, range]) -> None:
    """A part of a value: these numbers of these sides."""
    chosen = {side: numbers for side, numbers in chosen.items() if numbers != range(ref.sides[side])}
    shape = values.shapes[ref.name]
    axes = ref.view.axes(shape)
    if not chosen:
        values.known[node.outputs[0]] = ref
        return
    if axes is None or any(len(axes[side]) != 1 for side in chosen):
        found = _last(ref.sides) if ref.view.plain is False else _first(ref.sides)
        if found is None:
            raise values.unsupported(node, f"sides {sorted(chosen)} of a value of {list(ref.sides)}")
        axes = found
        ref = values.laid(node, ref, *_map(ref.sides, axes))
        shape = values.shapes[ref.name]
    first, every, length = [0, 0, 0], [1, 1, 1], list(shape)
    for side, numbers in chosen.items():
        (axis,) = axes[side]
        first[axis], every[axis], length[axis] = numbers.start, numbers.step, len(numbers)
    if min(every) < 1:
        raise values.unsupported(node, f"steps {every} of a value of {list(ref.sides)}")
    made = length[0], length[1], length[2]
    if min(made) < 1:
        raise values.unsupported(node, f"its output would have the shape {list(made)}")
    draft = Slice(ref.name, node.outputs[0], (first[0], first[1], first[2]), (every[0], every[1], every[2]))
    values.give(node, draft, made, View.along(axes, made))


def strided(values: GraphValues, node: Node) -> None:
    """Slice of any sides, in steps of one or more."""
    ref = values.ref(node)
    starts, ends = values.integers(node, "starts", 1), values.integers(node, "ends", 2)
    axes = values.integers(node, "axes", 3) or tuple(range(len(starts)))
    steps = tuple(int(x) for x in _given(values.constant(node, 4))) or (1,) * len(starts)
    chosen = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        side = axis % len(ref.sides)
        chosen[side] = range(ref.sides[side])[start:end:step]
    _cut(values, node, ref, chosen)


def split(values: GraphValues, node: Node) -> None:
    """Split along any side: a slice for each part."""
    ref = values.ref(node)
    side, parts = node.integer("axis") % len(ref.sides), len(node.outputs)
    lengths = values.integers(node, "split", 1) or (-(-ref.sides[side] // parts),) * parts
    start = 0
    for name, length in zip(node.outputs, lengths, strict=True):
        _cut(values, replace(node, outputs=(name,)), ref, {side: range(ref.sides[side])[start : start + length]})
        start += length


def pad(values: GraphValues, node: Node) -> None:
    """Pad with zeros, with what is at the edge, or with what is mirrored there; negative ones cut."""
    ref = values.ref(node)
    pads = values.integers(node, "pads", 1)
    fill = values.constant(node, 2)
    axes = [int(x) % len(ref.sides) for x in _given(values.constant(node, 3))] or list(range(len(pads) // 2))
    mode = node.text("mode", "constant")
    if mode not in ("constant", "edge", "reflect") or node.number("value", 0.0) or (fill is not None and np.any(fill)):
        raise values.unsupported(node, "it pads with something else than zeros, the edge, or what is mirrored there")
    around = {
        axis: (pads[at], pads[at + len(axes)]) for at, axis in enumerate(axes) if pads[at] or pads[at + len(axes)]
    }
    if not around:
        values.known[node.outputs[0]] = ref
        return
    if not all(0 <= each <= MOST_SIDE for pair in around.values() for each in pair):
        raise values.unsupported(node, f"pads {list(pads)}")
    lie = ref.view.axes(values.shapes[ref.name])
    if not _pads(lie, around, mode):
        ref = values.map_of(node)
        lie = _first(ref.sides)
    if lie is None or not _pads(lie, around, mode):
        raise values.unsupported(node, f"pads {list(pads)} of a value of {list(ref.sides)}, mode {mode}")
    ends = {lie[side][0]: each for side, each in around.items()}
    shape = values.shapes[ref.name]
    before, after = (tuple(ends.get(axis, (0, 0))[at] for axis in range(3)) for at in (0, 1))
    sides = [low + side + high for low, side, high in zip(before, shape, after, strict=True)]
    made = sides[0], sides[1], sides[2]
    if mode == "constant":
        draft: Pad | Blend = Pad(ref.name, node.outputs[0], _three(before), _three(after))
    else:
        rows, columns = (np.pad(np.arange(shape[at]), ends.get(at, (0, 0)), mode=mode) for at in (1, 2))  # type: ignore[call-overload]
        whole = (tuple((int(each), int(each), 0) for each in line) for line in (rows, columns))
        draft = Blend(ref.name, node.outputs[0], *whole)
    values.give(node, draft, made, View.along(lie, made))


def _pads(lie: Axes | None, sides: Iterable[int], mode: str) -> bool:
    """Whether these sides can be padded as they lie: each is an axis, and not channels unless by zeros."""
    return lie is not None and all(len(lie[side]) == 1 and (mode == "constant" or lie[side] != (0,)) for side in sides)


def _three(numbers: Sequence[int]) -> Shape:
    return numbers[0], numbers[1], numbers[2]


def gather(values: GraphValues, node: Node) -> None:
    """Gather along any side by constant indices: of channels, or a run of evenly spaced numbers."""
    ref, order = values.ref(node), values.constant(node, 1)
    side = node.integer("axis") % len(ref.sides)
    if order is None or order.ndim > 1:
        raise values.unsupported(node, f"axis {node.integer('axis')}")
    chosen = [int(each) % ref.sides[side] for each in order.ravel()]
    step = chosen[1] - chosen[0] if len(chosen) > 1 else 1
    run = range(chosen[0], chosen[0] + step * len(chosen), step) if step > 0 else range(0)
    if list(run) == chosen:
        _cut(values, node, ref, {side: run})
    else:
        laid, axes = values.by_channel(node, ref, side)
        shape = (len(chosen), *values.shapes[laid.name][1:])
        values.give(node, Gather(laid.name, node.outputs[0], tuple(chosen)), shape, View.along(axes, shape))
    if order.ndim == 0:
        found = values.known[node.outputs[0]]
        if isinstance(found, Ref):
            values.known[node.outputs[0]] = values.reshaped(found, (*ref.sides[:side], *ref.sides[side + 1 :]))


def _given(array: Array | None) -> Array:
    return np.zeros(0, np.int64) if array is None else array.ravel()
