"""Name, shape and type of what a packed file's graph takes and gives, without the onnx package."""

from __future__ import annotations

from collections.abc import Iterable

from sepnet.core.errors import FormatError, UsageError
from sepnet.core.packed_model import PackedModel
from sepnet.core.ports import Port, described
from sepnet.graphs.wire import fields

__all__ = ["FLOAT_TYPES", "check_graph", "is_plain", "one_float_input", "port_of", "ports_of"]

Ports = tuple[Port, ...]
TYPES = {1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool"}
TYPES |= {10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16"}
"""Number of the ONNX element type -> numpy's name."""
FLOAT_TYPES = frozenset(number for number, name in TYPES.items() if name.startswith(("float", "bfloat")))
"""Numbers of the ONNX element types of floats."""


def ports_of(graph: bytes) -> tuple[Ports, Ports]:
    """Inputs and outputs of a serialized ModelProto, which may be given in pieces; none of b"".  Raises `FormatError`."""
    parts = list(_inside(_inside([graph], 7), 11)), list(_inside(_inside([graph], 7), 12))
    return tuple(map(port_of, parts[0])), tuple(map(port_of, parts[1]))


def check_graph(model: PackedModel) -> None:
    """Raise `FormatError` for a file of weights alone."""
    if not model.graph:
        raise FormatError(
            "the packed file holds weights alone, no graph that could be run; `sepnet unpack` gives them back"
        )


def is_plain(graph: bytes) -> bool:
    """Whether it takes one float32 input and gives float32 first, as readers of version 1.1 expect."""
    inputs, outputs = ports_of(graph)
    return [port.type for port in inputs] == ["float32"] and [port.type for port in outputs[:1]] in (["float32"], [""])


def one_float_input(model: PackedModel, runtime: str) -> tuple[Ports, Ports]:
    """Inputs and outputs, for a runtime that takes one input of float32.  Raises `UsageError` where the network takes others."""
    inputs, outputs = ports_of(model.graph)
    if len(inputs) > 1 or any(port.type not in ("float32", "") for port in inputs):
        raise UsageError(
            f"the runtime {runtime} takes one input of float32, and the network takes {described(inputs)}; expected the runtime onnxruntime"
        )
    return inputs, outputs


def port_of(value: bytes) -> Port:
    """A serialized ValueInfoProto."""
    name = b"".join(list(_inside([value], 1))[-1:]).decode("utf-8", "replace")
    tensor = list(_inside(_inside([value], 2), 1))
    kind = [number for each in tensor for at, number in fields(each) if at == 1 and isinstance(number, int)]
    shapes = list(_inside(tensor, 2))
    shape = tuple(map(_side, _inside(shapes, 1))) if shapes else None
    return Port(name, shape, TYPES.get(kind[-1], "") if kind else "")


def _side(dim: bytes) -> int | str | None:
    """A size above 0, the name of a free side, or None."""
    side: int | str | None = None
    for number, value in fields(dim):
        if number == 1 and isinstance(value, int):
            side = value if 0 < value < 1 << 63 else None
        elif number == 2 and isinstance(value, bytes):
            side = value.decode("utf-8", "replace") or None
    return side


def _inside(messages: Iterable[bytes], number: int) -> Iterable[bytes]:
    """The messages of that field."""
    return (value for each in messages for at, value in fields(each) if at == number and isinstance(value, bytes))
