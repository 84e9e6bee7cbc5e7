"""The few protocol-buffer bytes that put weights into an ONNX graph, without the onnx package.

Field numbers are those of onnx.proto3.  A protocol-buffer message may be given in pieces that are simply written one after
the other, so weights are added to a serialized graph by appending a second `ModelProto` that holds nothing but
`graph.initializer` entries.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import FormatError

__all__ = ["ELEMENT_TYPES", "field", "fields", "names_used", "number_field", "tensor", "with_outputs", "with_weights"]

_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_GRAPH_OUTPUT = 12
ELEMENT_TYPES = {
    np.dtype(kind): number
    for kind, number in (("f4", 1), ("u1", 2), ("i1", 3), ("i2", 5), ("i4", 6), ("i8", 7), ("?", 9), ("f2", 10))
}
"""numpy type -> number of the ONNX element type."""

# Message type -> field number -> message type inside it; only the paths on which nodes, graphs and tensors are found.
_INSIDE = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "graph": {1: "node", 5: "tensor", 12: "value", 15: "sparse"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
    "value": {},
}
_DEEPEST = 24


def with_weights(graph: bytes, weights: Mapping[str, npt.NDArray[np.float32] | npt.NDArray[np.int64]]) -> bytes:
    """A serialized ModelProto: `graph` with an initializer for each array (float32 or int64)."""
    entries = b"".join(field(_GRAPH_INITIALIZER, tensor(name, array)) for name, array in weights.items())
    return graph + field(_MODEL_GRAPH, entries)


def with_outputs(model: bytes, values: Iterable[str]) -> bytes:
    """A serialized ModelProto that gives the named inner values after its own outputs."""
    entries = b"".join(field(_GRAPH_OUTPUT, field(1, name.encode())) for name in values)
    return model + field(_MODEL_GRAPH, entries) if entries else model


def names_used(graph: bytes) -> set[str]:
    """Every value name that a node of the graph reads or the graph gives, subgraphs included.

    Raises `FormatError` when the bytes are no ModelProto, or when a tensor inside refers to data in another file.
    """
    names: set[str] = set()
    _walk(graph, "model", names, 0)
    return names


def _walk(data: bytes, kind: str, names: set[str], depth: int) -> None:
    if depth > _DEEPEST:
        raise FormatError(f"damaged packed file: its graph is nested more than {_DEEPEST} levels deep")
    for number, value in fields(data):
        if kind == "tensor" and (number == 13 or (number == 14 and value != 0)):
            raise FormatError("the packed file's graph refers to data in another file, which is refused")
        if not isinstance(value, bytes):
            continue
        if kind in ("node", "value") and number == 1:
            names.add(value.decode("utf-8", "replace"))
        elif number in _INSIDE[kind]:
            _walk(value, _INSIDE[kind][number], names, depth + 1)


def fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """(field number, value) of a message, in order: an integer, or the bytes of all else.  Raises `FormatError`."""
    at = 0
    while at < len(data):
        key, at = _read_varint(data, at)
        wire = key & 7
        if wire == 0:
            value, at = _read_varint(data, at)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            size, at = _read_varint(data, at)
        if size is None or at + size > len(data):
            raise FormatError("damaged packed file: its graph is not an ONNX model")
        yield key >> 3, data[at : at + size]
        at += size


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        if byte < 128:
            return number, at
        shift += 7
    raise FormatError("damaged packed file: its graph is not an ONNX model")


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def field(number: int, content: bytes) -> bytes:
    """A field of bytes, text or a message."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def number_field(number: int, value: int) -> bytes:
    """A field of an integer (int64: two's complement)."""
    return _varint(number << 3) + _varint(value & (1 << 64) - 1)


def tensor(name: str, array: npt.NDArray[Any]) -> bytes:
    """A TensorProto of one of the types in `ELEMENT_TYPES`."""
    sides = b"".join(number_field(1, side) for side in array.shape)
    little = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return sides + number_field(2, ELEMENT_TYPES[array.dtype]) + field(8, name.encode()) + field(9, little.tobytes())
