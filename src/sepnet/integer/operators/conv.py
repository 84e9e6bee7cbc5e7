"""Convolutions and fully connected layers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.bounds import sum_bounds
from sepnet.integer.operator import Clamp, Draft, Integers, OfOne, Reach, Scaled, Wish
from sepnet.integer.requantize import Requantize, requantize, requantized
from sepnet.integer.value import Shape, Value
from sepnet.integer.windows import scattered, windows

__all__ = ["Conv", "Linear"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Linear(OfOne, Draft):
    """A convolution of weight * scale[filter], plus bias; fields otherwise as of `Conv`.

    `by_channel` says that it is nothing but a scale and a bias for each channel.
    """

    scales: ClassVar[bool] = True
    gives_wide: ClassVar[bool] = True

    source: str
    target: str
    weight: npt.NDArray[np.int8]
    scale: Floats
    bias: Floats
    layer: str
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1
    by_channel: bool = False

    @property
    def affine(self) -> tuple[Floats, Floats] | None:
        return (self.scale * self.weight.ravel(), self.bias) if self.by_channel else None

    def absorbed(self, draft: Draft) -> Draft | None:
        """A scale and a bias a channel right after it become its own."""
        if draft.affine is None:
            return None
        by, more = draft.affine
        return replace(self, target=draft.target, scale=self.scale * by, bias=self.bias * by + more)

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> Conv:
        (source,) = sources
        ratio = self.scale * source.scale / target.scale
        zeros = source.zero * self.weight.reshape(len(self.weight), -1).sum(axis=1, dtype=np.int64)
        bounds = sum_bounds(self.weight)
        rule = requantize(ratio, zeros, self.bias / target.scale, bounds=bounds, target=target, clamp=clamp)
        window = self.strides, self.pads, self.dilations
        return Conv(self.source, self.target, self.weight, *window, self.groups, rule, self.layer)


@dataclass(frozen=True, eq=False)
class Conv(OfOne, Scaled):
    """Convolution or fully connected layer: the sum of weight * q, where q outside of the map is the input's zero.

    Attributes:
        source, target: names of values.
        weight: int8 (filters, channels / groups, height, width).
        strides, dilations: down, right.
        pads: top, left, bottom, right.
        groups: of channels.
        requantize: a multiplier a filter.
        layer: name of the weight, for people.
    """

    source: str
    target: str
    weight: npt.NDArray[np.int8]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int
    requantize: Requantize
    layer: str

    @property
    def title(self) -> str:
        return self.layer

    @property
    def reach(self) -> Reach:
        height = (self.weight.shape[2] - 1) * self.dilations[0]
        return Reach(self.strides[0], self.pads[0], height)

    @property
    def bounds(self) -> tuple[Integers, Integers]:
        return sum_bounds(self.weight)

    def macs(self, target: Value) -> int:
        return int(self.weight.size * np.prod(target.shape[1:]))

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        return requantized(self.requantize, self.sums(given[0], sources[0].zero))

    def sums(self, source: Integers, zero: int) -> Integers:
        """The sums before they are scaled, of products in floats that hold every sum exactly."""
        filters, channels, *kernel = self.weight.shape
        least, most = sum_bounds(self.weight)
        exact = np.float32 if int((most - least).max(initial=0)) < 1 << 24 else np.float64
        found = windows(
            source,
            (kernel[0], kernel[1]),
            strides=self.strides,
            pads=self.pads,
            fill=zero,
            dilations=self.dilations,
            dtype=exact,
        )
        count, _, high, wide = found.shape[:4]
        size, each = kernel[0] * kernel[1], filters // self.groups
        rows = found.reshape(count, self.groups, channels, high, wide, size).transpose(1, 0, 3, 4, 2, 5)
        weight = self.weight.reshape(self.groups, each, channels * size).astype(exact)
        sums = rows.reshape(self.groups, count * high * wide, channels * size) @ weight.transpose(0, 2, 1)
        shaped = sums.reshape(self.groups, count, high, wide, each).transpose(1, 0, 4, 2, 3)
        return np.asarray(shaped.reshape(count, filters, high, wide), np.int64)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return [self._back(wish * self.requantize.multipliers[:, None, None], shapes[0])]

    def followed(self, filter: int, sign: float, source: Value, target: Value) -> Wish:
        wish: Wish = np.zeros(target.shape)
        rows, columns = self._apart(wish.shape[1:])
        wish[filter, rows, columns] = sign
        return self._back(wish, source.shape)

    def _apart(self, sides: Sequence[int]) -> list[slice]:
        """Rows and columns of the result whose windows share nothing, the middle among them."""
        gaps = [
            -(-((kernel - 1) * dilation + 1) // stride)
            for kernel, dilation, stride in zip(self.weight.shape[2:], self.dilations, self.strides, strict=True)
        ]
        return [slice(side // 2 % gap, None, gap) for side, gap in zip(sides, gaps, strict=True)]

    def _back(self, wish: Wish, shape: Shape) -> Wish:
        filters, channels, *kernel = self.weight.shape
        weight = self.weight.reshape(self.groups, filters // self.groups, channels, *kernel).astype(np.float64)
        parts = wish.reshape(self.groups, -1, wish.shape[1] * wish.shape[2])

        def at(row: int, column: int) -> Wish:
            return (weight[..., row, column].transpose(0, 2, 1) @ parts).reshape(-1, *wish.shape[1:])

        sides = kernel[0], kernel[1]
        return scattered(at, shape, kernel=sides, strides=self.strides, pads=self.pads, dilations=self.dilations)
