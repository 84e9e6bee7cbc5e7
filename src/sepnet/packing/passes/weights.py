"""The weights taken out of a graph, so that no optimization can look at their values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from sepnet.core.errors import NetworkError, WeightsError
from sepnet.graphs.layers import CONVS, WEIGHTS, read_layer
from sepnet.graphs.nodes import graphs, inner_graphs, reads, rename
from sepnet.graphs.onnx_graph import Node
from sepnet.graphs.ports import FLOAT_TYPES
from sepnet.packing.passes.draft import Draft, State, count

__all__ = ["lift_weights", "take_weights"]


MOVES = frozenset(
    {"Cast", "Concat", "Flatten", "Identity", "Reshape", "Slice", "Split", "Squeeze", "Transpose", "Unsqueeze"}
)
"""What may stand between a tensor and the layer that multiplies with it."""
FEW = 16
"""Numbers below which a tensor that no layer owns stays in the graph, exactly: scales of Resize, clipping bounds, ..."""


def take_weights(draft: Draft) -> str:
    """Note what layers multiply with and add, and the numbers that go into a packed file as tensors of their own.

    Raises `NetworkError` where no layer has float weights, `WeightsError` for NaN and Inf.
    """
    draft.weights, biases = _roles(draft.proto)
    draft.biases = biases - draft.codes.keys()  # what came as integers of 32 bits would lose by 8
    draft.state = _take(draft.proto, draft.weights | biases, draft.turned)
    draft.kept = _kept(draft)
    draft.codes |= {name: draft.codes[name].turned for name in draft.turned & draft.codes.keys()}
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
        given = onnx.TensorProto.FLOAT if tensor.data_type in FLOAT_TYPES else onnx.TensorProto.INT64
        if tensor.data_type != given:
            rename(proto.graph, {name: f"{name}:cast"})
            cast = onnx.helper.make_node("Cast", [name], [f"{name}:cast"], to=tensor.data_type)
            proto.graph.node.insert(0, cast)
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, given, list(tensor.dims)))
    return count((len(weights), "tensors taken out of the graph"))


def _roles(proto: Any) -> tuple[frozenset[str], frozenset[str]]:
    """Names of the initializers that layers multiply with, and of those that they add."""
    floats = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.data_type in FLOAT_TYPES}
    weights, biases, products = set[str](), set[str](), set[str]()
    makers = {name: node for graph in graphs(proto.graph) for node in graph.node for name in node.output}
    for node in (node for graph in graphs(proto.graph) for node in graph.node):
        names = [node.input[at] for at in WEIGHTS.get(node.op_type, ()) if at < len(node.input)]
        found = [[each for each in _sources(name, makers) if _is_weight(each, floats)] for name in names]
        found = [each for each in found if each]
        weights.update(*(found[-1:] if node.op_type == "Gemm" else found))
        layer = read_layer(Node.of(node)) if node.op_type in (*CONVS, "Gemm") else None
        if layer is not None:
            biases.add(layer.bias)
        if node.op_type == "MatMul":
            products.add(node.output[0])
        if node.op_type == "Add" and products & set(node.input):
            biases.update(name for name in node.input if name in floats and len(floats[name].dims) == 1)
    return frozenset(weights), frozenset(biases & floats.keys() - weights)


def _sources(name: str, makers: Mapping[str, Any]) -> set[str]:
    """Where the numbers of a value come from, itself, or what nodes that only move numbers made it of."""
    seen, found = {name}, set()
    for each in (todo := [name]):
        node = makers.get(each)
        if node is None or node.op_type not in MOVES:
            found.add(each)
            continue
        todo += [
            source for source in (node.input if node.op_type == "Concat" else node.input[:1]) if source not in seen
        ]
        seen.update(node.input)
    return found


def _kept(draft: Draft) -> dict[str, tuple[int, str]]:
    """Floats of one dimension and more that are no weights and no biases of layers."""
    readers: dict[str, str] = {}
    for node in draft.graph.node:
        for name in node.input:
            readers.setdefault(name, node.op_type)
        for part in inner_graphs(node):
            readers |= {name: f"inside {node.op_type}" for name in reads(part) if name not in readers}
    whys = {}
    for part in graphs(draft.graph):
        for tensor in part.initializer:
            size = math.prod(tensor.dims)
            if tensor.data_type not in FLOAT_TYPES or not tensor.dims or not size:
                continue
            name, reader = tensor.name, readers.get(tensor.name, "")
            if name in draft.state and name not in draft.weights | draft.biases:
                whys[name] = size, f"read by {reader}, in binary16"
            elif name not in draft.state and reader.startswith("inside"):
                whys[name] = size, reader
            elif name not in draft.state:
                whys[name] = size, f"fewer than {FEW} numbers"
    return whys


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
        if tensor.data_type not in FLOAT_TYPES or not tensor.dims or size == 0:
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
