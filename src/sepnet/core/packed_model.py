"""The packed model noun and its bytes: docs/format.md, version 1."""

from __future__ import annotations

import builtins
import functools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import BinaryIO, Self

import msgspec

from sepnet.core.chunks import Damage, read_at_most, read_chunks, read_exactly, split_chunks, whole_chunks
from sepnet.core.container import Container, check_container, in_container, unwrap, wrap
from sepnet.core.errors import FormatError
from sepnet.core.files import write_bytes
from sepnet.core.header import Header
from sepnet.core.limits import Limits, check_header, check_sizes, raising

__all__ = ["PORTS", "PackedModel", "read_bytes"]

MAGIC = b"\x89SEP\r\n\x1a\n"
MAJOR = 1
PORTS = 2
"""Minor version of files whose graph takes other than one float32 input, or gives other than float32 first."""
PRESET = 1
"""Flag: header and graph are deflated with the preset dictionary; written as minor version 1 or higher, else 0."""
_FIXED = 32


@dataclass(frozen=True, repr=False)
class PackedModel:
    """A packed network as it lies in the file: header, graph, and one payload a tensor (still coded).

    Attributes:
        header: names, shapes, schemes, codecs.
        graph: ONNX ModelProto without the weights.
        payloads: side information and codes of each tensor, in the header's order.
        header_bytes, graph_bytes: stored (deflated) sizes.
        preset: whether they are deflated with the preset dictionary, as all new files are.
        minor: minor version: 2 where the graph takes or gives other than readers of version 1.1 expect.
    """

    header: Header
    graph: builtins.bytes
    payloads: tuple[builtins.bytes, ...]
    header_bytes: int
    graph_bytes: int
    preset: bool = False
    minor: int = 0

    @property
    def bytes(self) -> int:
        """Size of the file: what `ls -l` shows."""
        return _FIXED + self.header_bytes + self.graph_bytes + sum(len(payload) + 4 for payload in self.payloads)

    @property
    def ratio(self) -> float:
        """Bytes of the original network at float32 over bytes of the file."""
        return 4 * self.header.params / self.bytes

    def __repr__(self) -> str:
        """What it is in one line; `header` has the rest."""
        params, tensors = self.header.params, len(self.header.tensors)
        return f"<{type(self).__name__} of {self.header.network}: {params:,} params, {tensors} tensors, {self.bytes:,} bytes>"

    @classmethod
    def of(
        cls,
        header: Header,
        graph: builtins.bytes,
        payloads: Sequence[builtins.bytes],
        *,
        preset: bool = True,
        minor: int = 0,
    ) -> Self:
        """A model from its parts, of the least minor version that has the preset dictionary, or of a higher one."""
        stored_header, stored_graph = _deflate(header, graph, preset)
        sizes = len(stored_header), len(stored_graph)
        return cls(header, graph, tuple(payloads), *sizes, preset, max(minor, int(preset)))

    def to_bytes(self, *, limits: Limits = Limits()) -> builtins.bytes:
        """The whole file, which a reader with these limits takes.  Raises `FormatError` where none would, and why."""
        data = self._encoded(limits)
        _check_readable(data, limits)
        return data

    def _encoded(self, limits: Limits) -> builtins.bytes:
        stored_header, stored_graph = _deflate(self.header, self.graph, self.preset)
        raw_header = len(_text(self.header))
        check_sizes(raw_header, len(self.graph), limits)
        start = MAGIC + bytes([MAJOR, self.minor, PRESET * self.preset, 0])
        for number in (len(stored_header), raw_header, len(stored_graph), len(self.graph)):
            start += number.to_bytes(4, "little")
        front = stored_header + stored_graph
        parts = [start, zlib.crc32(front, zlib.crc32(start)).to_bytes(4, "little"), front]
        for payload in self.payloads:
            parts += [payload, zlib.crc32(payload).to_bytes(4, "little")]
        return b"".join(parts)

    def write(self, path: str | PathLike[str], container: Container = "none", *, limits: Limits = Limits()) -> None:
        """Write the file whole or not at all; what was at `path` before stays until the new file is complete.

        In the container "safetensors" it is the one tensor of such a file, for hubs, and some 200 bytes larger.

        Args:
            limits: those of whoever will read it; a file above the default ones needs them raised there, too.

        Raises `FormatError` for what no reader with these limits would take; then nothing is written.
        """
        data = self._encoded(limits)
        if check_container(container) == "safetensors":
            about = {"format": "sepnet", "version": f"{data[8]}.{data[9]}", "network": self.header.network}
            params = self.header.params
            data = wrap(data, about | {"params": str(params), "ratio": f"{4 * params / len(data):.2f}"})
        _check_readable(data, limits)
        write_bytes(path, data)

    @classmethod
    def read(cls, path: str | PathLike[str], limits: Limits = Limits()) -> Self:
        """Read a packed file.  Raises `FormatError` naming the file."""
        data = read_bytes(Path(path))
        try:
            return cls.from_bytes(data, limits)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error

    @classmethod
    def from_bytes(cls, data: builtins.bytes, limits: Limits = Limits()) -> Self:
        """Parse a whole file.  Raises `FormatError` saying what was found and what was expected."""
        header, graph, sizes = _open(data, limits)
        payloads = split_chunks(data, _FIXED + sum(sizes), header)
        return cls(header, graph, payloads, *sizes, data[10] == PRESET, data[9])

    @classmethod
    def salvage(cls, data: builtins.bytes, limits: Limits = Limits()) -> tuple[Self, tuple[Damage, ...]]:
        """What is left of a damaged or truncated file, and the damage; the payload of a damaged chunk is empty.

        Whether the others decode is another question: `sepnet.packing.salvage.readable` answers it.
        Raises `FormatError` when fixed part, header or graph are damaged, without which nothing can be read.
        """
        header, graph, sizes = _open(data, limits)
        payloads, damage = whole_chunks(data, _FIXED + sum(sizes), header)
        return cls(header, graph, payloads, *sizes, data[10] == PRESET, data[9]), damage

    @classmethod
    def read_from(cls, stream: BinaryIO, limits: Limits = Limits()) -> Self:
        """Read a packed file from a pipe, up to its end: the front, then chunk by chunk, each checked as it comes.

        One in a container is read whole first.

        Raises `FormatError` as `from_bytes` does, at the first damage, and for more bytes than `limits` allow.

        >>> import io
        >>> with open("zoo/lenet5-mnist.sepnet", "rb") as file:
        ...     PackedModel.read_from(io.BytesIO(file.read())).header.params
        431080
        """
        start = read_exactly(stream, _FIXED)
        if in_container(start):
            return cls.from_bytes(unwrap(start + read_at_most(stream, limits.file_bytes - _FIXED)), limits)
        stored = sum(int.from_bytes(start[at : at + 4], "little") for at in (12, 20)) if start[:8] == MAGIC else 0
        if stored > limits.header_bytes + limits.graph_bytes:
            raise FormatError(
                f"packed file declares {stored} bytes of header and graph; the limits are {limits.header_bytes} and {limits.graph_bytes} {raising('graph_bytes')}"
            )
        data = start + read_exactly(stream, stored)
        header, graph, sizes = _open(data, limits)
        whole = len(data) + sum(sum(entry.bytes) + 4 for entry in header.tensors)
        if whole > limits.file_bytes:
            raise FormatError(
                f"packed file declares {whole:,} bytes; the limit of a stream is {limits.file_bytes:,} {raising('file_bytes')}"
            )
        return cls(header, graph, read_chunks(stream, len(data), header), *sizes, data[10] == PRESET, data[9])


