"""Numbers below zero times one number a channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import Clamp, Draft, Integers, OfOne, Scaled, Wish
from sepnet.integer.requantize import Requantize, requantize, scaled
from sepnet.integer.value import Shape, Value

__all__ = ["Bend", "Slope"]


@dataclass(frozen=True, eq=False)
class Bend(OfOne, Draft):
    """x, or x times the channel's slope where it is below zero."""

    scales: ClassVar[bool] = True

    source: str
    target: str
    slopes: npt.NDArray[np.float64]

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> Slope:
        ratio = np.concatenate([np.ones_like(self.slopes), self.slopes]) * sources[0].scale / target.scale
        none, bound = np.zeros(ratio.size), np.full(ratio.size, 255)
        rule = requantize(ratio, none.astype(np.int64), none, bounds=(-bound, bound), target=target, clamp=clamp)
        return Slope(self.source, self.target, rule)


@dataclass(frozen=True, eq=False)
class Slope(OfOne, Scaled):
    """The sum that `Requantize` takes is q - zero; its multipliers are those of sums of 0 and more, then those of sums below."""

    in_place: ClassVar[bool] = True

    source: str
    target: str
    requantize: Requantize

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        numbers, rule = given[0] - sources[0].zero, self.requantize
        multipliers, offsets = (each.astype(np.int64).reshape(2, -1, 1, 1) for each in (rule.multipliers, rule.offsets))
        below = numbers < 0
        product = numbers * np.where(below, multipliers[1], multipliers[0])
        return scaled(rule, product, np.where(below, offsets[1], offsets[0]).astype(np.int32))

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return [wish]
