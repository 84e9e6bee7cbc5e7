"""Numbers as plain ONNX operators over few bytes; a runtime computes them once, when it folds constants.

Fields: codes of 1, 2 or 4 bits lie in bytes, the first in the lowest bits; BitShift and BitwiseAnd take them apart.  Codes of
3, 5, 6 or 7 bits are two or three such fields.  Few numbers that are not zero: they alone, and where they are by a bitmap
(CumSum, Gather) or by gaps (CumSum, ScatterElements).  Kernels that recur: a table of kernels and an index each (Gather).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.exporters.onnx.builder import Builder, Way

__all__ = ["LEVELS", "Codes", "Halves", "Stored", "write", "write_mask"]

LEVELS = 256
"""Most different numbers that are written as codes."""
MOST_KERNELS = 256
SAMPLE = 4096
"""Numbers of which the different ones are counted first, as all are many to sort."""
LEAST_ZEROS = 0.4
"""Share of zeros from which on places are written."""
LEAST_PACKED = 16
"""Numbers below which all are written as they are: a node takes more."""

Numbers = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


class Stored(ABC):
    """Numbers that can be written in several ways, all of which give the same."""

    @property
    @abstractmethod
    def numbers(self) -> Numbers:
        """They themselves: float32 or int8."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Of one of them, written densely."""

    @abstractmethod
    def part(self, places: Places) -> Stored:
        """Those at these places of the flat numbers; 0 for a place below 0."""

    @abstractmethod
    def dense(self) -> Iterator[Way]:
        """Ways that write each number."""


