"""Channels in another order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sepnet.integer.operator import Integers, Moved, OfOne, Wish
from sepnet.integer.value import Shape, Value

__all__ = ["Gather"]


@dataclass(frozen=True)
class Gather(OfOne, Moved):
    """Channels in another order."""

    source: str
    target: str
    order: tuple[int, ...]

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        return given[0][:, list(self.order)]

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        back: Wish = np.zeros(shapes[0])
        np.add.at(back, list(self.order), wish)
        return [back]
