"""Which symbols a stream has, and a level from 1 to 15 for each: the table that entropy coders store before their bits.

A level is large for frequent symbols, and neighbours have like levels, so differences of levels are stored, as Rice
codes.  The byte-exact definition is in docs/codecs.md.
"""

from __future__ import annotations

import numpy as np

from sepnet.codecs.fields import BitReader, BitWriter, ByteReader, varint
from sepnet.core.codec import CodecUnfitError, IntArray
from sepnet.core.errors import FormatError

__all__ = ["MAX_LEVEL", "MAX_SYMBOLS", "histogram", "index_of", "occurring", "read_table", "table_bits", "write_table"]

MAX_SYMBOLS = 4096
MAX_LEVEL = 15
MAX_SYMBOL_BITS = 34
FEW_SYMBOLS = 1 << 16
MAX_SPREAD = 16


def histogram(symbols: IntArray) -> tuple[IntArray, IntArray]:
    """The symbols that occur, ascending, and how often each does.

    >>> import numpy as np
    >>> [array.tolist() for array in histogram(np.array([5, 0, 5]))]
    [[0, 5], [1, 2]]
    """
    if symbols.size and symbols.max() < FEW_SYMBOLS:
        counts = np.bincount(symbols)
        present = np.flatnonzero(counts)
        return present, counts[present]
    distinct, counts = np.unique(symbols, return_counts=True)
    return distinct, counts.astype(np.int64)


def occurring(symbols: IntArray) -> tuple[IntArray, IntArray]:
    """`histogram`, but `CodecUnfitError` above 4096 distinct symbols."""
    present, counts = histogram(symbols)
    if present.size > MAX_SYMBOLS:
        raise CodecUnfitError(f"{present.size} distinct symbols found, an entropy coder takes at most {MAX_SYMBOLS}")
    return present, counts


def index_of(symbols: IntArray, present: IntArray) -> IntArray:
    """The place of each symbol in the ascending array `present`, which has them all."""
    if present[-1] < FEW_SYMBOLS:
        lookup = np.zeros(int(present[-1]) + 1, dtype=np.int64)
        lookup[present] = np.arange(present.size)
        return np.asarray(lookup[symbols], dtype=np.int64)
    return np.searchsorted(present, symbols).astype(np.int64)


def _zigzag_steps(levels: IntArray) -> IntArray:
    """Differences of neighbouring levels, zigzag: 0, -1, 1, -2 -> 0, 1, 2, 3."""
    steps = np.diff(levels)
    return np.where(steps >= 0, 2 * steps, -2 * steps - 1)


def _rice(levels: IntArray) -> tuple[int, int]:
    """(bits, k): the size of the levels with the best Rice parameter k in 0..3, the smallest of equals."""
    zigzag = _zigzag_steps(levels)
    return min((6 + int((zigzag >> k).sum()) + zigzag.size * (k + 1), k) for k in range(4))


def _spread(present: IntArray, levels: IntArray) -> IntArray | None:
    """The levels of all symbols up to the largest, 0 where a symbol is absent; None when that is absurdly long."""
    size = int(present[-1]) + 1
    if size > MAX_SPREAD * present.size:
        return None
    spread = np.zeros(size, dtype=np.int64)
    spread[present] = levels
    return spread


def _list_bits(present: IntArray) -> int:
    """Bits of the Elias gamma numbers that list the symbols."""
    widths = np.floor(np.log2(np.diff(present, prepend=-1))).astype(np.int64)
    return int((2 * widths + 1).sum())


def table_bits(present: IntArray, levels: IntArray) -> int:
    """The size of the table in bits, without the count in front and without extra bits."""
    listed = _list_bits(present) + _rice(levels)[0]
    spread = _spread(present, levels)
    return listed if spread is None else min(listed, _rice(spread)[0])


