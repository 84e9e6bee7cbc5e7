"""The fields that payloads are made of: variable-length integers, and bits packed most significant first.

Readers never look past the bytes they were given; whatever is missing, too long or left over is a `FormatError`.
The byte-exact definition of each field is in docs/codecs.md.
"""

from __future__ import annotations

from sepnet.core.errors import FormatError

__all__ = ["BitReader", "BitWriter", "ByteReader", "signed_varint", "varint"]

MAX_VARINT_BYTES = 10


def varint(value: int) -> bytes:
    """Unsigned LEB128: seven bits a byte, lowest first, the top bit set on every byte but the last.

    >>> varint(300).hex()
    'ac02'
    """
    if value < 0:
        raise ValueError(f"varint needs a value >= 0, found {value}")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def signed_varint(value: int) -> bytes:
    """Zigzag (0, -1, 1, -2 -> 0, 1, 2, 3), then `varint`.

    >>> signed_varint(-2).hex(), signed_varint(2).hex()
    ('03', '04')
    """
    return varint(2 * value if value >= 0 else -2 * value - 1)


class ByteReader:
    """A cursor over bytes.

    >>> reader = ByteReader(bytes.fromhex("ac02ff"))
    >>> reader.varint(), reader.rest()
    (300, b'\\xff')
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def varint(self) -> int:
        """The next unsigned LEB128 integer, below 2**64."""
        value = 0
        for index in range(MAX_VARINT_BYTES):
            byte = self.byte()
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                break
        if byte >= 0x80 or value >= 1 << 64:
            raise FormatError(f"varint at byte {self._position} is longer than 64 bits")
        return value

    def signed_varint(self) -> int:
        """The next zigzag LEB128 integer."""
        value = self.varint()
        return value >> 1 if value % 2 == 0 else -(value >> 1) - 1

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        left = len(self._data) - self._position
        if count > left:
            raise FormatError(f"payload ends early: {count} bytes expected at byte {self._position}, found {left}")
        self._position += count
        return self._data[self._position - count : self._position]

    def rest(self) -> bytes:
        """Every byte not read yet."""
        return self.take(len(self._data) - self._position)


class BitWriter:
    """Collects bits, most significant first; the last byte is padded with zero bits.

    >>> bits = BitWriter()
    >>> bits.write(0b101, 3); bits.unary(2); bits.gamma(5)
    >>> bits.to_bytes().hex()
    'b8a0'
    """

    def __init__(self) -> None:
        self._digits: list[str] = []

    def write(self, value: int, width: int) -> None:
        """`value` in `width` bits (nothing at width 0)."""
        if width:
            self._digits.append(format(value, f"0{width}b"))

    def unary(self, value: int) -> None:
        """`value` one bits, then a zero bit."""
        self._digits.append("1" * value + "0")

    def gamma(self, value: int) -> None:
        """Elias gamma of `value` >= 1: one zero bit for each binary digit after the first, then the digits."""
        width = value.bit_length()
        self._digits.append(format(value, f"0{2 * width - 1}b"))

    def to_bytes(self) -> bytes:
        """All bits so far."""
        digits = "".join(self._digits)
        size = (len(digits) + 7) // 8
        return int(digits.ljust(8 * size, "0"), 2).to_bytes(size, "big") if size else b""


class BitReader:
    """Reads what `BitWriter` wrote.

    >>> bits = BitReader(bytes.fromhex("b8a0"))
    >>> bits.read(3), bits.unary(limit=9), bits.gamma(max_width=8), bits.rest()
    (5, 2, 5, b'')
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    @property
    def left(self) -> int:
        """Bits not read yet."""
        return 8 * len(self._data) - self._position

    def read(self, width: int) -> int:
        """The next `width` bits as an unsigned integer."""
        if width > self.left:
            raise FormatError(f"table ends early: {width} bits expected at bit {self._position}, found {self.left}")
        start, self._position = self._position, self._position + width
        chunk = self._data[start >> 3 : (self._position + 7) >> 3]
        return int.from_bytes(chunk, "big") >> (-self._position & 7) & ((1 << width) - 1)

    def unary(self, limit: int) -> int:
        """The number of one bits before the next zero bit, at most `limit`."""
        value = 0
        while self.read(1):
            value += 1
            if value > limit:
                raise FormatError(f"unary number at bit {self._position} is above {limit}")
        return value

    def gamma(self, max_width: int) -> int:
        """The next Elias gamma number, of at most `max_width` binary digits."""
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros >= max_width:
                raise FormatError(f"gamma number at bit {self._position} has more than {max_width} digits")
        return 1 << zeros | self.read(zeros)

    def rest(self) -> bytes:
        """The bytes after the current one; its unread bits must be zero."""
        if self.read(-self._position & 7):
            raise FormatError(f"padding bits before bit {self._position} are not zero")
        return self._data[self._position >> 3 :]
