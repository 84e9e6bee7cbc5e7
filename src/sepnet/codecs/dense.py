"""Dense layout: every code, counted from the smallest.  Best when few codes are zero."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from sepnet.codecs.ans import Ans
from sepnet.codecs.bitpack import BitPack
from sepnet.codecs.fields import ByteReader, signed_varint
from sepnet.codecs.huffman import Huffman
from sepnet.codecs.layered import Coder, Laid, Layered, Layout, StreamReader
from sepnet.core.codec import IntArray
from sepnet.core.errors import FormatError

__all__ = ["DENSE", "DENSE_ANS", "DENSE_HUFFMAN", "Dense"]


class Dense(Layout):
    """One stream: symbol = code - min(codes).  Header: min(codes) as a signed varint.

    >>> import numpy as np
    >>> laid, = Dense().candidates(np.array([2, -1, 0]), BitPack())
    >>> laid.header.hex(), laid.streams[0].tolist()
    ('01', [3, 0, 1])
    """

    stream_count = 1

    def candidates(self, codes: IntArray, coder: Coder) -> Iterator[Laid]:
        """The one way."""
        minimum = int(codes.min())
        yield Laid(signed_varint(minimum), (codes - minimum,))

    def restore(self, header: ByteReader, streams: StreamReader, size: int) -> IntArray:
        """codes = symbols + min."""
        minimum = header.signed_varint()
        if abs(minimum) >= 1 << 33:
            raise FormatError(f"smallest code {minimum} found, expected -2**31..2**32-1")
        return np.asarray(streams.next(size) + minimum, dtype=np.int64)

    def describe(self, reader: ByteReader, coder: Coder) -> str:
        """What the coder says of the one stream."""
        reader.signed_varint()
        return coder.describe(reader.rest())


DENSE = Layered("dense", Dense(), BitPack())
DENSE_HUFFMAN = Layered("dense_huffman", Dense(), Huffman())
DENSE_ANS = Layered("dense_ans", Dense(), Ans())
