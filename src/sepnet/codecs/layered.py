"""A codec made of a layout (codes -> streams of small unsigned symbols) and a coder (a symbol stream -> bytes).

Payload = the layout's header, then the streams in order.  Each stream but the last is preceded by its length in bytes
(varint); a stream of no symbols has neither length nor bytes.  An array without elements is the empty payload.
"""

from __future__ import annotations

import abc
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from sepnet.codecs.bounds import MAX_CODE, MIN_CODE, check_codes, element_count
from sepnet.codecs.fields import ByteReader, varint
from sepnet.core.codec import Codec, CodecUnfitError, IntArray
from sepnet.core.errors import FormatError, UsageError

__all__ = ["Coder", "Laid", "Layered", "Layout", "StreamReader"]


class Coder(abc.ABC):
    """Symbol stream -> bytes.  Symbols are integers in [0, 2**33); a stream given to a coder has at least one."""

    @abc.abstractmethod
    def encode(self, symbols: IntArray) -> bytes:
        """Bytes of the stream.  Raises `CodecUnfitError` if this coder cannot write it."""

    @abc.abstractmethod
    def decode(self, data: bytes, count: int) -> IntArray:
        """The `count` symbols; every byte must be used.  Raises `FormatError`."""

    @abc.abstractmethod
    def estimate_bits(self, counts: IntArray, largest: int) -> float:
        """About how many bits a stream takes: `counts` of each symbol that occurs, and the `largest` such symbol."""

    def describe(self, data: bytes) -> str:
        """One or two words on the parameters inside an encoded stream."""
        return ""


@dataclass(frozen=True)
class Laid:
    """Codes laid out: the header bytes and the symbol streams."""

    header: bytes
    streams: tuple[IntArray, ...]


class StreamReader:
    """Hands a layout the streams of a payload, in order; `stream_count` tells which one is the last."""

    def __init__(self, reader: ByteReader, coder: Coder, stream_count: int) -> None:
        self._reader, self._coder, self._left = reader, coder, stream_count

    def next(self, count: int) -> IntArray:
        """The next stream, of `count` symbols."""
        self._left -= 1
        if count == 0:
            return np.zeros(0, dtype=np.int64)
        data = self._reader.take(self._reader.varint()) if self._left else self._reader.rest()
        return self._coder.decode(data, count)


class Layout(abc.ABC):
    """Codes -> symbol streams, and back."""

    stream_count: ClassVar[int]

    @abc.abstractmethod
    def candidates(self, codes: IntArray, coder: Coder) -> Iterator[Laid]:
        """The ways to lay out the flat, non-empty `codes` that are worth encoding; the smallest result is kept."""

    @abc.abstractmethod
    def restore(self, header: ByteReader, streams: StreamReader, size: int) -> IntArray:
        """The `size` flat codes.  Checks every count against `size` before it asks for a stream; `FormatError`."""

    def describe(self, reader: ByteReader, coder: Coder) -> str:
        """One or two words on the parameters inside a payload."""
        return ""

    def with_option(self, option: str) -> Layout:
        """This layout with `option` fixed.  Raises `UsageError` when it has no such option."""
        raise UsageError(f"codec option {option!r} found, but this codec takes none")


class Layered(Codec):
    """The codec `layout` x `coder`.

    Raises `CodecUnfitError` on encoding when the coder cannot write the streams or a code is outside [-2**31, 2**32);
    `UsageError` when the codes are not integers; `FormatError` on decoding bytes that `encode` cannot have written.

    >>> import numpy as np
    >>> from sepnet.codecs.bitpack import BitPack
    >>> from sepnet.codecs.dense import Dense
    >>> codec = Layered("dense", Dense(), BitPack())
    >>> data = codec.encode(np.array([[3, -1], [0, 2]]))
    >>> codec.decode(data, (2, 2)).tolist(), len(data)
    ([[3, -1], [0, 2]], 4)
    """

    def __init__(self, name: str, layout: Layout, coder: Coder) -> None:
        self.name = name  # type: ignore[misc]  # one instance, not one class, is a variant here
        self.layout, self.coder = layout, coder

    def encode(self, codes: IntArray) -> bytes:
        """The smallest payload among the layout's candidates (the first of equals); see docs/codecs.md."""
        flat = check_codes(codes).ravel(order="C")
        if flat.size == 0:
            return b""
        best: bytes | None = None
        unfit = CodecUnfitError(f"{self.name} has no layout for these codes")
        for laid in self.layout.candidates(flat, self.coder):
            try:
                payload = self._payload(laid)
            except CodecUnfitError as error:
                unfit = error
                continue
            if best is None or len(payload) < len(best):
                best = payload
        if best is None:
            raise unfit
        return best

    def decode(self, data: bytes, shape: tuple[int, ...]) -> IntArray:
        """The codes, int64, of `shape`, which is trusted: memory grows with it, never with what `data` declares."""
        size, data = element_count(data, shape), bytes(data)
        if size == 0:
            return np.zeros(shape, dtype=np.int64)
        reader = ByteReader(data)
        try:
            codes = self.layout.restore(reader, StreamReader(reader, self.coder, self.layout.stream_count), size)
        except MemoryError:
            raise FormatError(f"an array of shape {shape} does not fit into memory") from None
        if unused := len(reader.rest()):
            raise FormatError(f"{unused} unused bytes at the end of the payload")
        if codes.min() < MIN_CODE or codes.max() > MAX_CODE:
            raise FormatError(f"codes {codes.min()}..{codes.max()} found, expected {MIN_CODE}..{MAX_CODE}")
        return codes.reshape(shape)

    def describe(self, data: bytes) -> str:
        """One or two words on the parameters chosen inside `data` ("5-bit gaps"); "" if there are none to tell."""
        return self.layout.describe(ByteReader(bytes(data)), self.coder) if data else ""

    def with_option(self, option: str) -> Layered:
        """This codec with a layout option fixed: "3" makes 3-bit gaps of `relative_index`.  Raises `UsageError`."""
        return Layered(f"{self.name}:{option}", self.layout.with_option(option), self.coder)

    def _payload(self, laid: Laid) -> bytes:
        parts = [laid.header]
        for index, stream in enumerate(laid.streams):
            if stream.size:
                data = self.coder.encode(stream)
                if index < len(laid.streams) - 1:
                    parts.append(varint(len(data)))
                parts.append(data)
        return b"".join(parts)
