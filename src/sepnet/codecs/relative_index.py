"""Relative index: the distance from each non-zero code to the one before it, and its value.

The sparse format of Deep Compression (Han, Mao, Dally, ICLR 2016, section 2 and figure 2).  The distance is counted
from index -1 and stored minus one in b bits, so b bits reach distances 1 to 2**b; a longer way takes fillers, entries
of distance 2**b and value 0.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sepnet.codecs.ans import Ans
from sepnet.codecs.bitpack import BitPack
from sepnet.codecs.fields import ByteReader, signed_varint, varint
from sepnet.codecs.huffman import Huffman
from sepnet.codecs.layered import Coder, Laid, Layered, Layout, StreamReader
from sepnet.codecs.nonzero_values import symbols_of_values, values_of_symbols
from sepnet.codecs.symbol_table import histogram
from sepnet.core.codec import IntArray
from sepnet.core.errors import FormatError, UsageError

__all__ = ["MAX_BITS", "RELATIVE_INDEX", "RELATIVE_INDEX_ANS", "RELATIVE_INDEX_HUFFMAN", "RelativeIndex"]

MAX_BITS = 12
TRIED = 3
HAS_ZERO = 0x10


class RelativeIndex(Layout):
    """Two streams: distance - 1 and value of each entry.

    Header: entry count (varint; 0 ends the payload), a byte b, plus 16 if there are fillers, and the smallest value
    (signed varint).  `bits` fixes b (1 to 12); otherwise all are estimated and the best three are encoded.  No entry is
    needed for zeros after the last non-zero code: the shape tells the length.

    >>> import numpy as np
    >>> row = np.zeros(16, dtype=np.int64); row[[1, 4, 15]] = 34, 9, 17
    >>> laid, = RelativeIndex(bits=3).candidates(row, BitPack())
    >>> (laid.streams[0] + 1).tolist(), laid.streams[1].tolist()
    ([2, 3, 8, 3], [34, 9, 0, 17])
    """

    stream_count = 2

    def __init__(self, bits: int | None = None) -> None:
        if bits is not None and not 1 <= bits <= MAX_BITS:
            raise UsageError(f"{bits}-bit gaps asked for, choices: 1 to {MAX_BITS}")
        self.bits = bits

    def candidates(self, codes: IntArray, coder: Coder) -> Iterator[Laid]:
        """Entries for the fixed b, or for the three b of the smallest estimates."""
        places = np.flatnonzero(codes)
        if not places.size:
            yield Laid(varint(0), ())
            return
        skips = np.diff(places, prepend=-1) - 1
        values = codes[places]
        for bits in [self.bits] if self.bits is not None else _promising_bits(skips, values, coder):
            yield _lay_out(skips, values, bits)

    def restore(self, header: ByteReader, streams: StreamReader, size: int) -> IntArray:
        """codes[cumsum(distance) - 1] = value."""
        count = header.varint()
        if count > size:
            raise FormatError(f"{count} entries found, expected at most the {size} elements of the shape")
        codes = np.zeros(size, dtype=np.int64)
        if count == 0:
            return codes
        bits, has_zero = _read_flags(header)
        minimum = header.signed_varint()
        skips = streams.next(count)
        if skips.max() >> bits:
            raise FormatError(f"distance {skips.max() + 1} found, expected at most 2**{bits}")
        places = np.cumsum(skips + 1) - 1
        if places[-1] >= size:
            raise FormatError(f"entry at index {places[-1]} found, expected below {size}")
        codes[places] = values_of_symbols(streams.next(count), minimum, has_zero)
        return codes

    def describe(self, reader: ByteReader, coder: Coder) -> str:
        """ "5-bit gaps"."""
        return f"{_read_flags(reader)[0]}-bit gaps" if reader.varint() else "no entries"

    def with_option(self, option: str) -> RelativeIndex:
        """`option` = the width b in bits."""
        choices = [str(bits) for bits in range(1, MAX_BITS + 1)]
        if option not in choices:
            raise UsageError(f"relative_index option {option!r} found, choices: {', '.join(choices)}")
        return RelativeIndex(int(option))


def _read_flags(reader: ByteReader) -> tuple[int, bool]:
    """b, and whether the value 0 occurs."""
    flags = reader.byte()
    bits = flags & ~HAS_ZERO
    if not 1 <= bits <= MAX_BITS:
        raise FormatError(f"{bits}-bit gaps found, expected 1 to {MAX_BITS} bits")
    return bits, bool(flags & HAS_ZERO)


def _promising_bits(skips: IntArray, values: IntArray, coder: Coder) -> list[int]:
    """The widths with the smallest estimates, best first; wider than the longest distance needs is never worth it."""
    distinct, counts = histogram(skips)
    value_counts = histogram(values - values.min())[1]
    estimates = []
    for bits in range(1, MAX_BITS + 1):
        top = (1 << bits) - 1
        fillers = int(np.sum((distinct >> bits) * counts))
        gap_counts = np.bincount(distinct & top, weights=counts).astype(np.int64)
        if fillers:
            gap_counts = np.pad(gap_counts, (0, top + 1 - gap_counts.size))
            gap_counts[top] += fillers
        low, high = (min(0, int(values.min())), max(0, int(values.max()))) if fillers else (values.min(), values.max())
        cost = coder.estimate_bits(gap_counts[gap_counts > 0], gap_counts.size - 1)
        cost += coder.estimate_bits(np.append(value_counts, fillers) if fillers else value_counts, int(high - low))
        estimates.append((cost, bits))
        if not fillers:
            break
    return [bits for _, bits in sorted(estimates)[:TRIED]]


def _lay_out(skips: IntArray, values: IntArray, bits: int) -> Laid:
    """The entries: before each value as many fillers as its skip needs."""
    fillers = skips >> bits
    ends = np.cumsum(fillers + 1) - 1
    count = int(ends[-1]) + 1
    top = (1 << bits) - 1
    entry_skips = np.full(count, top, dtype=np.int64)
    entry_skips[ends] = skips & top
    entry_values = np.zeros(count, dtype=np.int64)
    entry_values[ends] = values
    has_zero = count > values.size
    minimum = int(entry_values.min())
    header = varint(count) + bytes([bits + HAS_ZERO * has_zero]) + signed_varint(minimum)
    return Laid(header, (entry_skips, symbols_of_values(entry_values, minimum, has_zero)))


RELATIVE_INDEX = Layered("relative_index", RelativeIndex(), BitPack())
RELATIVE_INDEX_HUFFMAN = Layered("relative_index_huffman", RelativeIndex(), Huffman())
RELATIVE_INDEX_ANS = Layered("relative_index_ans", RelativeIndex(), Ans())
