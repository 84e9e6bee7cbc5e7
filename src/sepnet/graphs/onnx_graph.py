"""An ONNX model as nodes and initializers that can be changed and written again, without the onnx package.

Field numbers are those of onnx.proto3.  What is not looked at (other attributes, graphs inside nodes) stays as it came.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import FormatError
from sepnet.graphs.ports import port_of
from sepnet.graphs.wire import ELEMENT_TYPES, fields, names_used, number_field, tensor
from sepnet.graphs.wire import field as bytes_field

__all__ = ["Node", "OnnxGraph", "attribute"]

_NUMPY = {number: kind for kind, number in ELEMENT_TYPES.items()}


@dataclass(frozen=True)
class Node:
    """An operator.

    Attributes:
        op: its type, "Conv".
        inputs, outputs: names of values; "" for one that is left out.
        attributes: serialized AttributeProtos.
        domain: "" of the standard operators.

    >>> node = Node("Gemm", ("x", "w"), ("y",), (attribute("transB", 1), attribute("alpha", 0.5)))
    >>> Node.decode(node.encode()) == node, node.integer("transB"), node.number("alpha", 1.0), node.integers("axes")
    (True, 1, 0.5, ())
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[bytes, ...] = ()
    domain: str = ""

    @classmethod
    def decode(cls, data: bytes) -> Node:
        """A node from a NodeProto; names for people are dropped."""
        texts: dict[int, list[bytes]] = {1: [], 2: [], 4: [], 5: [], 7: []}
        for number, value in fields(data):
            if number in texts and isinstance(value, bytes):
                texts[number].append(value)
        names = tuple(tuple(each.decode("utf-8", "replace") for each in texts[number]) for number in (1, 2, 4, 7))
        return cls("".join(names[2][-1:]), names[0], names[1], tuple(texts[5]), "".join(names[3][-1:]))

    @classmethod
    def of(cls, proto: Any) -> Node:
        """A node from a NodeProto of the package onnx."""
        return cls.decode(proto.SerializeToString())

    def encode(self) -> bytes:
        """A NodeProto."""
        parts = [bytes_field(1, name.encode()) for name in self.inputs]
        parts += [bytes_field(2, name.encode()) for name in self.outputs]
        parts.append(bytes_field(4, self.op.encode()))
        parts += [bytes_field(5, each) for each in self.attributes]
        return b"".join(parts) + (bytes_field(7, self.domain.encode()) if self.domain else b"")

    def integer(self, name: str, default: int = 0) -> int:
        """An attribute of type INT."""
        found = [value for value in self._values(name, 3) if isinstance(value, int)]
        return _signed(found[-1]) if found else default

    def number(self, name: str, default: float) -> float:
        """An attribute of type FLOAT."""
        found = [value for value in self._values(name, 2) if isinstance(value, bytes) and len(value) == 4]
        return float(struct.unpack("<f", found[-1])[0]) if found else default

    def integers(self, name: str) -> tuple[int, ...]:
        """An attribute of type INTS; () when there is none."""
        found: list[int] = []
        for value in self._values(name, 8):
            found += [value] if isinstance(value, int) else _packed(value)
        return tuple(map(_signed, found))

    def floats(self, name: str) -> tuple[float, ...]:
        """An attribute of type FLOATS; () when there is none."""
        data = b"".join(value for value in self._values(name, 7) if isinstance(value, bytes))
        return tuple(float(each) for each in np.frombuffer(data[: len(data) // 4 * 4], "<f4"))

    def has(self, name: str) -> bool:
        """Whether there is an attribute of that name."""
        return any((1, name.encode()) in fields(each) for each in self.attributes)

    def text(self, name: str, default: str) -> str:
        """An attribute of type STRING."""
        found = [value for value in self._values(name, 4) if isinstance(value, bytes)]
        return found[-1].decode("utf-8", "replace") if found else default

    def array(self, name: str) -> npt.NDArray[Any] | None:
        """An attribute of type TENSOR."""
        found = [value for value in self._values(name, 5) if isinstance(value, bytes)]
        return _array(found[-1]) if found else None

    @property
    def holds_graphs(self) -> bool:
        """Whether graphs are inside: If, Loop, Scan."""
        return any(number in (6, 11) for each in self.attributes for number, _ in fields(each))

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the values that it reads, those that graphs inside read included."""
        if not self.holds_graphs:
            return self.inputs
        return tuple(names_used(bytes_field(7, bytes_field(1, self.encode()))))

    def _values(self, name: str, kind: int) -> Iterator[int | bytes]:
        for each in self.attributes:
            parts = list(fields(each))
            if (1, name.encode()) in parts:
                yield from (value for number, value in parts if number == kind)


@dataclass(frozen=True)
class OnnxGraph:
    """A model of one graph.

    Attributes:
        nodes: in an order in which each reads only what those before give.
        inputs, outputs: names of the graph's own.
        input_shape: sides of the first input; None for a free one.
        opset: version of the standard operators.
        initializers: the arrays the graph holds, by name; of the types in `ELEMENT_TYPES`.
        rest: all else of the graph, serialized.
        model: all else of the model, serialized.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    input_shape: tuple[int | None, ...]
    opset: int
    initializers: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    rest: bytes = b""
    model: bytes = b""

    @property
    def batch(self) -> int:
        """Examples that the graph is fixed to, 0 when that is free."""
        return (self.input_shape[:1] or (None,))[0] or 0

    def reads(self) -> Counter[str]:
        """How often each value is read: by nodes and as an output."""
        return Counter((*self.outputs, *(name for node in self.nodes for name in node.reads)))

    @classmethod
    def decode(cls, data: bytes) -> OnnxGraph:
        """A graph from a ModelProto, which may be given in pieces.  Raises `FormatError`."""
        nodes: list[Node] = []
        arrays: dict[str, npt.NDArray[Any]] = {}
        values: dict[int, list[bytes]] = {11: [], 12: []}
        rest, model, opset = b"", b"", 0
        for number, value in fields(data):
            if number != 7 or not isinstance(value, bytes):
                model += _again(number, value)
                if number == 8 and isinstance(value, bytes) and _text(value, 1) in ("", "ai.onnx"):
                    opset = max(
                        [version for at, version in fields(value) if at == 2 and isinstance(version, int)] or [0]
                    )
                continue
            for inner, part in fields(value):
                if inner == 1 and isinstance(part, bytes):
                    nodes.append(Node.decode(part))
                elif inner == 5 and isinstance(part, bytes) and (read := _array(part)) is not None:
                    arrays[_text(part, 8)] = read
                else:
                    rest += _again(inner, part)
                    if inner in values and isinstance(part, bytes):
                        values[inner].append(part)
        if not opset:
            raise FormatError("the graph does not say which version of the ONNX operators it is made of")
        inputs, outputs = (tuple(_text(each, 1) for each in values[number]) for number in (11, 12))
        sides = (port_of(values[11][0]).shape if inputs else None) or ()
        shape = tuple(side if isinstance(side, int) else None for side in sides)
        return cls(tuple(nodes), inputs, outputs, shape, opset, arrays, rest, model)

    def encode(self) -> bytes:
        """A ModelProto."""
        parts = [bytes_field(1, node.encode()) for node in self.nodes]
        parts += [bytes_field(5, tensor(name, array)) for name, array in self.initializers.items()]
        return self.model + bytes_field(7, b"".join(parts) + self.rest)

    def changed(self, nodes: tuple[Node, ...], initializers: Mapping[str, npt.NDArray[Any]]) -> OnnxGraph:
        """With other nodes and other initializers."""
        return replace(self, nodes=nodes, initializers=initializers)


def attribute(name: str, value: int | float | tuple[int, ...] | bytes) -> bytes:
    """An AttributeProto of type INT, FLOAT, INTS or STRING."""
    start = bytes_field(1, name.encode())
    if isinstance(value, int):
        return start + number_field(3, value) + number_field(20, 2)
    if isinstance(value, float):
        return start + bytes([2 << 3 | 5]) + struct.pack("<f", value) + number_field(20, 1)
    if isinstance(value, bytes):
        return start + bytes_field(4, value) + number_field(20, 3)
    return start + b"".join(number_field(8, each) for each in value) + number_field(20, 7)


def _again(number: int, value: int | bytes) -> bytes:
    return number_field(number, value) if isinstance(value, int) else bytes_field(number, value)


def _text(message: bytes, number: int) -> str:
    found = [value for at, value in fields(message) if at == number and isinstance(value, bytes)]
    return found[-1].decode("utf-8", "replace") if found else ""


def _signed(number: int) -> int:
    return number - (1 << 64) if number >> 63 else number


def _packed(data: bytes) -> list[int]:
    """Integers in one field: those of a message in which each would be the value of field 1."""
    found: list[int] = []
    number = shift = 0
    for byte in data:
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            found.append(number)
            number = shift = 0
    return found


def _array(data: bytes) -> npt.NDArray[Any] | None:
    """An initializer, its numbers in raw bytes or in a field of their type; None for other types, which stay as they are."""
    sides: list[int] = []
    kind, raw, floats, whole = 0, None, b"", list[int]()
    for number, value in fields(data):
        if number == 1:
            sides += [value] if isinstance(value, int) else _packed(value)
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 9 and isinstance(value, bytes):
            raw = value
        elif number == 4 and isinstance(value, bytes):
            floats += value
        elif number in (5, 7):
            whole += [value] if isinstance(value, int) else _packed(value)
    if kind not in _NUMPY or (raw is None and not floats and not whole and 0 not in sides):
        return None
    try:
        if raw is None and whole:
            return _typed(whole, _NUMPY[kind]).reshape(sides)
        return np.frombuffer(floats if raw is None else raw, _NUMPY[kind].newbyteorder("<")).reshape(sides)
    except (ValueError, OverflowError) as error:
        found = f"{len(whole)} numbers" if raw is None and whole else f"{len(floats if raw is None else raw)} bytes"
        raise FormatError(f"damaged graph: {found} for a tensor of shape {sides[:9]}") from error


def _typed(numbers: list[int], kind: np.dtype[Any]) -> npt.NDArray[Any]:
    """Of int32_data and int64_data; binary16 lies there as its bits."""
    signed = np.array(list(map(_signed, numbers)), np.int64)
    return signed.astype(np.uint16).view(np.float16) if kind == np.float16 else signed.astype(kind)
