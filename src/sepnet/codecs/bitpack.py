"""Bit packing: every symbol in the same number of bits, most significant bit first."""

from __future__ import annotations

import numpy as np

from sepnet.codecs.layered import Coder
from sepnet.core.codec import IntArray
from sepnet.core.errors import FormatError

__all__ = ["BitPack"]

MAX_WIDTH = 33
BLOCK_SYMBOLS = 1 << 16


class BitPack(Coder):
    """Header: the width in bits (one byte, 0 to 33) = bit length of the largest symbol.  Then width bits a symbol.

    The last byte is padded with zero bits.  Width 0 (every symbol 0) takes no further byte.

    >>> import numpy as np
    >>> BitPack().encode(np.array([1, 2, 7, 2])).hex()
    '032ba0'
    >>> BitPack().decode(bytes.fromhex("032ba0"), 4).tolist()
    [1, 2, 7, 2]
    """

    def encode(self, symbols: IntArray) -> bytes:
        """1 + ceil(count x width / 8) bytes."""
        width = int(symbols.max()).bit_length()
        parts = [bytes([width])]
        carrier = _carrier_bytes(width)
        for start in range(0, symbols.size if width else 0, BLOCK_SYMBOLS):
            block = symbols[start : start + BLOCK_SYMBOLS].astype(f">u{carrier}")
            bits = np.unpackbits(block.view(np.uint8).reshape(-1, carrier), axis=1)
            parts.append(np.packbits(bits[:, 8 * carrier - width :]).tobytes())
        return b"".join(parts)

    def decode(self, data: bytes, count: int) -> IntArray:
        """The symbols; `data` must have exactly the bytes that count and width ask for."""
        width = _read_width(data)
        expected = 1 + (count * width + 7) // 8
        if len(data) != expected:
            raise FormatError(f"{len(data)} bytes found, expected {expected} for {count} symbols of {width} bits")
        if width == 0:
            return np.zeros(count, dtype=np.int64)
        if data[-1] & ((1 << -count * width % 8) - 1):
            raise FormatError("padding bits of the last byte are not zero")
        symbols = np.empty(count, dtype=np.int64)
        packed = np.frombuffer(data, dtype=np.uint8, offset=1)
        carrier = _carrier_bytes(width)
        for start in range(0, count, BLOCK_SYMBOLS):
            stop = min(start + BLOCK_SYMBOLS, count)
            block = packed[start * width // 8 : (stop * width + 7) // 8]
            bits = np.zeros((stop - start, 8 * carrier), dtype=np.uint8)
            bits[:, 8 * carrier - width :] = np.unpackbits(block, count=(stop - start) * width).reshape(-1, width)
            symbols[start:stop] = np.packbits(bits, axis=1).view(f">u{carrier}").ravel()
        return symbols

    def estimate_bits(self, counts: IntArray, largest: int) -> float:
        """count x width, exactly."""
        return float(int(counts.sum()) * largest.bit_length())

    def describe(self, data: bytes) -> str:
        """ "5-bit codes"."""
        return f"{_read_width(data)}-bit codes"


def _read_width(data: bytes) -> int:
    if not data or data[0] > MAX_WIDTH:
        raise FormatError(f"width byte {data[:1].hex() or 'missing'} found, expected 0 to {MAX_WIDTH}")
    return data[0]


def _carrier_bytes(width: int) -> int:
    """Bytes of the smallest machine integer that holds `width` bits."""
    return next(size for size in (1, 2, 4, 8) if width <= 8 * size)
