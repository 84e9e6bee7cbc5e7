"""The chunks of a packed file, a payload and its checksum each: all of them, those that are whole, or one after the other."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import BinaryIO

from sepnet.core.errors import FormatError
from sepnet.core.header import Header
from sepnet.core.limits import raising

__all__ = ["Damage", "read_chunks", "read_exactly", "split_chunks", "whole_chunks"]

_CHECKSUM = 4
_PIECE = 1 << 20


@dataclass(frozen=True)
class Damage:
    """What cannot be read, and why.  `tensor` is a name of the state dict, "" for the file itself or its graph."""

    tensor: str
    reason: str

    def __str__(self) -> str:
        """One line.

        >>> str(Damage("fc.weight", "its checksum does not match")), str(Damage("", "the graph is cut"))
        ("tensor 'fc.weight': its checksum does not match", 'the graph is cut')
        """
        return f"tensor {self.tensor!r}: {self.reason}" if self.tensor else self.reason


def split_chunks(data: bytes, at: int, header: Header) -> tuple[bytes, ...]:
    """The payloads of `data` from `at` to its end.  Raises `FormatError` for the first that is damaged."""
    expected = at + sum(sum(entry.bytes) + _CHECKSUM for entry in header.tensors)
    if expected != len(data):
        word = "truncated" if len(data) < expected else "damaged"
        raise FormatError(f"{word} packed file: {len(data)} bytes, its header accounts for {expected}")
    payloads, damage = whole_chunks(data, at, header)
    if damage:
        raise FormatError(f"damaged packed file: the checksum of tensor {damage[0].tensor!r} does not match")
    return payloads


def whole_chunks(data: bytes, at: int, header: Header) -> tuple[tuple[bytes, ...], tuple[Damage, ...]]:
    """The payloads that are there and have their checksum, empty ones for the others, and what is damaged."""
    payloads: list[bytes] = []
    damage: list[Damage] = []
    for entry in header.tensors:
        end = at + sum(entry.bytes)
        payload, checksum = data[at:end], data[end : end + _CHECKSUM]
        at = end + _CHECKSUM
        if at <= len(data) and _fits(payload, checksum):
            payloads.append(payload)
            continue
        payloads.append(b"")
        cut = f"its chunk ends at byte {at}, the file at byte {len(data)}"
        damage.append(Damage(entry.name, cut if at > len(data) else "the checksum of its chunk does not match"))
    if at < len(data):
        damage.append(Damage("", f"{len(data) - at} bytes found after the last chunk, expected none"))
    return tuple(payloads), tuple(damage)


def read_chunks(stream: BinaryIO, at: int, header: Header) -> tuple[bytes, ...]:
    """The payloads of what is left of a stream of which `at` bytes were read.  Raises `FormatError` at the first damage."""
    expected = at + sum(sum(entry.bytes) + _CHECKSUM for entry in header.tensors)
    payloads = []
    for entry in header.tensors:
        size = sum(entry.bytes) + _CHECKSUM
        chunk = read_exactly(stream, size)
        at += len(chunk)
        if len(chunk) < size:
            raise FormatError(f"truncated packed file: {at} bytes, its header accounts for {expected}")
        if not _fits(chunk[:-_CHECKSUM], chunk[-_CHECKSUM:]):
            raise FormatError(f"damaged packed file: the checksum of tensor {entry.name!r} does not match")
        payloads.append(chunk[:-_CHECKSUM])
    if stream.read(1):
        raise FormatError(f"damaged packed file: more than the {expected} bytes that its header accounts for")
    return tuple(payloads)


def read_exactly(stream: BinaryIO, size: int) -> bytes:
    """The next `size` bytes, fewer where the stream ends; what is allocated grows with what has come, not with `size`.

    >>> import io
    >>> read_exactly(io.BytesIO(b"abc"), 1 << 60)
    b'abc'
    """
    pieces = bytearray()
    while len(pieces) < size:
        piece = stream.read(min(_PIECE, size - len(pieces)))
        if not piece:
            break
        pieces += piece
    return bytes(pieces)


def read_at_most(stream: BinaryIO, size: int) -> bytes:
    """The rest of a stream.  Raises `FormatError` where more than `size` bytes come."""
    data = read_exactly(stream, size + 1)
    if len(data) > size:
        raise FormatError(f"more than {size:,} bytes come; that is the limit of a stream {raising('file_bytes')}")
    return data


def _fits(payload: bytes, checksum: bytes) -> bool:
    return zlib.crc32(payload) == int.from_bytes(checksum, "little")
