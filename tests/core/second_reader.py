"""A reader of packed files written from docs/format.md and docs/codecs.md alone; it shares no code with the package.

It knows the codecs that pack bits: dense, bitmap, relative_index.
"""

from __future__ import annotations

import json
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np

DICTIONARY = Path(__file__).parents[2] / "src" / "sepnet" / "core" / "preset_dictionary_1.bin"


def read(data: bytes) -> tuple[dict[str, Any], bytes, dict[str, np.ndarray]]:
    """(header, graph, the numbers of each tensor whose codec packs bits)."""
    assert data[:8] == b"\x89SEP\r\n\x1a\n" and data[8] == 1 and data[10:12] in (b"\0\0", b"\1\0")
    stored_header, raw_header, stored_graph, raw_graph, checksum = struct.unpack("<5I", data[12:32])
    end = 32 + stored_header + stored_graph
    assert zlib.crc32(data[:28] + data[32:end]) == checksum
    inflater = zlib.decompressobj(wbits=-15, zdict=DICTIONARY.read_bytes() if data[10] else b"")
    text = inflater.decompress(data[32 : 32 + stored_header])
    graph = inflater.decompress(data[32 + stored_header : end])
    assert len(text) == raw_header and len(graph) == raw_graph
    header = json.loads(text)
    numbers = {}
    for tensor in header["tensors"]:
        payload = data[end : end + sum(tensor["bytes"])]
        end += len(payload) + 4
        assert zlib.crc32(payload) == int.from_bytes(data[end - 4 : end], "little")
        if tensor["codec"].partition(":")[0] in ("dense", "bitmap", "relative_index"):
            numbers[tensor["name"]] = restore(tensor, payload)
    assert end == len(data)
    return header, graph, numbers


def restore(tensor: dict[str, Any], payload: bytes) -> np.ndarray:
    """The numbers of one tensor."""
    shape = tuple(tensor["shape"])
    side, values = np.frombuffer(payload[: tensor["bytes"][0]], "<f2"), tensor["values"]
    codes = decode(tensor["codec"], payload[tensor["bytes"][0] :], int(np.prod(shape))).reshape(shape)
    book = np.ldexp(np.float32(side[len(side) - tensor.get("codebook", 0) :]), tensor.get("value_exponent", 0))
    scale = {"none": None, "tensor": (), "filter": shape[:1], "kernel": shape[:2]}[tensor.get("scale", "none")]
    if values == "int64":
        return codes
    if values == "integer":
        numbers = np.float32(codes)
    elif values == "sign":
        numbers = np.float32(2 * codes - 1)
    elif values == "codebook":
        numbers = book[codes]
    elif values == "float16":
        numbers = np.ldexp(np.float32(codes.astype("<u2").view("<f2")), tensor.get("value_exponent", 0))
    else:
        numbers = codes.astype("<u4").view("<f4")
    if scale is None:
        return numbers
    scales = np.ldexp(np.float32(side[: int(np.prod(scale))]), tensor.get("scale_exponent", 0))
    return numbers * scales.reshape(scale + (1,) * (len(shape) - len(scale)))


class Cursor:
    """A place in a payload."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        piece, self.data = self.data[:count], self.data[count:]
        return piece

    def varint(self) -> int:
        (byte,) = self.take(1)
        return byte if byte < 128 else byte - 128 + 128 * self.varint()

    def signed(self) -> int:
        number = self.varint()
        return number // 2 if number % 2 == 0 else -(number + 1) // 2

    def symbols(self, count: int, last: bool) -> list[int]:
        """A bit-packed stream."""
        if not count:
            return []
        stream = self.take(len(self.data) if last else self.varint())
        bits = "".join(f"{byte:08b}" for byte in stream[1:])
        return [int(bits[at * stream[0] : (at + 1) * stream[0]] or "0", 2) for at in range(count)]


def decode(codec: str, payload: bytes, count: int) -> np.ndarray:
    """Codes of a codec that packs bits."""
    codes, cursor = np.zeros(count, np.int64), Cursor(payload)
    if count == 0:
        return codes
    if codec == "dense":
        least = cursor.signed()
        codes[:] = [symbol + least for symbol in cursor.symbols(count, last=True)]
    elif codec == "bitmap":
        least = cursor.signed()
        places = np.flatnonzero(cursor.symbols(count, last=False))
        codes[places] = without_zero(cursor.symbols(len(places), last=True), least)
    elif entries := cursor.varint():
        flags, least = cursor.take(1)[0], cursor.signed()
        places = np.cumsum([distance + 1 for distance in cursor.symbols(entries, last=False)]) - 1
        values = cursor.symbols(entries, last=True)
        codes[places] = [value + least for value in values] if flags & 16 else without_zero(values, least)
    assert not cursor.data
    return codes


def without_zero(symbols: list[int], least: int) -> list[int]:
    """Values whose numbering leaves zero out."""
    return [symbol + least + (least <= 0 <= symbol + least) for symbol in symbols]
