"""Zeros around maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sepnet.integer.operator import Integers, Moved, OfOne, Reach, Wish
from sepnet.integer.value import Shape, Value

__all__ = ["Pad"]


@dataclass(frozen=True)
class Pad(OfOne, Moved):
    """Zeros (the input's zero) before and after each side, (channels, height, width)."""

    source: str
    target: str
    before: Shape
    after: Shape

    @property
    def reach(self) -> Reach:
        return Reach(1, self.before[1], 0)

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        ends = ((0, 0), *zip(self.before, self.after, strict=True))
        return np.pad(given[0], ends, constant_values=sources[0].zero)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        places = zip(self.before, shapes[0], strict=True)
        return [wish[tuple(slice(start, start + side) for start, side in places)]]
