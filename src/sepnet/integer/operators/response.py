"""Local response normalization: the table of its factors, and what it computes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import Clamp, Draft, Integers, OfOne, Scaled, Wish
from sepnet.integer.requantize import Requantize, requantize, requantized
from sepnet.integer.value import Shape, Value

__all__ = ["Response", "ResponseNorm"]

FINEST_FACTOR = 4095
"""The integer that stands for the factor of a sum of 0, the largest there is."""
_ENTRIES = 256


@dataclass(frozen=True)
class Response(OfOne, Draft):
    """x / (bias + alpha * mean of x^2 over the `size` channels around)^beta, channels outside being 0."""

    scales: ClassVar[bool] = True

    source: str
    target: str
    size: int
    alpha: float
    beta: float
    bias: float

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> ResponseNorm:
        table, shift, step = self.factors(sources[0].scale)
        bound, zero = np.full(1, 255 * FINEST_FACTOR), np.zeros(1, np.int64)
        ratio = np.array([sources[0].scale * step / target.scale])
        rule = requantize(ratio, zero, np.zeros(1), bounds=(-bound, bound), target=target, clamp=clamp)
        return ResponseNorm(self.source, self.target, self.size, table, shift, rule)

    def factors(self, scale: float) -> tuple[npt.NDArray[np.int16], int, float]:
        """(table, shift, step): what q is multiplied with for a sum S of squares of q is about table[S >> shift] * step.

        Between entries it runs straight; there are at most 257 of them, the first is `FINEST_FACTOR`.

        >>> table, shift, step = Response("x", "y", 5, 1e-2, 0.75, 1.0).factors(0.1)
        >>> len(table), shift, int(table[0]), round(int(table[-1]) * step, 3), round((1 + 1e-2 * 0.01 / 5 * 159 * 2048) ** -0.75, 3)
        (160, 11, 4095, 0.22, 0.22)
        """
        largest = 255 * 255 * self.size
        shift = max(0, largest.bit_length() - _ENTRIES.bit_length() + 1)
        sums = np.arange((largest >> shift) + 2, dtype=np.float64) * 2.0**shift
        exact = (self.bias + self.alpha / self.size * scale * scale * sums) ** -self.beta
        step = float(exact[0]) / FINEST_FACTOR
        return np.rint(exact / step).astype(np.int16), shift, step


@dataclass(frozen=True, eq=False)
class ResponseNorm(OfOne, Scaled):
    """Local response normalization: S is the sum of (q - zero)^2 over the channels around that are inside of the map.

    factor = table[i] + (((table[i + 1] - table[i]) * (S mod 2^shift)) >> shift), i = S >> shift; the sum that
    `Requantize` takes is (q - zero) * factor, with one multiplier for all channels.

    Attributes:
        size: channels of a window, odd.
    """

    source: str
    target: str
    size: int
    table: npt.NDArray[np.int16]
    shift: int
    requantize: Requantize

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        source = given[0] - sources[0].zero
        half, table = self.size // 2, self.table.astype(np.int64)
        squares = np.pad(source * source, ((0, 0), (half, half), (0, 0), (0, 0)))
        total = np.lib.stride_tricks.sliding_window_view(squares, self.size, axis=1).sum(axis=-1)
        at, rest = total >> self.shift, total & ((1 << self.shift) - 1)
        factor = table[at] + (((table[at + 1] - table[at]) * rest) >> self.shift)
        return requantized(self.requantize, source * factor)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return [wish]
