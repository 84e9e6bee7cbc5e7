"""Operators that become part of others, so that fewer values are rounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import Clamp, Draft
from sepnet.integer.operators.lookup import Function
from sepnet.integer.trace import Trace

__all__ = ["fused"]

Of = Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
Clamps = dict[str, Clamp]


def fused(found: Trace) -> tuple[tuple[Draft, ...], Clamps]:
    """A network's operators, fewer of them, and the limits that the results of some have.

    What scales its result takes in what comes right after it, as its only reader: a scale and a bias, or a clamp.  Functions of
    functions become one; so do sums and products of functions of the same value, as x * sigmoid(x).
    """
    drafts, clamps = _taken_in(found)
    return _composed(found, drafts, clamps), clamps


def _reads(found: Trace, drafts: Sequence[Draft]) -> Counter[str]:
    reads = Counter(name for draft in drafts for name in draft.sources)
    reads.update(ref.name for ref in found.outputs.values())
    return reads


def _taken_in(found: Trace) -> tuple[tuple[Draft, ...], Clamps]:
    """Scales, biases and clamps as part of what they follow."""
    reads = _reads(found, found.drafts)
    clamps: Clamps = {}
    drafts: list[Draft] = []
    place: dict[str, int] = {}
    for draft in found.drafts:
        source = draft.sources[0] if draft.sources else ""
        at = place.get(source) if reads[source] == 1 else None
        if at is not None and drafts[at].scales:
            one = drafts[at].absorbed(draft) if source not in clamps else None
            if draft.limits is not None:
                one = drafts[at].renamed(draft.target)
                low, high = clamps.pop(source, draft.limits)
                clamps[draft.target] = max(low, draft.limits[0]), min(high, draft.limits[1])
            if one is not None:
                drafts[at] = one
                place[draft.target] = at
                continue
        place[draft.target] = len(drafts)
        drafts.append(draft)
    return tuple(drafts), clamps


def _composed(found: Trace, drafts: Sequence[Draft], clamps: Clamps) -> tuple[Draft, ...]:
    """Functions of functions, and sums and products of functions of one value, as one function; limits become part of it."""
    reads, made = _reads(found, drafts), dict[str, Draft]()
    for draft in drafts:
        inner = [_inner(made, reads, name, draft.sources.count(name)) for name in draft.sources]
        roots = {root for root, _ in inner}
        outer = draft.of_values
        if outer is None or len(roots) != 1 or all(of is None for _, of in inner):
            made[draft.target] = draft
            continue
        for name, (_, of) in zip(draft.sources, inner, strict=True):
            if of is not None:
                made.pop(name, None)
        (root,) = roots
        parts = [of for _, of in inner]
        limits = clamps.pop(draft.target, (-np.inf, np.inf))
        made[draft.target] = Function(root, draft.target, _of_one(outer, parts, limits))
        reads[root] -= len(parts) - 1
    return tuple(made.values())


def _inner(made: dict[str, Draft], reads: Counter[str], name: str, times: int) -> tuple[str, Of | None]:
    """The value that a value is a function of, and that function; itself and None if others read it too."""
    maker = made.get(name)
    if maker is None or maker.of_values is None or len(maker.sources) != 1 or reads[name] != times:
        return name, None
    return maker.sources[0], maker.of_values


def _of_one(outer: Callable[..., Any], parts: Sequence[Of | None], limits: Clamp) -> Of:
    def function(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.asarray(np.clip(outer(*(x if of is None else of(x) for of in parts)), *limits))

    return function
