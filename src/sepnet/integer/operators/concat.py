"""Channels of several values side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sepnet.integer.operator import Integers, Moved, Wish
from sepnet.integer.value import Shape, Value

__all__ = ["Concat"]


@dataclass(frozen=True)
class Concat(Moved):
    """Channels of several values, all of one scale and zero."""

    joins: ClassVar[bool] = True

    parts: tuple[str, ...]
    target: str

    @property
    def sources(self) -> tuple[str, ...]:
        return self.parts

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        return np.concatenate(given, axis=1)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return np.split(wish, np.cumsum([shape[0] for shape in shapes])[:-1])
