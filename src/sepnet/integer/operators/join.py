"""Rows or columns of several values one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sepnet.integer.operator import EVERY_ROW, Integers, Moved, Reach, Wish
from sepnet.integer.value import Shape, Value

__all__ = ["Join"]


@dataclass(frozen=True)
class Join(Moved):
    """Rows (axis 1) or columns (axis 2) of several values one after the other, all of one scale and zero."""

    joins: ClassVar[bool] = True

    parts: tuple[str, ...]
    target: str
    axis: int

    @property
    def sources(self) -> tuple[str, ...]:
        return self.parts

    @property
    def reach(self) -> Reach:
        return EVERY_ROW if self.axis == 1 else Reach()

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        return np.concatenate(given, axis=1 + self.axis)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return np.split(wish, np.cumsum([shape[self.axis] for shape in shapes])[:-1], axis=self.axis)
