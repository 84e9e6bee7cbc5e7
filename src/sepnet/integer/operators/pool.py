"""The largest number, or the mean, of each window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import Clamp, Draft, Integers, Moved, OfOne, Reach, Scaled, Wish
from sepnet.integer.requantize import Requantize, requantize, scaled
from sepnet.integer.value import Shape, Value
from sepnet.integer.windows import scattered, windows

__all__ = ["AveragePool", "MaxPool", "Mean"]


@dataclass(frozen=True)
class MaxPool(OfOne, Moved):
    """The largest q of each window, of those inside of the map."""

    source: str
    target: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]

    @property
    def reach(self) -> Reach:
        return Reach(self.strides[0], self.pads[0], self.kernel[0] - 1)

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        found = windows(given[0], self.kernel, strides=self.strides, pads=self.pads, fill=0)
        return np.asarray(found.max(axis=(4, 5)))

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return [scattered(lambda *_: wish, shapes[0], kernel=self.kernel, strides=self.strides, pads=self.pads)]


@dataclass(frozen=True)
class Mean(OfOne, Draft):
    """The mean of each window, times `gain`; `padded` counts the zeros outside of the map too."""

    scales: ClassVar[bool] = True

    source: str
    target: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    padded: bool
    gain: float = 1.0

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> AveragePool:
        (source,) = sources
        inside = [
            {
                min(start + self.kernel[at], source.shape[1 + at]) - max(start, 0)
                for start in (place * self.strides[at] - self.pads[at] for place in range(target.shape[1 + at]))
            }
            for at in range(2)
        ]
        counts = tuple(sorted({high * wide for high in inside[0] for wide in inside[1]}))
        size: npt.NDArray[np.int64] = np.array(counts, np.int64)
        shared = np.full(len(counts), self.kernel[0] * self.kernel[1]) if self.padded else size
        rule = requantize(
            self.gain * source.scale / target.scale / shared,
            source.zero * size,
            np.zeros(len(counts)),
            bounds=(np.zeros_like(size), 255 * size),
            target=target,
            clamp=clamp,
        )
        return AveragePool(self.source, self.target, self.kernel, self.strides, self.pads, counts, rule)


@dataclass(frozen=True, eq=False)
class AveragePool(OfOne, Scaled):
    """The mean of each window: the sum of q of the window inside of the map, requantized by how many they are.

    Attributes:
        counts: the numbers of q that windows have; requantize has a multiplier and an offset for each, in this order.
    """

    source: str
    target: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    counts: tuple[int, ...]
    requantize: Requantize

    @property
    def reach(self) -> Reach:
        return Reach(self.strides[0], self.pads[0], self.kernel[0] - 1)

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        (source,) = given
        ones = np.ones((1, 1, *source.shape[2:]), np.int64)
        total, counts = (
            windows(each, self.kernel, strides=self.strides, pads=self.pads, fill=0).sum(axis=(4, 5), dtype=np.int64)
            for each in (source, ones)
        )
        which = np.searchsorted(self.counts, counts)
        multipliers = self.requantize.multipliers.astype(np.int64)
        return scaled(self.requantize, total * multipliers[which], self.requantize.offsets[which])

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return [scattered(lambda *_: wish, shapes[0], kernel=self.kernel, strides=self.strides, pads=self.pads)]
