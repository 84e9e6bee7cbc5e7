"""Bitmap layout: one mask bit for each code, then the non-zero values.  Best when about half the codes are zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sepnet.codecs.ans import Ans
from sepnet.codecs.bitpack import BitPack
from sepnet.codecs.fields import ByteReader, signed_varint
from sepnet.codecs.huffman import Huffman
from sepnet.codecs.layered import Coder, Laid, Layered, Layout, StreamReader
from sepnet.codecs.nonzero_values import symbols_of_values, values_of_symbols
from sepnet.core.codec import IntArray
from sepnet.core.errors import FormatError

__all__ = ["BITMAP", "BITMAP_ANS", "BITMAP_HUFFMAN", "Bitmap"]


class Bitmap(Layout):
    """Two streams: mask (1 where the code is not zero) and the non-zero values.

    Header: the smallest non-zero value as a signed varint, 0 if there is none.

    >>> import numpy as np
    >>> laid, = Bitmap().candidates(np.array([0, 5, 0, -1]), BitPack())
    >>> laid.header.hex(), [stream.tolist() for stream in laid.streams]
    ('01', [[0, 1, 0, 1], [5, 0]])
    """

    stream_count = 2

    def candidates(self, codes: IntArray, coder: Coder) -> Iterator[Laid]:
        """The one way."""
        mask = codes != 0
        values = codes[mask]
        minimum = int(values.min()) if values.size else 0
        yield Laid(signed_varint(minimum), (mask.astype(np.int64), symbols_of_values(values, minimum, has_zero=False)))

    def restore(self, header: ByteReader, streams: StreamReader, size: int) -> IntArray:
        """Values at the mask's ones, zero elsewhere."""
        minimum = header.signed_varint()
        mask = streams.next(size)
        if mask.max() > 1:
            raise FormatError(f"mask symbol {mask.max()} found, expected 0 or 1")
        chosen = mask.astype(bool)
        symbols = streams.next(int(np.count_nonzero(chosen)))
        codes = np.zeros(size, dtype=np.int64)
        codes[chosen] = values_of_symbols(symbols, minimum, has_zero=False)
        return codes


BITMAP = Layered("bitmap", Bitmap(), BitPack())
BITMAP_HUFFMAN = Layered("bitmap_huffman", Bitmap(), Huffman())
BITMAP_ANS = Layered("bitmap_ans", Bitmap(), Ans())