def _check_readable(data: bytes, limits: Limits) -> None:
    try:
        PackedModel.from_bytes(unwrap(data), limits)
    except FormatError as error:
        raise FormatError(f"what would be written cannot be read: {error}") from error


def _open(data: bytes, limits: Limits) -> tuple[Header, bytes, tuple[int, int]]:
    """Header, graph, and how many bytes each takes in the file."""
    sizes = _check_front(data, limits)
    header_bytes, _, graph_bytes, _ = sizes
    text, graph = _inflate(data[_FIXED : _FIXED + header_bytes + graph_bytes], sizes, data[10] == PRESET)
    try:
        header = msgspec.json.decode(text, type=Header)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise FormatError(f"damaged packed file: the header does not parse: {error}") from error
    check_header(header, limits)
    return header, graph, (header_bytes, graph_bytes)


def read_bytes(path: Path) -> bytes:
    """The bytes of a packed file, taken out of its container if it is in one, or `FormatError` in one line."""
    try:
        return unwrap(path.read_bytes())
    except FormatError as error:
        raise FormatError(f"{path}: {error}") from error
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error


@functools.cache
def preset_dictionary() -> bytes:
    """What headers and graphs often hold: fragments of those of ten packed networks, the commonest last."""
    return Path(__file__).with_name("preset_dictionary_1.bin").read_bytes()


