"""Where values lie in the arena: rows that are alive at the same time get different bytes, all others may share them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepnet.c99.schedule import Event, reach_of, schedule
from sepnet.integer.model import IntegerModel

__all__ = ["MemoryPlan", "plan_memory"]

Integers = npt.NDArray[np.int64]
Scratch = Sequence[tuple[int, int]]
ALIGNMENT = 4
LONGEST_SEGMENT = 8


@dataclass(frozen=True)
class MemoryPlan:
    """A layout of the arena.

    Attributes:
        segments: numbers of operators that take turns row by row.
        at: offset of each value.
        rows: how many rows of a value are kept; row r lies where row r - rows lay.
        scratch: offset of the working memory of each operator.
        bytes: of the arena.
    """

    segments: tuple[int, ...]
    at: dict[str, int]
    rows: dict[str, int]
    scratch: tuple[int, ...]
    bytes: int


@dataclass(frozen=True)
class _Item:
    """Something that needs bytes: pieces at `starts` within it, alive from `born` to `dies` inclusive; one size for all."""

    name: str
    size: int
    starts: Integers
    born: Integers
    dies: Integers

    @property
    def bytes(self) -> int:
        return int(self.starts.max()) + self.size


def plan_memory(model: IntegerModel, scratch: Scratch, whole: bool = False) -> MemoryPlan:
    """The smallest of some plans: segments of different lengths, values placed in different orders.

    Args:
        model: the network.
        scratch: bytes that each operator needs while it makes a row, when its source keeps all rows and when not.
        whole: operators make whole maps, one after the other.
    """
    count = len(model.operators)
    if whole:
        items, rows = _whole_items(model, scratch)
        return min(
            (_plan(model, (1,) * count, items, rows, order=order) for order in _ORDERS), key=lambda plan: plan.bytes
        )
    costs = {
        (start, end): _worst(model, scratch, start, end)
        for end in range(1, count + 1)
        for start in range(max(0, end - LONGEST_SEGMENT), end)
        if end - start == 1 or not any(each.joins for each in model.operators[start:end])
    }
    cuts = dict.fromkeys(_cut(costs, count, longest) for longest in range(1, LONGEST_SEGMENT + 1))
    plans = []
    for segments in cuts:
        items, rows = _items(model, scratch, schedule(model, segments))
        plans += [_plan(model, segments, items, rows, order=order) for order in _ORDERS]
    return min(plans, key=lambda plan: plan.bytes)


def _cut(costs: dict[tuple[int, int], int], count: int, longest: int) -> tuple[int, ...]:
    """Segments of at most `longest` operators of which the worst costs least, and then all of them together."""
    best: list[tuple[int, int, int]] = [(0, 0, 0)] * (count + 1)
    for end in range(1, count + 1):
        tried = []
        for start in range(max(0, end - longest), end):
            if (start, end) in costs:
                cost = costs[start, end]
                tried.append((max(best[start][0], cost), best[start][1] + cost * (end - start), end - start))
        best[end] = min(tried)
    segments: list[int] = []
    while sum(segments) < count:
        segments.append(best[count - sum(segments)][2])
    return tuple(reversed(segments))


def _worst(model: IntegerModel, scratch: Scratch, start: int, end: int) -> int:
    """Bytes alive at the worst moment of a segment, all others being done operator by operator."""
    segments = (1,) * start + (end - start,) + (1,) * (len(model.operators) - end)
    events = [each for each in schedule(model, segments) if start <= each.operator < end]
    before = {model.input, *(operator.target for operator in model.operators[:start])}
    after = {*model.kept, *(name for operator in model.operators[end:] for name in operator.sources)}
    load = np.zeros(len(events) + 1, np.int64)
    for item in _items(model, scratch, events)[0]:
        alive, dies = item.dies >= 0, item.dies
        if item.name in before and item.name in after:
            load[0] += item.size * len(dies)
            continue
        if item.name in before:
            np.add.at(load, np.zeros(int(alive.sum()), np.int64), item.size)
        elif item.name.startswith("scratch") or any(item.name == op.target for op in model.operators[start:end]):
            np.add.at(load, item.born, item.size)
        else:
            continue
        if item.name not in after:
            np.add.at(load, dies[alive] + 1, -item.size)
    return int(np.cumsum(load)[:-1].max())


_ORDERS: tuple[Callable[[_Item], tuple[int, ...]], ...] = (
    lambda item: (-item.bytes, int(item.born[0])),
    lambda item: (int(item.born[0]), -item.bytes),
    lambda item: (-item.bytes * int(item.dies[-1] - item.born[0] + 1), 0),
)
"""In which values are placed: large ones first, early ones first, large long-lived ones first."""


def _plan(
    model: IntegerModel,
    segments: tuple[int, ...],
    items: list[_Item],
    rows: dict[str, int],
    *,
    order: Callable[[_Item], tuple[int, ...]],
) -> MemoryPlan:
    twins = {
        (operator.target, name)
        for operator in model.operators
        if operator.in_place
        for name in operator.sources
        if model.values[name].shape == model.values[operator.target].shape
    }
    at: dict[str, int] = {}
    placed: list[_Item] = []
    for item in sorted(items, key=order):
        at[item.name] = _lowest(item, placed, at, twins)
        placed.append(item)
    size = max(at[item.name] + item.bytes for item in items)
    offsets = tuple(at.get(f"scratch {number}", 0) for number in range(len(model.operators)))
    return MemoryPlan(
        segments, {name: at[name] for name in model.values}, rows, offsets, -(-size // ALIGNMENT) * ALIGNMENT
    )


def _items(model: IntegerModel, scratch: Scratch, events: list[Event]) -> tuple[list[_Item], dict[str, int]]:
    """What has to be placed, and how many rows of each value are kept."""
    born = {name: np.full(value.shape[1], -1, np.int64) for name, value in model.values.items()}
    dies = {name: np.full(value.shape[1], -1, np.int64) for name, value in model.values.items()}
    times: list[list[int]] = [[] for _ in model.operators]
    for time, event in enumerate(events):
        operator = model.operators[event.operator]
        rule = reach_of(operator)
        born[operator.target][event.row] = time
        times[event.operator].append(time)
        for name in operator.sources:
            first = event.row * rule.stride - rule.top
            last = min(first + rule.reach, len(dies[name]) - 1)
            dies[name][max(0, min(first, last)) : max(0, last) + 1] = time
    for name in model.kept:
        dies[name][:] = len(events)
    items, rows = [], {}
    for name, value in model.values.items():
        dies[name] = np.maximum(dies[name], born[name])
        kept = value.shape[1] if name == model.input or name in model.kept else _kept(born[name], dies[name])
        rows[name] = kept
        size = value.bytes // value.shape[1]
        starts = np.arange(value.shape[1]) % kept * size
        items.append(_Item(name, size, starts, born[name], dies[name]))
    for number, operator in enumerate(model.operators):
        name = next(iter(operator.sources), operator.target)
        needed = scratch[number][int(rows[name] < model.values[name].shape[1])]
        if needed and times[number]:
            span = np.array(times[number], np.int64)
            items.append(_Item(f"scratch {number}", needed, np.zeros(len(span), np.int64), span, span))
    return items, rows


def _whole_items(model: IntegerModel, scratch: Scratch) -> tuple[list[_Item], dict[str, int]]:
    """The same when an operator makes its whole map at once."""
    one, size = np.zeros(1, np.int64), len(model.operators)
    born = {operator.target: at for at, operator in enumerate(model.operators)} | {model.input: -1}
    dies = born | {name: at for at, operator in enumerate(model.operators) for name in operator.sources}
    dies |= dict.fromkeys(model.kept, size)
    items = [_Item(name, value.bytes, one, one + born[name], one + dies[name]) for name, value in model.values.items()]
    items += [
        _Item(f"scratch {at}", needed, one, one + at, one + at) for at, (needed, _) in enumerate(scratch) if needed
    ]
    return items, {name: value.shape[1] for name, value in model.values.items()}


def _kept(born: Integers, dies: Integers) -> int:
    """Rows between the newest and the oldest that are alive at any time."""
    oldest = np.searchsorted(np.maximum.accumulate(dies), born)
    return int((np.arange(len(born)) - oldest).max()) + 1


def _lowest(item: _Item, placed: list[_Item], at: dict[str, int], twins: set[tuple[str, str]]) -> int:
    """The lowest offset at which no piece shares a byte with a piece that is alive at the same time."""
    taken: list[Integers] = []
    for other in placed:
        early = np.maximum(item.born[:, None], other.born)
        late = np.minimum(item.dies[:, None], other.dies)
        mine, theirs = np.nonzero(early <= late)
        base = at[other.name] + other.starts[theirs] - item.starts[mine]
        low, high = base - item.size + 1, base + other.size - 1
        if (item.name, other.name) in twins or (other.name, item.name) in twins:
            # An operator that works number by number may write where it reads, at exactly the same place.
            touch = (early == late)[mine, theirs] & (mine == theirs)
            taken.append(np.stack([low[touch], base[touch] - 1], 1))
            taken.append(np.stack([base[touch] + 1, high[touch]], 1))
            low, high = low[~touch], high[~touch]
        taken.append(np.stack([low, high], 1))
    spans = np.concatenate([*taken, np.zeros((0, 2), np.int64)])
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    offset = 0
    for low, high in spans.tolist():
        if low > offset:
            break
        if high >= offset:
            offset = -(-(high + 1) // ALIGNMENT) * ALIGNMENT
    return offset
