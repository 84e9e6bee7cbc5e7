"""Take the weights out of an ONNX graph: as inputs of the graph while it is optimized, by name only when it is packed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sepnet.core.errors import NetworkError
from sepnet.packing.fold import graphs, reads, rename

__all__ = ["call", "check_standard", "finish", "lift_weights"]

NAMELESS = ("?", "-1", "None", "")
"""Names that exporters give a free side that has none."""


def lift_weights(proto: Any, names: set[str]) -> None:
    """Turn the weights into graph inputs, so that no optimization can look at their values.

    A packed file gives a graph float32 and int64; what the network has in another type is cast to it where it is used.
    """
    import onnx

    weights = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.name in names}
    rest = [tensor for tensor in proto.graph.initializer if tensor.name not in names]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(rest)
    for name, tensor in weights.items():
        floats = (onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
        given = (
            onnx.TensorProto.FLOAT if tensor.data_type in (*floats, onnx.TensorProto.FLOAT) else onnx.TensorProto.INT64
        )
        if tensor.data_type != given:
            rename(proto.graph, {name: f"{name}:cast"})
            cast = onnx.helper.make_node("Cast", [name], [f"{name}:cast"], to=tensor.data_type)
            proto.graph.node.insert(0, cast)
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, given, list(tensor.dims)))


def check_standard(proto: Any) -> None:
    """Raise `NetworkError` for operators that only one runtime knows."""
    nodes = [node for graph in graphs(proto.graph) for node in graph.node]
    strange = {f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx")}
    if strange:
        raise NetworkError(f"the network needs operators that are not standard ONNX: {', '.join(sorted(strange))}")


def finish(proto: Any, names: set[str], *, keep_ends: bool = False) -> frozenset[str]:
    """Drop the lifted inputs and everything that only people read; give values short names.

    With `keep_ends` inputs, outputs and their free sides keep the names that they have.

    Returns those of `names` that the graph still refers to.
    """
    inputs = [value for value in proto.graph.input if value.name not in names]
    used = frozenset(names & reads(proto.graph).keys())
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    ends = {value.name for value in (*inputs, *proto.graph.output)} if keep_ends else set()
    call(proto.graph, {name: name for name in names | ends})
    for graph in graphs(proto.graph):
        for field in ("value_info", "metadata_props"):
            del getattr(graph, field)[:]
        for node in graph.node:
            node.name = node.doc_string = ""
            del node.metadata_props[:]
        for value in (*graph.input, *graph.output):
            del value.metadata_props[:]
            for side in value.type.tensor_type.shape.dim:
                _free(side, keep_ends)
        graph.name, graph.doc_string = "n", ""
    proto.doc_string = proto.producer_name = proto.producer_version = ""
    del proto.metadata_props[:]
    return used


def _free(side: Any, keep_name: bool) -> None:
    """A side is free that has a name, or a size below 1 as some exporters write it."""
    if side.dim_param and not keep_name:
        side.dim_param = "n"
    elif keep_name and (side.dim_param in NAMELESS if side.HasField("dim_param") else side.dim_value < 1):
        side.Clear()


def call(graph: Any, weights: Mapping[str, str]) -> None:
    """Give the weights the names they shall have, and all other values short ones."""
    short, taken = dict(weights), set(weights.values())

    def give(name: str, word: str) -> None:
        while word in taken:
            word += "_"
        short.setdefault(name, word)

    for values, word in ((graph.input, "input"), (graph.output, "output")):
        for at, value in enumerate(value for value in values if value.name not in weights):
            give(value.name, f"{word}{at or ''}")
    for part in graphs(graph):
        for value in (*part.input, *part.initializer):
            give(value.name, f"k{len(short) - len(weights)}")
        for node in part.node:
            for name in filter(None, node.output):
                give(name, f"v{len(short) - len(weights)}")
    rename(graph, short)
