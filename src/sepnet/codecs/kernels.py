"""Kernels layout: the codes of each k x k kernel as one symbol.  Best for patterns that repeat: an entropy coder's table
is then the dictionary of patterns, and the stream their indices."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sepnet.codecs.ans import Ans
from sepnet.codecs.fields import ByteReader, signed_varint
from sepnet.codecs.huffman import Huffman
from sepnet.codecs.layered import Coder, Laid, Layered, Layout, StreamReader
from sepnet.core.codec import IntArray
from sepnet.core.errors import FormatError

__all__ = ["KERNELS_ANS", "KERNELS_HUFFMAN", "Kernels"]

SIDES = (9, 25, 4)
MAX_LEVELS = 4
MAX_SYMBOLS = 1 << 33


class Kernels(Layout):
    """One stream: each n codes, minus the smallest, are the digits of a number to base B, the first digit the highest.

    Header: the smallest code as a signed varint, a byte B (1 to 4), a byte n; n divides the number of codes, and
    B**n <= 2**33.  The writer tries n = 9, 25 and 4 where they divide, and has nothing for codes of more than 4 levels.

    >>> import numpy as np
    >>> laid, = Kernels().candidates(np.array([1, 0, 0, 0, 0, 0, 0, 0, 1]), Huffman())
    >>> laid.header.hex(), laid.streams[0].tolist()
    ('000209', [257])
    """

    stream_count = 1

    def candidates(self, codes: IntArray, coder: Coder) -> Iterator[Laid]:
        """One for each kernel size that divides."""
        minimum = int(codes.min())
        levels = int(codes.max()) - minimum + 1
        if levels > MAX_LEVELS:
            return
        for signs in SIDES:
            if codes.size % signs == 0 and levels**signs <= MAX_SYMBOLS:
                symbols = (codes - minimum).reshape(-1, signs) @ _places(levels, signs)
                yield Laid(signed_varint(minimum) + bytes([levels, signs]), (symbols,))

    def restore(self, header: ByteReader, streams: StreamReader, size: int) -> IntArray:
        """The digits of each symbol, plus the smallest code."""
        minimum, levels, signs = header.signed_varint(), header.byte(), header.byte()
        if not 1 <= levels <= MAX_LEVELS or not signs or size % signs or levels**signs > MAX_SYMBOLS:
            raise FormatError(f"kernels of {signs} codes of {levels} levels found, for {size} codes")
        if abs(minimum) >= 1 << 33:
            raise FormatError(f"smallest code {minimum} found, expected -2**31..2**32-1")
        symbols = streams.next(size // signs)
        if symbols.max() >= levels**signs:
            raise FormatError(f"symbol {symbols.max()} found, expected below {levels}**{signs}")
        return np.asarray(symbols[:, None] // _places(levels, signs) % levels + minimum, dtype=np.int64).ravel()

    def describe(self, reader: ByteReader, coder: Coder) -> str:
        """ "64 patterns of 9"."""
        reader.signed_varint()
        signs = reader.take(2)[1]
        return coder.describe(reader.rest()).replace("symbols", f"patterns of {signs}")


def _places(levels: int, signs: int) -> IntArray:
    return np.array([levels**place for place in range(signs - 1, -1, -1)], dtype=np.int64)


KERNELS_HUFFMAN = Layered("kernels_huffman", Kernels(), Huffman())
KERNELS_ANS = Layered("kernels_ans", Kernels(), Ans())
