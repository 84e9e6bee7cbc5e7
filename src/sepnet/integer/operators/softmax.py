"""Softmax over channels, and its logarithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import Clamp, Draft, Integers, OfOne, Operator, Scaled, Wish
from sepnet.integer.requantize import Requantize, requantize, scaled
from sepnet.integer.value import Shape, Value

__all__ = ["LogSoftmax", "Shares", "Softmax", "exponentials", "logarithms"]

ONE, LOG_ONE = 32767, 4096
"""Integers that stand for exp(0), and for a logarithm of 1."""


@dataclass(frozen=True)
class Shares(OfOne, Draft):
    """exp(x) over its sum along channels; with `log` the logarithm of that."""

    gives_wide: ClassVar[bool] = True
    takes_wide: ClassVar[bool] = True

    source: str
    target: str
    log: bool = False

    @property
    def span(self) -> Clamp | None:
        return None if self.log else (0.0, 1.0)

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> Operator:
        tables = exponentials(sources[0])
        if not self.log:
            return Softmax(self.source, self.target, *tables, round(1 / target.scale))
        ratio = np.array([sources[0].scale, -1 / LOG_ONE]) / target.scale
        bound = np.array([65535, 32 * LOG_ONE])
        rule = requantize(ratio, np.zeros(2, np.int64), np.zeros(2), bounds=(-bound, bound), target=target, joint=True)
        return LogSoftmax(self.source, self.target, *tables, logarithms(), rule)


def exponentials(source: Value) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int16]]:
    """Tables of exp(-d * scale) in steps of 1 / ONE, of the low and the high byte of d; their product is shifted by 15 bits."""
    distance = np.arange(256) * source.scale
    coarse = 256 if source.wide else 1
    low, high = (np.rint(ONE * np.exp(-each)).astype(np.int16) for each in (distance, 256 * distance[:coarse]))
    return low, high


def logarithms() -> npt.NDArray[np.int16]:
    """log of 1 to 2 in 128 steps, in steps of 1 / LOG_ONE, and then that of 2."""
    return np.asarray(np.rint(LOG_ONE * np.log1p(np.arange(129) / 128)), np.int16)


def _powers(numbers: Integers, low: npt.NDArray[np.int16], high: npt.NDArray[np.int16]) -> tuple[Integers, Integers]:
    """How far each number is below the largest of its pixel, and exp of that."""
    distance = numbers.max(axis=1, keepdims=True) - numbers
    fine, coarse = low.astype(np.int64), high.astype(np.int64)
    return distance, (fine[distance & 255] * coarse[distance >> 8] + (1 << 14)) >> 15


@dataclass(frozen=True, eq=False)
class Softmax(OfOne, Operator):
    """d is how far q is below the largest of its pixel, e = (low[d mod 256] * high[d >> 8] + 2^14) >> 15, S the sum of e.

    It gives (e * one + (S >> 1)) / S, rounded down, and the target's zero.
    """

    source: str
    target: str
    low: npt.NDArray[np.int16]
    high: npt.NDArray[np.int16]
    one: int

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        _, powers = _powers(given[0], self.low, self.high)
        total = powers.sum(axis=1, keepdims=True)
        return np.asarray(np.minimum((powers * self.one + (total >> 1)) // total + target.zero, target.limits[1]))

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return [wish]


@dataclass(frozen=True, eq=False)
class LogSoftmax(OfOne, Scaled):
    """-d * multipliers[0] + L * multipliers[1], then as `Requantize` with offsets[0]; d and S are those of `Softmax`.

    L stands for log(S / 32767): S is shifted left by k until it is in 2^31 .. 2^32, i is what its next 7 bits are, and
    L = logs[i] + (16 - k) * logs[128].
    """

    source: str
    target: str
    low: npt.NDArray[np.int16]
    high: npt.NDArray[np.int16]
    logs: npt.NDArray[np.int16]
    requantize: Requantize

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        distance, powers = _powers(given[0], self.low, self.high)
        total = powers.sum(axis=1, keepdims=True)
        bits = np.frexp(total.astype(np.float64))[1].astype(np.int64)
        at = ((total << (32 - bits)) >> 24) & 127
        logs = self.logs.astype(np.int64)
        logarithm = logs[at] + (bits - 16) * logs[128]
        first, second = (int(each) for each in self.requantize.multipliers)
        return scaled(self.requantize, -distance * first + logarithm * second, self.requantize.offsets)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return [wish]