def write_table(present: IntArray, levels: IntArray, extra: IntArray | None = None) -> bytes:
    """The table; with `extra`, each level n is followed by the lowest n - 1 bits of the symbol's extra number.

    >>> import numpy as np
    >>> write_table(np.array([0, 1, 2]), np.array([15, 14, 14])).hex()
    '063e00'
    """
    bits = BitWriter()
    if present.size == 1:
        bits.gamma(int(present[0]) + 1)
        return varint(3) + bits.to_bytes()
    all_levels, all_extra = levels, extra
    spread = _spread(present, levels)
    listed = spread is None or _rice(spread)[0] > _list_bits(present) + _rice(levels)[0]
    if listed:
        for step in np.diff(present, prepend=-1).tolist():
            bits.gamma(step)
    elif spread is not None:
        all_levels, all_extra = spread, None if extra is None else _spread(present, extra)
    k = _rice(all_levels)[1]
    bits.write(k, 2)
    zigzags = _zigzag_steps(all_levels).tolist()
    for index, level in enumerate(all_levels.tolist()):
        if index == 0:
            bits.write(level, 4)
        else:
            bits.unary(zigzags[index - 1] >> k)
            bits.write(zigzags[index - 1] & ((1 << k) - 1), k)
        if all_extra is not None and level > 1:
            bits.write(int(all_extra[index]) & ((1 << (level - 1)) - 1), level - 1)
    return varint(2 * all_levels.size + listed) + bits.to_bytes()


def read_table(data: bytes, count: int, with_extra: bool) -> tuple[IntArray, IntArray, bytes]:
    """(symbols ascending, levels or extra numbers with their top bit, the bytes after the table).

    A table of one symbol has no levels: the second array is empty.  Raises `FormatError` for a table that is damaged
    or has more symbols than the `count` of the stream.
    """
    reader = ByteReader(data)
    size, listed = divmod(reader.varint(), 2)
    limit = min(count, MAX_SYMBOLS)
    bits = BitReader(reader.rest())
    # A listed symbol takes one bit at least, and so does a level; levels are spread over 16 times the symbols at most.
    largest_size = min(bits.left, limit if listed else MAX_SPREAD * limit)
    if not 1 <= size <= largest_size or (size == 1 and not listed):
        raise FormatError(f"table of {size} symbols found in {bits.left} bits, for a stream of {count} symbols")
    present = np.arange(size)
    if listed:
        present = np.cumsum([bits.gamma(MAX_SYMBOL_BITS) for _ in range(size)], dtype=np.int64) - 1
        if size == 1:
            return present, np.zeros(0, dtype=np.int64), bits.rest()
        if present[-1] >= 1 << (MAX_SYMBOL_BITS - 1):
            raise FormatError(f"symbol {present[-1]} found, expected below 2**{MAX_SYMBOL_BITS - 1}")
    numbers = _read_levels(bits, size, limit, with_extra)
    occurs = numbers > 0
    if listed and not occurs.all():
        raise FormatError("a listed symbol has level 0")
    return present[occurs], numbers[occurs], bits.rest()


def _read_levels(bits: BitReader, size: int, limit: int, with_extra: bool) -> IntArray:
    """`size` levels, or extra numbers, at most `limit` of them not 0."""
    k = bits.read(2)
    level, occurring_count = 0, 0
    numbers: list[int] = []
    for index in range(size):
        if index == 0:
            level = bits.read(4)
        else:
            zigzag = bits.unary(limit=2 * MAX_LEVEL) << k | bits.read(k)
            level += zigzag >> 1 if zigzag % 2 == 0 else -(zigzag >> 1) - 1
        if not 0 <= level <= MAX_LEVEL:
            raise FormatError(f"level {level} found, expected 0 to {MAX_LEVEL}")
        occurring_count += level > 0
        if occurring_count > limit:
            raise FormatError(f"more than {limit} symbols found in a table")
        numbers.append(1 << (level - 1) | bits.read(level - 1) if with_extra and level else level)
    return np.array(numbers, dtype=np.int64)
