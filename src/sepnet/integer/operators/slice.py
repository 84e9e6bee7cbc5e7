"""Parts of maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sepnet.integer.operator import Integers, Moved, OfOne, Reach, Wish
from sepnet.integer.value import Shape, Value

__all__ = ["Slice"]


@dataclass(frozen=True)
class Slice(OfOne, Moved):
    """From each side every `steps`-th, from `starts` on; (channels, height, width)."""

    source: str
    target: str
    starts: Shape
    steps: Shape

    @property
    def reach(self) -> Reach:
        return Reach(self.steps[1], 0, self.starts[1])

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        return given[0][(slice(None), *self._places(target.shape))]

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        back: Wish = np.zeros(shapes[0])
        back[self._places(wish.shape)] = wish
        return [back]

    def _places(self, sides: Sequence[int]) -> tuple[slice, ...]:
        chosen = zip(self.starts, self.steps, sides, strict=True)
        return tuple(slice(start, start + step * side, step) for start, step, side in chosen)
