"""What a graph must be for a packed file: standard operators, and tensors of numbers that go in and out."""

from __future__ import annotations

from sepnet.core.errors import NetworkError
from sepnet.core.ports import NUMBERS
from sepnet.graphs.nodes import graphs
from sepnet.graphs.ports import port_of
from sepnet.packing.passes.draft import Draft

__all__ = ["check_ends", "check_floats", "check_standard"]


INTEGER_LAYERS = frozenset(
    {
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
        "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM",
        "MatMulNBits",
    }
)
"""Besides QLinearConv, QLinearMatMul, QLinearAdd, ..., QGemm."""


def check_standard(draft: Draft) -> str:
    """Raise `NetworkError` for operators that only one runtime knows."""
    nodes = [node for graph in graphs(draft.graph) for node in graph.node]
    strange = {f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx")}
    if strange:
        raise NetworkError(f"the network needs operators that are not standard ONNX: {', '.join(sorted(strange))}")
    return ""


def check_floats(draft: Draft) -> str:
    """Raise `NetworkError` for layers that compute in integers, whose weights are no floats any more."""
    ops = {node.op_type for graph in graphs(draft.graph) for node in graph.node}
    found = sorted(op for op in ops if op in INTEGER_LAYERS or op.startswith(("QLinear", "QGemm")))
    if found:
        raise NetworkError(
            f"the network computes in integers ({', '.join(found)}); expected float layers, weights behind DequantizeLinear among them"
        )
    return ""


def check_ends(draft: Draft) -> str:
    """Raise `NetworkError` for inputs and outputs that are no tensors of numbers, and where there are none."""
    own = {tensor.name for tensor in draft.graph.initializer}
    inputs = [value for value in draft.graph.input if value.name not in own]
    ends = [*inputs, *draft.graph.output]
    for port in (port_of(value.SerializeToString()) for value in ends):
        if port.type and port.type not in NUMBERS:
            raise NetworkError(f"the network has {port.name} of type {port.type}; expected one of {', '.join(NUMBERS)}")
    for value in ends:
        kind = value.type.WhichOneof("value") or "tensor_type"
        if kind != "tensor_type":
            raise NetworkError(f"the network has {value.name}, a {kind.removesuffix('_type')}; expected tensors")
    if not inputs:
        raise NetworkError("the network takes nothing; expected one input or more")
    if not draft.graph.output:
        raise NetworkError("the network gives no output")
    return ""
