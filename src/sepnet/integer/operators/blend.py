"""Rows and columns between those of a map: resized maps, and borders that mirror what is inside."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sepnet.integer.operator import EVERY_ROW, Integers, Moved, OfOne, Reach, Wish
from sepnet.integer.value import Shape, Value

__all__ = ["Between", "Blend"]

Between = tuple[tuple[int, int, int], ...]
"""For each row or column: two of the source, and how much of the second there is in it, in 256ths."""


@dataclass(frozen=True)
class Blend(OfOne, Moved):
    """(sum of q of four numbers, each times its two shares of 256, + 2^15) >> 16."""

    source: str
    target: str
    rows: Between
    columns: Between

    @property
    def reach(self) -> Reach:
        return EVERY_ROW

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        rows, columns = (np.array(each, np.int64) for each in (self.rows, self.columns))
        source, under, right = given[0], rows[:, 2][:, None], columns[:, 2]
        down = source[:, :, rows[:, 0]] * (256 - under) + source[:, :, rows[:, 1]] * under
        both = down[..., columns[:, 0]] * (256 - right) + down[..., columns[:, 1]] * right
        return np.asarray(both + (1 << 15), np.int64) >> 16

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        back: Wish = np.zeros(shapes[0])
        rows, columns = (np.array([each[0] for each in line]) for line in (self.rows, self.columns))
        for channel, wanted in zip(back, wish, strict=True):
            np.add.at(channel, (rows[:, None], columns), wanted)
        return [back]
