"""Packed files that are wrong in one place, with checksums that are right."""

from __future__ import annotations

import copy
import json
import zlib
from collections.abc import Callable
from typing import Any

import onnx
from golden_model import GOLDEN, golden_graph
from onnx import TensorProto, helper

from sepnet.core.packed_model import PackedModel

GOOD = (GOLDEN / "v1.sepnet").read_bytes()
Change = Callable[[dict[str, Any]], None]


def assemble(
    text: bytes, graph: bytes, chunks: bytes, raw_sizes: tuple[int, int] | None = None, start: bytes | None = None
) -> bytes:
    """A file from its parts; `raw_sizes` and `start` (the first twelve bytes) may lie."""
    squeeze = zlib.compressobj(9, zlib.DEFLATED, -15)
    first = squeeze.compress(text) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    second = squeeze.compress(graph) + squeeze.flush()
    raw_header, raw_graph = raw_sizes or (len(text), len(graph))
    fixed = start or GOOD[:12]
    for size in (len(first), raw_header, len(second), raw_graph):
        fixed += size.to_bytes(4, "little")
    return fixed + zlib.crc32(first + second, zlib.crc32(fixed)).to_bytes(4, "little") + first + second + chunks


def parts() -> tuple[dict[str, Any], bytes, list[bytes]]:
    """The golden file's header, graph and payloads."""
    model = PackedModel.from_bytes(GOOD)
    stored_header, raw_header = (int.from_bytes(GOOD[at : at + 4], "little") for at in (12, 16))
    text = zlib.decompressobj(-15).decompress(GOOD[32 : 32 + stored_header])
    assert len(text) == raw_header
    return json.loads(text), model.graph, list(model.payloads)


def chunks_of(payloads: list[bytes]) -> bytes:
    """Each with its checksum."""
    return b"".join(payload + zlib.crc32(payload).to_bytes(4, "little") for payload in payloads)


def with_header(change: Change) -> bytes:
    """The golden file with another header."""
    header, graph, payloads = parts()
    changed = copy.deepcopy(header)
    change(changed)
    return assemble(json.dumps(changed).encode(), graph, chunks_of(payloads))


def with_text(text: bytes) -> bytes:
    """The golden file with these bytes for a header."""
    _, graph, payloads = parts()
    return assemble(text, graph, chunks_of(payloads))


def with_graph(graph: bytes) -> bytes:
    """The golden file with another graph."""
    header, _, payloads = parts()
    return assemble(json.dumps(header).encode(), graph, chunks_of(payloads))


def with_payload(name: str, payload: bytes, change: Change = lambda _: None) -> bytes:
    """The golden file with another payload (and header entry) for the tensor `name`."""
    header, graph, payloads = parts()
    for at, entry in enumerate(header["tensors"]):
        if entry["name"] == name:
            entry["bytes"][1] = len(payload) - entry["bytes"][0]
            change(entry)
            payloads[at] = payload
    return assemble(json.dumps(header).encode(), graph, chunks_of(payloads))


def tensor(header: dict[str, Any], name: str) -> dict[str, Any]:
    """The header's entry of one tensor."""
    return next(entry for entry in header["tensors"] if entry["name"] == name)


def setting(name: str, key: str, value: Any) -> Change:
    """A change of one key of one tensor."""
    return lambda header: tensor(header, name).update({key: value})


def graph_with(change: Callable[[onnx.ModelProto], None]) -> bytes:
    """The golden graph, changed."""
    proto = onnx.load_from_string(golden_graph())
    change(proto)
    return bytes(proto.SerializeToString())


def external_tensor(location: bool = True, entries: bool = True) -> TensorProto:
    """A tensor whose numbers are said to be in a file of the system."""
    made = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[4])
    if location:
        made.data_location = TensorProto.EXTERNAL
    if entries:
        made.external_data.add(key="location", value="/etc/passwd")
    return made


def add_node(proto: onnx.ModelProto, node: onnx.NodeProto) -> None:
    """A node in front."""
    proto.graph.node.insert(0, node)


def constant(value: TensorProto) -> onnx.NodeProto:
    """A node that gives `value`."""
    return helper.make_node("Constant", [], ["outside"], value=value)


def branch(inner: onnx.NodeProto) -> onnx.NodeProto:
    """An If with `inner` in both arms."""
    out = helper.make_tensor_value_info("outside", TensorProto.FLOAT, [4])
    arm = helper.make_graph([inner], "arm", [], [out])
    return helper.make_node("If", ["condition"], ["both"], then_branch=arm, else_branch=arm)


def function_with(node: onnx.NodeProto) -> onnx.FunctionProto:
    """A function of one node."""
    return helper.make_function("own", "f", [], ["outside"], [node], [helper.make_opsetid("", 18)])
