"""Products of two values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import Clamp, Draft, Integers, OfTwo, Scaled, Wish
from sepnet.integer.requantize import Requantize, requantize, requantized
from sepnet.integer.value import Shape, Value

__all__ = ["Multiply", "Product"]


@dataclass(frozen=True)
class Product(OfTwo, Draft):
    """first * second."""

    scales: ClassVar[bool] = True

    first: str
    second: str
    target: str

    @property
    def of_values(self) -> Callable[..., npt.NDArray[Any]]:
        return lambda x, y: x * y

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> Multiply:
        a, b = sources
        ratio = np.full(target.shape[0], a.scale * b.scale / target.scale)
        none = np.zeros(target.shape[0])
        bound = np.full(target.shape[0], 255 * 255)
        rule = requantize(ratio, none.astype(np.int64), none, bounds=(-bound, bound), target=target, clamp=clamp)
        return Multiply(self.first, self.second, self.target, rule)


@dataclass(frozen=True, eq=False)
class Multiply(OfTwo, Scaled):
    """The sum that `Requantize` takes is (a - zero of a) * (b - zero of b); b may be one a channel."""

    in_place: ClassVar[bool] = True

    first: str
    second: str
    target: str
    requantize: Requantize

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        a, b = (numbers - value.zero for numbers, value in zip(given, sources, strict=True))
        return requantized(self.requantize, a * b)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        by = np.sign(self.requantize.multipliers[0])
        return [wish * by, self.shared(wish, shapes) * by]
