"""The weights taken out of a graph, so that no optimization can look at their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sepnet.core.errors import NetworkError, WeightsError
from sepnet.graphs.layers import CONVS, WEIGHTS, read_layer
from sepnet.graphs.nodes import graphs, rename
from sepnet.graphs.onnx_graph import Node
from sepnet.packing.passes.constants import float_types
from sepnet.packing.passes.draft import Draft, State, count

__all__ = ["lift_weights", "take_weights"]


FEW = 16
"""Numbers below which a tensor that no layer owns stays in the graph, exactly: scales of Resize, clipping bounds, ..."""


def take_weights(draft: Draft) -> str:
    """Note what layers multiply with and add, and the numbers that go into a packed file as tensors of their own.

    Raises `NetworkError` where no layer has float weights, `WeightsError` for NaN and Inf.
    """
    draft.weights, draft.biases = _roles(draft.proto)
    draft.state = _take(draft.proto, draft.weights | draft.biases, draft.turned)
    if not draft.weights & draft.state.keys():
        raise NetworkError(
            "the network has no layer with float weights; expected convolutions or fully connected layers"
        )
    _check_finite(draft.state)
    draft.names = set(draft.state)
    learned = (name for name in draft.state if not name.endswith((".running_mean", ".running_var")))
    draft.params = sum(draft.state[name].size for name in learned)
    weights = len(draft.weights & draft.names)
    return count((weights, "weights of layers"), (len(draft.names) - weights, "other tensors"))


def lift_weights(draft: Draft) -> str:
    """Turn the weights into graph inputs, so that no optimization can look at their values.

    A packed file gives a graph float32 and int64; what the network has in another type is cast to it where it is used.
    """
    import onnx

    proto, names = draft.proto, draft.names
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
    return count((len(weights), "tensors taken out of the graph"))


def _roles(proto: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the initializers that layers multiply with, and of those that they add."""
    floats = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.data_type in float_types()}
    weights, biases, products = set(), set(), set()
    behind = {
        node.output[0]: node.input[0]
        for graph in graphs(proto.graph)
        for node in graph.node
        if node.op_type in ("Transpose", "Cast")
    }
    for node in (node for graph in graphs(proto.graph) for node in graph.node):
        names = [node.input[at] for at in WEIGHTS.get(node.op_type, ()) if at < len(node.input)]
        found = [name for each in names if _is_weight(name := behind.get(each, each), floats)]
        weights.update(found[-1:] if node.op_type == "Gemm" else found)
        layer = read_layer(Node.of(node)) if node.op_type in (*CONVS, "Gemm") else None
        if layer is not None:
            biases.add(layer.bias)
        if node.op_type == "MatMul":
            products.add(node.output[0])
        if node.op_type == "Add" and products & set(node.input):
            biases.update(name for name in node.input if name in floats and len(floats[name].dims) == 1)
    return frozenset(weights), frozenset(biases & floats.keys() - weights)


def _is_weight(name: str, floats: Mapping[str, Any]) -> bool:
    return name in floats and len(floats[name].dims) > 1


def _take(proto: Any, owned: frozenset[str], turned: set[str]) -> State:
    """The numbers that go into the packed file as tensors of their own, float32."""
    import onnx

    norms = {name for node in proto.graph.node if node.op_type == "BatchNormalization" for name in node.input[1:5]}
    nested = {name for graph in list(graphs(proto.graph))[1:] for node in graph.node for name in node.input}
    state = {}
    for tensor in proto.graph.initializer:
        size = int(np.prod(tensor.dims, dtype=np.int64))
        if tensor.data_type not in float_types() or not tensor.dims or size == 0:
            continue
        if tensor.name in owned | norms or (size >= FEW and tensor.name not in nested):
            array = np.asarray(onnx.numpy_helper.to_array(tensor), np.float32)
            state[tensor.name] = np.ascontiguousarray(array.T) if tensor.name in turned else array
    for name in turned & state.keys():
        tensor = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
        tensor.dims[:] = state[name].shape
    return state


def _check_finite(state: State) -> None:
    for name, array in state.items():
        wrong = int((~np.isfinite(array)).sum())
        if wrong:
            raise WeightsError(f"{name} holds {wrong} NaN or Inf of {array.size} numbers")
