"""How the weights of a layer lie in flash: 8-bit numbers, gaps and numbers, or one bit a sign.  The smallest is taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from sepnet.integer.operators.conv import Conv

__all__ = ["UNPACKED", "WIDE_SIGNS", "Stored", "lanes_run", "merge_groups", "store"]

Integers = npt.NDArray[np.int64]
LEAST_SIGNS = 16
"""Weights of a filter from which on tables of subset sums pay."""
MOST_LOOKUPS, MOST_NUMBERS = 64, 257
"""Sums of four unsigned 8-bit numbers, and single ones, that 16 bits hold, whatever they are: 64 * 1020, 257 * 255 < 2**16."""
MOST_SIGNS = 4_210_752
"""Of a filter: twice the sum of as many unsigned 8-bit numbers is less than 2**31."""
WIDE_SIGNS = 128
LANES, UNPACKED = 64, 128
"""Weights of 16 filters for four numbers, and the bytes that these take at most when they are computed with."""
MOST_TABLE_GROUPS = 16


@dataclass(frozen=True)
class Stored:
    """Weights as they lie in flash.

    Attributes:
        kind: which kernel reads them.
        data: the bytes.
        format: of "sparse" 16 * bytes of an entry + bits of its weight; of "signs" groups of four channels in a table, and
            128 if the numbers with a + sign can add up to more than 16 bits hold; of "lanes" bytes of 64 weights, 8 or 64.
    """

    kind: Literal["dense", "depthwise", "sparse", "signs", "lanes"]
    data: bytes
    format: int = 0

    @property
    def how(self) -> str:
        """In words."""
        if self.kind == "sparse":
            bits = self.format % 16
            return f"gaps of {8 * (self.format // 16) - bits} bits, weights of {bits}"
        return "a bit a sign" if self.kind == "signs" or self.format == LANES // 8 else "8 bits"


def store(conv: Conv, lanes: bool = False) -> Stored:
    """The smallest form of a layer's weights; `lanes` puts the weights of 16 filters side by side, for vectors."""
    weight = conv.weight
    if lanes and conv.groups < len(weight):
        return _lanes(conv)
    short = not conv.requantize.long_sum
    if short and not lanes and _looked_up(weight):
        return _signs(conv)
    if short and weight.shape[1] == 1 and conv.groups > 1:
        return Stored("depthwise", weight.transpose(2, 3, 1, 0).tobytes())
    rows = weight.transpose(0, 2, 3, 1).astype(np.int64)
    dense = Stored("dense", rows.astype(np.int8).tobytes())
    if conv.groups > 1 or conv.dilations[1] > 1:
        return dense
    sparse = _sparse(rows.ravel())
    return sparse if len(sparse.data) < len(dense.data) else dense


def _looked_up(weight: npt.NDArray[np.int8]) -> bool:
    """Whether weights are signs, enough of them, and no more than the sums of their kernel hold: in 16 bits those of the
    columns of a group of channels, in 32 twice those of a filter."""
    _, channels, _, wide = weight.shape
    fits = wide * min(4, channels) <= MOST_NUMBERS and LEAST_SIGNS <= weight[0].size <= MOST_SIGNS
    return fits and bool(np.all(np.abs(weight) == 1))


def _sparse(numbers: Integers) -> Stored:
    """Entries of one or two bytes, with as many bits for the gap as makes them fewest."""
    largest = max(int(numbers.max(initial=0)), -int(numbers.min(initial=0)) - 1, 1)
    least = 1 + largest.bit_length()
    kept = np.flatnonzero(numbers)
    values = np.append(numbers[kept], 0)
    gaps = np.diff(np.append(kept, numbers.size), prepend=-1) - 1
    best = Stored("sparse", bytes(2 * numbers.size + 2))
    for size in (1, 2):
        for bits in range(least, min(8 * size - 1, 8) + 1):
            data = _entries(gaps, values, size, bits)
            if len(data) < len(best.data):
                best = Stored("sparse", data, 16 * size + bits)
            break
    return best


def _entries(gaps: Integers, values: Integers, size: int, bits: int) -> bytes:
    """A gap that is too long takes entries of weight 0 before."""
    reach = 1 << (8 * size - bits)
    fillers = gaps // reach
    ends = np.cumsum(fillers + 1) - 1
    codes = np.full(int(ends[-1]) + 1, (reach - 1) << bits, np.int64)
    codes[ends] = (gaps % reach) << bits | (values & ((1 << bits) - 1))
    return codes.astype(f"<u{size}").tobytes()


def _signs(conv: Conv) -> Stored:
    """A nibble for the signs of four channels, in the order in which the kernel looks them up."""
    filters, channels, high, wide = conv.weight.shape
    block = max(1, min(MOST_TABLE_GROUPS, MOST_LOOKUPS // wide, -(-channels // 4)))
    bits = np.zeros((filters, -(-channels // 4) * 4, high, wide), np.int64)
    bits[:, :channels] = conv.weight > 0
    nibbles = (bits.reshape(filters, -1, 4, high, wide) * np.array([1, 2, 4, 8])[:, None, None]).sum(axis=2)
    parts: list[bytes] = []
    for group in np.split(nibbles, conv.groups):
        for row in range(high):
            for start in range(0, nibbles.shape[1], block):
                codes = group[:, start : start + block, row].reshape(len(group), -1)
                codes = np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))
                parts.append((codes[:, ::2] | codes[:, 1::2] << 4).astype(np.uint8).tobytes())
    wide = int(bits.reshape(filters, -1).sum(axis=1).max(initial=0)) > MOST_NUMBERS
    return Stored("signs", b"".join(parts), block + WIDE_SIGNS * wide)


def _lanes(conv: Conv) -> Stored:
    """64 weights, of 16 filters for four numbers, for each place of the kernel; bits if all are signs and no zeros fill a word."""
    filters, channels, high, wide = conv.weight.shape
    each, run = filters // conv.groups, lanes_run(conv)
    rows = conv.weight.transpose(0, 2, 3, 1).reshape(conv.groups, each, high * channels * wide // run, run)
    whole = np.pad(rows, ((0, 0), (0, -each % 16), (0, 0), (0, -run % 4)))
    ordered = whole.reshape(conv.groups, whole.shape[1] // 16, 16, -1, 4).transpose(0, 1, 3, 2, 4)
    if run % 4 == 0 and np.all(np.abs(rows) == 1):
        return Stored("lanes", np.packbits(ordered.ravel() > 0, bitorder="little").tobytes(), LANES // 8)
    return Stored("lanes", ordered.tobytes(), LANES)


def lanes_run(conv: Conv) -> int:
    """Numbers of a window that follow one another in the source: a row of it, or the channels of a group."""
    channels, _, wide = conv.weight.shape[1:]
    return int(channels * wide) if conv.groups == 1 and conv.dilations[1] == 1 else int(channels)


def merge_groups(conv: Conv) -> Conv:
    """Groups of less than 16 filters together, as far as 16 go, with weights of zero for each other's channels."""
    filters, channels, *kernel = conv.weight.shape
    each = filters // conv.groups
    count = next((n for n in range(16 // each, 1, -1) if conv.groups % n == 0), 1)
    if count == 1 or (channels == 1 and each == 1):
        return conv
    weight = np.zeros((conv.groups // count, count, each, count, channels, *kernel), np.int8)
    split = conv.weight.reshape(conv.groups // count, count, each, channels, *kernel)
    for at in range(count):
        weight[:, at, :, at] = split[:, at]
    return replace(conv, weight=weight.reshape(filters, count * channels, *kernel), groups=conv.groups // count)