def _text(header: Header) -> bytes:
    try:
        return msgspec.json.encode(header)
    except UnicodeEncodeError as error:  # names of files and folders may hold bytes that are no text
        raise FormatError(f"{error.object[:100]!a} is no Unicode text, which a packed file holds") from error


def _deflate(header: Header, graph: bytes, preset: bool) -> tuple[bytes, bytes]:
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=preset_dictionary() if preset else b"")
    first = squeeze.compress(_text(header)) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    return first, squeeze.compress(graph) + squeeze.flush(zlib.Z_FINISH)


def _check_front(data: bytes, limits: Limits) -> tuple[int, int, int, int]:
    if data[:8] != MAGIC:
        if data and MAGIC.startswith(data):
            raise FormatError(f"truncated packed file: {len(data)} bytes, the fixed part alone takes {_FIXED}")
        if data[:4] == MAGIC[:4]:
            raise FormatError("damaged packed file: its line ends were changed in transfer; copy it in binary mode")
        raise FormatError(
            f"not a packed file: it starts with {data[:8].hex(' ') or 'nothing'}, expected {MAGIC.hex(' ')}"
        )
    if len(data) < _FIXED:
        raise FormatError(f"truncated packed file: {len(data)} bytes, the fixed part alone takes {_FIXED}")
    if data[8] != MAJOR:
        raise FormatError(
            f"packed file of version {data[8]}.{data[9]}; this sepnet reads version {MAJOR}; install a newer sepnet"
        )
    if data[10] > PRESET or data[11]:
        raise FormatError(
            f"packed file with unknown flags {data[10:12].hex()}; this sepnet knows {PRESET:02x}00; install a newer sepnet"
        )
    stored_header, raw_header, stored_graph, raw_graph = (
        int.from_bytes(data[at : at + 4], "little") for at in (12, 16, 20, 24)
    )
    if _FIXED + stored_header + stored_graph > len(data):
        raise FormatError(
            f"truncated packed file: {len(data)} bytes, header and graph alone take {_FIXED + stored_header + stored_graph}"
        )
    check_sizes(raw_header, raw_graph, limits)
    front = data[_FIXED : _FIXED + stored_header + stored_graph]
    if zlib.crc32(front, zlib.crc32(data[:28])) != int.from_bytes(data[28:32], "little"):
        raise FormatError("damaged packed file: the checksum of the header does not match")
    return stored_header, raw_header, stored_graph, raw_graph


def _inflate(front: bytes, sizes: tuple[int, int, int, int], preset: bool) -> tuple[bytes, bytes]:
    stored_header, raw_header, _, raw_graph = sizes
    stretch = zlib.decompressobj(-15, zdict=preset_dictionary() if preset else b"")
    try:
        text = stretch.decompress(front[:stored_header], raw_header + 1) if raw_header else b""
        rest = stretch.unconsumed_tail + front[stored_header:]
        graph = stretch.decompress(rest, raw_graph + 1) if raw_graph else b""
    except zlib.error as error:
        raise FormatError(f"damaged packed file: header or graph do not inflate: {error}") from error
    if len(text) != raw_header or len(graph) != raw_graph:
        raise FormatError(
            f"damaged packed file: header and graph inflate to {len(text)} and {len(graph)} bytes, declared {raw_header} and {raw_graph}"
        )
    return text, graph
