"""From a packed model and the ranges of its values to an integer model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sepnet.core.errors import NetworkError
from sepnet.core.packed_model import PackedModel
from sepnet.integer.fuse import fused
from sepnet.integer.model import IntegerModel, Output
from sepnet.integer.operator import Draft
from sepnet.integer.trace import Trace, trace
from sepnet.integer.value import Value

__all__ = ["lower"]

Ranges = Mapping[str, tuple[float, float]]
WIDE_LEVELS, HEADROOM = 32767, 4.0
"""An output in 16 bits holds four times what was seen while calibrating, in as many steps to each side."""
EXACT_LEVELS = 16384
"""Steps of one whose range is known."""


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
    drafts, clamps = fused(found)
    values = _values(found, drafts, ranges)
    operators = tuple(
        draft.integer([values[name] for name in draft.sources], values[draft.target], clamps.get(draft.target))
        for draft in drafts
    )
    outputs = tuple(Output(name, ref.name, ref.view) for name, ref in found.outputs.items())
    return IntegerModel(model.header.network, found.input, found.view, outputs, values, operators)


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
    together: dict[str, list[str]] = {}
    for name in (found.input, *(draft.target for draft in drafts)):
        together.setdefault(root(name), []).append(name)
    spans = {draft.target: draft.span for draft in drafts if draft.span is not None}
    values: dict[str, Value] = {}
    for group in together.values():
        low, high = _range(group, {**ranges, **spans})
        wide, exact = _is_wide(group, found, drafts), any(name in spans for name in group)
        for name in group:
            values[name] = _value(name, found.shapes[name], low=low, high=high, wide=wide, exact=exact)
    return values


def _is_wide(group: list[str], found: Trace, drafts: tuple[Draft, ...]) -> bool:
    """Whether values that share a scale can have 16 bits, and that is of use: for an output, or what its reader takes."""
    names = set(group)
    makers = [draft for draft in drafts if draft.target in names]
    readers = [draft for draft in drafts if not names.isdisjoint(draft.sources)]
    made = len(makers) == len(names) and all(each.gives_wide or each.carries_wide for each in makers)
    read = all(each.takes_wide or (each.carries_wide and each.target in names) for each in readers)
    ends = any(ref.name in names for ref in found.outputs.values()) or any(each.takes_wide for each in readers)
    return made and read and ends and any(each.gives_wide for each in makers)


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


def _value(name: str, shape: tuple[int, int, int], *, low: float, high: float, wide: bool, exact: bool) -> Value:
    if wide:
        most = max(-low, high)
        return Value(name, shape, (most / EXACT_LEVELS if exact else HEADROOM * most / WIDE_LEVELS) or 1.0, 0, True)
    scale = (high - low) / 255 or 1.0
    return Value(name, shape, scale, int(np.clip(np.floor(-low / scale + 0.5), 0, 255)))
