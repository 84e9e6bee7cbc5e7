"""The adaptive codecs: "ab1" mixes two predictions for every decision, "mx1" up to seven.

Both look at the array as a matrix, a row a filter, a column a weight in it; docs/codecs.md has the model.  The work is
done by the compiled library, or by its Python twin where there is none.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from sepnet.codecs.adaptive import native, twin
from sepnet.codecs.bounds import check_codes, element_count
from sepnet.codecs.fields import ByteReader, varint
from sepnet.core.codec import Codec, CodecUnfitError, IntArray
from sepnet.core.errors import FormatError

__all__ = ["AB1", "MX1", "Adaptive", "engine"]

Result = TypeVar("Result")
PART = 1 << 22
LARGEST = 1 << 22
MOST_CODES_A_BYTE = 1 << 15
MAX_SIDE = 2**31 - 1
MAX_LEVELS = 4096
TWIN_CODES = 1 << 18


def engine() -> Any:
    """The module that does the work: `native` if its library loads, else `twin`."""
    return native if native.library() is not None else twin


@dataclass(frozen=True)
class Matrix:
    """An array seen as filters, a row each, of kernels of `kernel` codes.

    >>> Matrix.of((20, 6, 5, 5))
    Matrix(rows=20, columns=150, kernel=25)
    """

    rows: int
    columns: int
    kernel: int

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Matrix:
        """How an array of `shape` is seen; one of a single dimension is one row."""
        rows = shape[0] if len(shape) > 1 else 1
        return cls(rows, math.prod(shape[1:]) if len(shape) > 1 else math.prod(shape), math.prod(shape[2:]))

    def parts(self) -> list[slice]:
        """The rows that are coded by themselves: about 2**22 codes each."""
        step = max(1, PART // self.columns)
        return [slice(first, min(first + step, self.rows)) for first in range(0, self.rows, step)]


class Adaptive(Codec):
    """Payload = a varint that says how codes were made signed, then the parts; the length before each but the last.

    Declines more than 4096 distinct codes, and magnitudes over 2**22.

    >>> data = AB1.encode(np.eye(200, dtype=np.int64) * 3)
    >>> len(data), int(AB1.decode(data, (200, 200)).trace())
    (186, 600)
    """

    def __init__(self, name: str, mixes: bool) -> None:
        self.name = name  # type: ignore[misc]  # one instance, not one class, is a variant here
        self.mixes = mixes

    def encode(self, codes: IntArray) -> bytes:
        """The smallest payload among the ways to make the codes signed."""
        codes = check_codes(codes)
        if codes.size == 0:
            return b""
        matrix = Matrix.of(codes.shape)
        if max(matrix.rows, matrix.columns) > MAX_SIDE:
            raise CodecUnfitError(f"{self.name} has no place for a matrix of {matrix.rows} x {matrix.columns}")
        if max(int(codes.max()), -int(codes.min())) > LARGEST or _levels(codes) > MAX_LEVELS:
            raise CodecUnfitError(f"{self.name} writes up to {MAX_LEVELS} distinct codes, each at most 2**22")
        if engine() is twin and codes.size > TWIN_CODES:
            raise CodecUnfitError(f"{self.name} without its compiled library writes at most {TWIN_CODES} codes")
        table = codes.reshape(matrix.rows, matrix.columns)
        payloads = {way: self._payload(table, matrix, way) for way in _ways(codes)}
        split = next((way for way in payloads if way % 2), None)
        if split is not None and codes.size <= PART:
            payloads[split] = self._at_the_best_split(table, matrix, split, payloads[split])
        return min(payloads.values(), key=len)

    def _at_the_best_split(self, table: IntArray, matrix: Matrix, way: int, payload: bytes) -> bytes:
        """Where the signs change is guessed from how often codes occur; the payload itself tells better."""
        most = int(table.max())
        step = max(1, most // 16)
        tried = {(way + 1) // 2: payload}
        near = range(most // 4, most - most // 4 + 1, step)
        while True:
            for split in near:
                if split not in tried and 1 <= split <= most:
                    tried[split] = self._payload(table, matrix, 2 * split - 1)
            best = min(tried, key=lambda split: len(tried[split]))
            if step == 1:
                return tried[best]
            step = max(1, step // 3)
            near = range(best - 2 * step, best + 2 * step + 1, step)

    def decode(self, data: bytes, shape: tuple[int, ...]) -> IntArray:
        """The codes, int64, of `shape`, which is trusted up to what so many bytes can hold."""
        if not element_count(data, shape):
            return np.zeros(shape, dtype=np.int64)
        matrix, reader = Matrix.of(shape), ByteReader(bytes(data))
        if max(matrix.rows, matrix.columns) > MAX_SIDE:
            raise FormatError(f"shape {shape} found, expected sides below 2**31")
        way, parts = reader.varint(), matrix.parts()
        if way > 2 * LARGEST:
            raise FormatError(f"code {way} for making codes signed found, expected at most {2 * LARGEST}")
        if matrix.rows * matrix.columns > (len(data) + 4 * len(parts)) * MOST_CODES_A_BYTE:
            raise FormatError(f"{len(data)} bytes cannot hold {matrix.rows * matrix.columns} codes")
        pieces = [reader.take(reader.varint()) for _ in parts[:-1]] + [reader.rest()]

        def read(part: slice, piece: bytes) -> npt.NDArray[np.int32]:
            rows = part.stop - part.start
            codes, whole = engine().read_codes(piece, rows, matrix.columns, kernel=matrix.kernel, mixes=self.mixes)
            if not whole:
                raise FormatError(f"the {len(piece)} bytes do not end where the last of their codes does")
            return _unsigned(codes, way)

        try:
            return np.concatenate(_side_by_side(read, parts, pieces), dtype=np.int64).reshape(shape)
        except MemoryError:
            raise FormatError(f"an array of shape {shape} does not fit into memory") from None

    def _payload(self, table: IntArray, matrix: Matrix, way: int) -> bytes:
        def write(part: slice) -> bytes:
            done: bytes = engine().write_codes(_signed(table[part], way), matrix.kernel, self.mixes)
            return done

        pieces = _side_by_side(write, matrix.parts())
        return b"".join([varint(way), *(varint(len(piece)) + piece for piece in pieces[:-1]), pieces[-1]])


def _side_by_side(work: Callable[..., Result], *items: Sequence[Any]) -> list[Result]:
    """`work` on each of the items, on all cores; the compiled library lets other threads run."""
    if len(items[0]) == 1:
        return [work(*(each[0] for each in items))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(work, *items))


def _levels(codes: IntArray) -> int:
    """Distinct codes, or as many as there can be where that is few enough anyway."""
    spread = int(codes.max()) - int(codes.min()) + 1
    return spread if spread <= MAX_LEVELS else int(np.unique(codes).size)


def _ways(codes: IntArray) -> Iterator[int]:
    """Ways to make codes signed that are worth trying.

    0 takes them as they are.  Codes that are never negative index a sorted table, perhaps behind a zero.  2 z takes
    c - z.  2 m - 1 leaves 0 alone and takes c - m - 1 for c <= m and c - m for others.
    """
    yield 0
    if int(codes.min()) < 0 or not 2 <= int(codes.max()) < MAX_LEVELS:
        return
    counts = np.bincount(codes.ravel())
    code = np.arange(counts.size)
    bits = np.log2(1.0 + np.arange(counts.size + 1))
    yield 2 * int(np.argmin([counts @ bits[np.abs(code - z)] for z in code[1:]]) + 1)
    zero = counts.copy()
    zero[0] = 0
    yield (
        2 * int(np.argmin([zero @ bits[np.abs(np.where(code <= m, code - m - 1, code - m))] for m in code[1:]]) + 1) - 1
    )


def _signed(codes: IntArray, way: int) -> npt.NDArray[np.int32]:
    if way % 2:
        split = (way + 1) // 2
        codes = np.where(codes == 0, 0, np.where(codes <= split, codes - split - 1, codes - split))
    else:
        codes = codes - way // 2
    return codes.astype(np.int32)


def _unsigned(codes: npt.NDArray[np.int32], way: int) -> npt.NDArray[np.int32]:
    if way % 2 == 0:
        return codes + np.int32(way // 2)
    split = (way + 1) // 2
    if int(codes.min()) < -split:
        raise FormatError(f"code {codes.min()} found, expected at least {-split}")
    return np.where(codes == 0, 0, np.where(codes < 0, codes + split + 1, codes + split)).astype(np.int32)


AB1 = Adaptive("ab1", mixes=False)
MX1 = Adaptive("mx1", mixes=True)
