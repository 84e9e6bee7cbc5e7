"""From a packed model and the ranges of its values to an integer model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import NetworkError
from sepnet.core.packed_model import PackedModel
from sepnet.integer.bounds import sum_bounds
from sepnet.integer.drafts import Draft, Function, Linear, Mean, Product, Response, Sum, Trace, sources_of_draft
from sepnet.integer.model import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Gather,
    IntegerModel,
    Lookup,
    MaxPool,
    Multiply,
    Operator,
    Pad,
    ResponseNorm,
    Slice,
    Value,
)
from sepnet.integer.requantize import requantize
from sepnet.integer.response import FINEST_FACTOR, factors
from sepnet.integer.trace import trace

__all__ = ["lower"]

Ranges = Mapping[str, tuple[float, float]]
Clamps = dict[str, tuple[float, float]]
Same = MaxPool | Concat | Slice | Pad | Gather
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
    operators = tuple(_integer(draft, values, clamps.get(draft.target)) for draft in drafts)
    return IntegerModel(model.header.network, found.input, found.output, values, operators)


def _fuse(found: Trace) -> tuple[tuple[Draft, ...], Clamps]:
    """A clamp right after an operator that scales its result, and its only reader, becomes that operator's limits."""
    reads = Counter(name for draft in found.drafts for name in sources_of_draft(draft))
    reads[found.output] += 1
    clamps: Clamps = {}
    drafts: list[Draft] = []
    place: dict[str, int] = {}
    for draft in found.drafts:
        if isinstance(draft, Function) and draft.clamp is not None and reads[draft.source] == 1:
            at = place.get(draft.source)
            if at is not None and isinstance(drafts[at], Linear | Mean | Sum | Product | Response):
                drafts[at] = replace(drafts[at], target=draft.target)
                low, high = clamps.pop(draft.source, draft.clamp)
                clamps[draft.target] = max(low, draft.clamp[0]), min(high, draft.clamp[1])
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
        if isinstance(draft, Same):
            for name in sources_of_draft(draft):
                first[root(name)] = root(draft.target)
    names = [found.input, *(draft.target for draft in drafts)]
    together: dict[str, list[str]] = {}
    for name in names:
        together.setdefault(root(name), []).append(name)
    read = {name for draft in drafts for name in sources_of_draft(draft)}
    linear = {draft.target for draft in drafts if isinstance(draft, Linear)}
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


def _integer(draft: Draft, values: dict[str, Value], clamp: tuple[float, float] | None) -> Operator:
    """The integer operator of a draft."""
    target = values[draft.target]
    if isinstance(draft, Same):
        return draft
    if isinstance(draft, Sum | Product):
        return _pair(draft, values, target, clamp)
    source = values[draft.source]
    if isinstance(draft, Function):
        numbers = (np.arange(256) - source.zero) * source.scale
        with np.errstate(all="ignore"):
            table = [target.q(float(each)) for each in np.nan_to_num(draft.function(numbers.astype(np.float64)))]
        return Lookup(draft.source, draft.target, np.array(table, np.uint8))
    if isinstance(draft, Mean):
        return _mean(draft, source, target, clamp)
    if isinstance(draft, Response):
        return _response(draft, source, target, clamp)
    ratio = draft.scale * source.scale / target.scale
    zeros = source.zero * draft.weight.reshape(len(draft.weight), -1).sum(axis=1, dtype=np.int64)
    rule = requantize(
        ratio, zeros, draft.bias / target.scale, bounds=sum_bounds(draft.weight), target=target, clamp=clamp
    )
    return Conv(
        draft.source,
        draft.target,
        draft.weight,
        draft.strides,
        draft.pads,
        draft.dilations,
        draft.groups,
        rule,
        draft.layer,
    )


def _pair(draft: Sum | Product, values: dict[str, Value], target: Value, clamp: tuple[float, float] | None) -> Operator:
    a, b = values[draft.first], values[draft.second]
    if isinstance(draft, Product):
        ratio = np.full(target.shape[0], a.scale * b.scale / target.scale)
        none = np.zeros(target.shape[0])
        bound = np.full(target.shape[0], 255 * 255)
        rule = requantize(ratio, none.astype(np.int64), none, bounds=(-bound, bound), target=target, clamp=clamp)
        return Multiply(draft.first, draft.second, draft.target, rule)
    ratio = np.array([a.scale, draft.sign * b.scale]) / target.scale
    zeros = np.array([a.zero, b.zero], np.int64)
    bound = np.array([510, 510])
    rule = requantize(ratio, zeros, np.zeros(2), bounds=(-bound, bound), target=target, clamp=clamp, joint=True)
    return Add(draft.first, draft.second, draft.target, rule)


def _mean(draft: Mean, source: Value, target: Value, clamp: tuple[float, float] | None) -> AveragePool:
    inside = [
        {
            min(start + draft.kernel[at], source.shape[1 + at]) - max(start, 0)
            for start in (place * draft.strides[at] - draft.pads[at] for place in range(target.shape[1 + at]))
        }
        for at in range(2)
    ]
    counts = tuple(sorted({high * wide for high in inside[0] for wide in inside[1]}))
    size: npt.NDArray[np.int64] = np.array(counts, np.int64)
    shared = np.full(len(counts), draft.kernel[0] * draft.kernel[1]) if draft.padded else size
    rule = requantize(
        source.scale / target.scale / shared,
        source.zero * size,
        np.zeros(len(counts)),
        bounds=(np.zeros_like(size), 255 * size),
        target=target,
        clamp=clamp,
    )
    return AveragePool(draft.source, draft.target, draft.kernel, draft.strides, draft.pads, counts, rule)


def _response(draft: Response, source: Value, target: Value, clamp: tuple[float, float] | None) -> ResponseNorm:
    table, shift, step = factors(draft, source.scale)
    bound, zero = np.full(1, 255 * FINEST_FACTOR), np.zeros(1, np.int64)
    rule = requantize(
        np.array([source.scale * step / target.scale]),
        zero,
        np.zeros(1),
        bounds=(-bound, bound),
        target=target,
        clamp=clamp,
    )
    return ResponseNorm(draft.source, draft.target, draft.size, table, shift, rule)
