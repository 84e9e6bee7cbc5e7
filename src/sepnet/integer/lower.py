"""From a packed model and the ranges of its values to an integer model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from sepnet.core.errors import NetworkError
from sepnet.core.packed_model import PackedModel
from sepnet.integer.model import IntegerModel
from sepnet.integer.operator import Clamp, Draft
from sepnet.integer.trace import Trace, trace
from sepnet.integer.value import Value

__all__ = ["lower"]

Ranges = Mapping[str, tuple[float, float]]
Clamps = dict[str, Clamp]
WIDE_LEVELS, HEADROOM = 32767, 4.0
"""An output in 16 bits holds four times what was seen while calibrating, in as many steps to each side."""


def lower(model: PackedModel, ranges: Ranges, shape: Sequence[int] | None = None) -> IntegerModel:
    """An integer model of a packed one.

    Args:
        model: the packed model.
        ranges: (low, high) of the graph's values by name, as calibration images show them.
        shape: (channels, height, width) of an input; None takes that of the header.

    Raises:
        NetworkError: an operator without an integer form, or a value without a range.
        FormatError: a file without a graph.
    """
    found = trace(model, shape)
    drafts, clamps = _fuse(found)
    values = _values(found, drafts, ranges)
    operators = tuple(
        draft.integer([values[name] for name in draft.sources], values[draft.target], clamps.get(draft.target))
        for draft in drafts
    )
    return IntegerModel(model.header.network, found.input, found.output, values, operators)


def _fuse(found: Trace) -> tuple[tuple[Draft, ...], Clamps]:
    """A clamp right after an operator that scales its result, and its only reader, becomes that operator's limits."""
    reads = Counter(name for draft in found.drafts for name in draft.sources)
    reads[found.output] += 1
    clamps: Clamps = {}
    drafts: list[Draft] = []
    place: dict[str, int] = {}
    for draft in found.drafts:
        if draft.limits is not None and reads[draft.sources[0]] == 1:
            at = place.get(draft.sources[0])
            if at is not None and drafts[at].scales:
                drafts[at] = drafts[at].renamed(draft.target)
                low, high = clamps.pop(draft.sources[0], draft.limits)
                clamps[draft.target] = max(low, draft.limits[0]), min(high, draft.limits[1])
                place[draft.target] = at
                continue
        place[draft.target] = len(drafts)
        drafts.append(draft)
    return tuple(drafts), clamps


def _values(found: Trace, drafts: tuple[Draft, ...], ranges: Ranges) -> dict[str, Value]:
    """A scale and a zero for each value; those that operators only move or compare share one."""
    first: dict[str, str] = {}

    def root(name: str) -> str:
        while first.get(name, name) != name:
            name = first[name]
        return name

    for draft in drafts:
        if draft.moves:
            for name in draft.sources:
                first[root(name)] = root(draft.target)
    names = [found.input, *(draft.target for draft in drafts)]
    together: dict[str, list[str]] = {}
    for name in names:
        together.setdefault(root(name), []).append(name)
    read = {name for draft in drafts for name in draft.sources}
    linear = {draft.target for draft in drafts if draft.sums}
    wide = found.output in linear and found.output not in read
    values: dict[str, Value] = {}
    for group in together.values():
        low, high = _range(group, ranges)
        for name in group:
            values[name] = _value(name, found.shapes[name], low=low, high=high, wide=wide and name == found.output)
    return values


def _range(names: list[str], ranges: Ranges) -> tuple[float, float]:
    known = [ranges[name] for name in names if name in ranges]
    if not known:
        raise NetworkError(f"value {names[0]!r} of the network has no range; calibration has to give one")
    low, high = min(0.0, *(each[0] for each in known)), max(0.0, *(each[1] for each in known))
    if not np.isfinite([low, high]).all():
        raise NetworkError(
            f"value {names[0]!r} of the network has the range {low:g} to {high:g}; expected finite numbers"
        )
    return float(low), float(high)


def _value(name: str, shape: tuple[int, int, int], *, low: float, high: float, wide: bool) -> Value:
    if wide:
        return Value(name, shape, HEADROOM * max(-low, high) / WIDE_LEVELS or 1.0, 0, True)
    scale = (high - low) / 255 or 1.0
    return Value(name, shape, scale, int(np.clip(np.floor(-low / scale + 0.5), 0, 255)))
