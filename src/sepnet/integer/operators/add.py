"""Sums and differences of two values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import Clamp, Draft, Integers, OfTwo, Scaled, Wish
from sepnet.integer.requantize import Requantize, requantize, scaled
from sepnet.integer.value import Shape, Value

__all__ = ["Add", "Sum"]


@dataclass(frozen=True)
class Sum(OfTwo, Draft):
    """first + sign * second."""

    scales: ClassVar[bool] = True

    first: str
    second: str
    target: str
    sign: int = 1

    @property
    def of_values(self) -> Callable[..., npt.NDArray[Any]]:
        return lambda x, y: x + self.sign * y

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> Add:
        a, b = sources
        ratio = np.array([a.scale, self.sign * b.scale]) / target.scale
        zeros = np.array([a.zero, b.zero], np.int64)
        bound = np.array([510, 510])
        rule = requantize(ratio, zeros, np.zeros(2), bounds=(-bound, bound), target=target, clamp=clamp, joint=True)
        return Add(self.first, self.second, self.target, rule)


@dataclass(frozen=True, eq=False)
class Add(OfTwo, Scaled):
    """a * multipliers[0] + b * multipliers[1], then as `Requantize` with offsets[0]; b may be one a channel."""

    in_place: ClassVar[bool] = True

    first: str
    second: str
    target: str
    requantize: Requantize

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        first, second = (int(each) for each in self.requantize.multipliers)
        return scaled(self.requantize, given[0] * first + given[1] * second, self.requantize.offsets)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return [wish * self.requantize.multipliers[0], self.shared(wish, shapes) * self.requantize.multipliers[1]]