@dataclass(frozen=True)
class Codes(Stored):
    """Indices into a small table.

    Attributes:
        codes: uint8, in the numbers' shape.
        table: float32 or int8, `LEVELS` at most.
    """

    codes: Bytes
    table: Numbers

    @classmethod
    def of(cls, numbers: Numbers) -> Codes | None:
        """Of numbers of which few are different; None where they are more than `LEVELS`."""
        if len(np.unique(numbers.reshape(-1)[:SAMPLE])) > LEVELS:
            return None
        table, codes = np.unique(numbers, return_inverse=True)
        return cls(codes.reshape(numbers.shape).astype(np.uint8), table) if len(table) <= LEVELS else None

    @property
    def numbers(self) -> Numbers:
        return self.table[self.codes]

    @property
    def bits(self) -> int:
        return int(max(0, len(self.table) - 1)).bit_length()

    def part(self, places: Places) -> Stored:
        zero = np.flatnonzero(self.table == 0)
        found = np.where(places < 0, zero[0] if len(zero) else 0, self.codes.reshape(-1)[places])
        used, codes = np.unique(found, return_inverse=True)
        return Codes(codes.astype(np.uint8), self.table[used])

    def dense(self) -> Iterator[Way]:
        if len(self.table) == 1:
            yield self._filled
        elif len(self.table) == 2:
            yield self._either
        else:
            yield self._looked_up
        shape = self.codes.shape
        if len(shape) == 4 and shape[2] * shape[3] > 1 and shape[0] * shape[1] > LEAST_PACKED:
            kernels, index = np.unique(self.codes.reshape(shape[0] * shape[1], -1), axis=0, return_inverse=True)
            if len(kernels) <= min(MOST_KERNELS, len(index) // 2):
                yield lambda build: self._by_kernels(build, kernels, index.reshape(-1).astype(np.uint8))

    def _filled(self, build: Builder) -> str:
        return build.add("Expand", build.constant(self.table), build.integers(*self.codes.shape))

    def _either(self, build: Builder) -> str:
        """One of two; int8 by way of uint8 of the same bits, as not every runtime's Where takes int8."""
        table = self.table.view(np.uint8) if self.table.dtype == np.int8 else self.table
        mask = write_mask(build, self.codes == 1)
        found = build.add("Where", mask, build.constant(table[1]), build.constant(table[0]))
        return build.cast(found, np.int8) if self.table.dtype == np.int8 else found

    def _looked_up(self, build: Builder) -> str:
        codes = _fields(build, self.codes.reshape(-1), self.bits, self.codes.shape)
        table = build.smallest([lambda build: build.constant(self.table), self._half_table])
        return build.add("Gather", table, build.cast(codes, np.int32))

    def _half_table(self, build: Builder) -> str:
        halves = Halves.exactly(self.table) if self.table.dtype == np.float32 else None
        return halves.cast(build) if halves else build.constant(self.table)

    def _by_kernels(self, build: Builder, kernels: Bytes, index: Bytes) -> str:
        table = write(build, Codes(kernels, self.table))
        bits = max(1, int(len(kernels) - 1).bit_length())
        at = build.cast(_fields(build, index, bits, index.shape), np.int32)
        return build.reshape(build.add("Gather", table, at), self.codes.shape)


@dataclass(frozen=True)
class Halves(Stored):
    """float32 numbers that are binary16 times a power of two."""

    bits16: npt.NDArray[np.float16]
    factor: np.float32

    @classmethod
    def exactly(cls, numbers: Numbers, exponent: int = 0) -> Halves | None:
        """Numbers that are binary16 times 2^exponent; None where they are not."""
        with np.errstate(over="ignore", under="ignore"):
            found = cls(np.ldexp(numbers, -exponent).astype(np.float16), np.ldexp(np.float32(1), exponent))
            return found if np.array_equal(found.numbers, numbers) else None

    @property
    def numbers(self) -> Numbers:
        return self.bits16.astype(np.float32) * self.factor

    @property
    def bits(self) -> int:
        return 16

    def part(self, places: Places) -> Stored:
        return Halves(np.where(places < 0, np.float16(0), self.bits16.reshape(-1)[places]), self.factor)

    def dense(self) -> Iterator[Way]:
        yield self.cast
        if few := Codes.of(self.numbers):
            yield from few.dense()

    def cast(self, build: Builder) -> str:
        """As binary16."""
        numbers = build.cast(build.constant(self.bits16), np.float32)
        return numbers if self.factor == 1 else build.add("Mul", numbers, build.constant(self.factor))


def write(build: Builder, given: Stored) -> str:
    """A value of the numbers in their shape, in the way that takes the fewest bytes."""
    return build.smallest(_ways(given))


def write_mask(build: Builder, mask: Mask) -> str:
    """A value of type bool in the mask's shape, from a bit each."""
    return build.cast(_bits(build, mask.reshape(-1), mask.shape), np.bool_)


def _ways(given: Stored) -> Iterator[Way]:
    numbers = given.numbers
    yield lambda build: build.constant(numbers)
    if numbers.size < LEAST_PACKED:
        return
    yield from given.dense()
    kept = numbers.reshape(-1) != 0
    if 0 < np.count_nonzero(kept) < (1 - LEAST_ZEROS) * numbers.size:
        yield lambda build: _by_bitmap(build, given, kept)
        yield lambda build: _by_gaps(build, given, kept)


def _by_bitmap(build: Builder, given: Stored, kept: Mask) -> str:
    """A bit for each number says whether it is the next of the table, or the 0 with which that begins."""
    shape = given.numbers.shape
    table = write(build, given.part(np.concatenate([[-1], np.flatnonzero(kept)])))
    bits = build.cast(write_mask(build, kept), np.int32)
    count = build.add("CumSum", bits, build.constant(np.array(0, np.int64)))
    numbers = build.add("Gather", table, build.add("Mul", count, bits))
    return numbers if len(shape) == 1 else build.reshape(numbers, shape)


def _by_gaps(build: Builder, given: Stored, kept: Mask) -> str:
    """The zeros before each number, and the number; a filler of zero where a gap does not fit its bits."""
    places = np.flatnonzero(kept)
    between = np.diff(places, prepend=-1) - 1
    costs = [(len(between) + int((between >> width).sum())) * (width + given.bits) for width in range(1, 9)]
    width = 1 + int(np.argmin(costs))
    fillers = between >> width
    ends = np.cumsum(fillers + 1) - 1
    gaps = np.full(int(ends[-1]) + 1, (1 << width) - 1, np.uint8)
    which = np.full(len(gaps), -1, np.int64)
    gaps[ends], which[ends] = between - (fillers << width), places
    one = build.integers(1, kind=np.int32)
    steps = build.add("Add", build.cast(_fields(build, gaps, width, gaps.shape), np.int32), one)
    sums = build.add("CumSum", steps, build.constant(np.array(0, np.int64)))
    zeros = build.add("Expand", build.constant(np.zeros(1, given.numbers.dtype)), build.integers(kept.size))
    found = build.add("ScatterElements", zeros, build.add("Sub", sums, one), write(build, given.part(which)))
    return found if given.numbers.ndim == 1 else build.reshape(found, given.numbers.shape)


def _fields(build: Builder, flat: Bytes, bits: int, shape: tuple[int, ...]) -> str:
    """uint8 codes of 1 to 8 bits, in the shape."""
    if bits == 8:
        return build.constant(flat.reshape(shape))
    result, at = "", 0
    for width in (4, 2, 1):
        if not bits & width:
            continue
        shifts = build.constant(np.arange(0, 8, width, dtype=np.uint8))
        data = build.constant(_in_bytes(flat >> np.uint8(at) & np.uint8((1 << width) - 1), width))
        moved = build.add("BitShift", data, shifts, direction=b"RIGHT")
        part = build.add("BitwiseAnd", moved, build.integers((1 << width) - 1, kind=np.uint8))
        part = _shaped(build, part, 8 // width, size=len(flat), shape=shape)
        if at:
            part = build.add("BitShift", part, build.integers(at, kind=np.uint8), direction=b"LEFT")
        result = build.add("BitwiseOr", result, part) if result else part
        at += width
    return result


def _bits(build: Builder, flat: Mask, shape: tuple[int, ...]) -> str:
    """uint8 that is not 0 where `flat` is true, in the shape."""
    masks = build.constant(np.uint8(1) << np.arange(8, dtype=np.uint8))
    found = build.add("BitwiseAnd", build.constant(_in_bytes(flat.astype(np.uint8), 1)), masks)
    return _shaped(build, found, 8, size=len(flat), shape=shape)


def _in_bytes(flat: Bytes, width: int) -> Bytes:
    """Codes of so many bits as bytes (n, 1), the first in the lowest bits."""
    padded = np.pad(flat, (0, -len(flat) % (8 // width))).reshape(-1, 8 // width)
    shifted = padded << np.arange(0, 8, width, dtype=np.uint8)
    return np.asarray(np.bitwise_or.reduce(shifted, axis=1, dtype=np.uint8)[:, None])


def _shaped(build: Builder, parts: str, a_byte: int, *, size: int, shape: tuple[int, ...]) -> str:
    """The first `size` of the values that were taken from bytes, in the shape."""
    if size % a_byte == 0:
        return build.reshape(parts, shape)
    cut = build.add("Slice", build.reshape(parts, [-1]), build.integers(0), build.integers(size))
    return cut if shape == (size,) else build.reshape(cut, shape)
