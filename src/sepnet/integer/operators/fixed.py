"""Constants as large as a map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import Clamp, Draft, Integers, Operator, Wish
from sepnet.integer.value import Shape, Value

__all__ = ["Fixed", "Given"]


@dataclass(frozen=True, eq=False)
class Given(Draft):
    """Numbers (channels, height, width) that do not depend on the input."""

    target: str
    numbers: npt.NDArray[np.float64]

    @property
    def sources(self) -> tuple[str, ...]:
        return ()

    @property
    def span(self) -> Clamp:
        return float(self.numbers.min()), float(self.numbers.max())

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> Fixed:
        low, high = target.limits
        q = np.clip(np.floor(self.numbers / target.scale + target.zero + 0.5), low, high)
        return Fixed(self.target, q.astype(np.uint8))


@dataclass(frozen=True, eq=False)
class Fixed(Operator):
    """The same q for every example."""

    target: str
    q: npt.NDArray[np.uint8]

    @property
    def sources(self) -> tuple[str, ...]:
        return ()

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        return self.q[None].astype(np.int64)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return []
