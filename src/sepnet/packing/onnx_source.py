"""An `.onnx` file as packing wants it: a graph without its weights, batch normalization folded, and the weights by name."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import NetworkError, SepnetError, WeightsError
from sepnet.core.ports import NUMBERS, Port
from sepnet.core.spec import describe
from sepnet.graphs.layers import CONVS, WEIGHTS, read_layer
from sepnet.graphs.onnx_graph import Node
from sepnet.graphs.ports import port_of
from sepnet.networks.onnx_proto import load_proto
from sepnet.packing.fold import drop_defaults, find_norms, fold, graphs, reads, simplify
from sepnet.packing.graph import NORM_PARTS, ExportedGraph, Norm
from sepnet.packing.lift import check_standard, finish, lift_weights
from sepnet.packing.onnx_constants import constants_to_initializers, float_types

__all__ = ["OnnxSource", "read_onnx"]

State = dict[str, npt.NDArray[np.float32]]
FEW = 16
"""Numbers below which a tensor that no layer owns stays in the graph, exactly: scales of Resize, clipping bounds, ..."""


@dataclass(frozen=True)
class OnnxSource:
    """A float network that came as an `.onnx` file.

    Attributes:
        graph: without the weights; what could be folded is folded.
        state: the weights as the graph computes with them, float32, filters first.
        weights: names of the tensors that layers multiply with; the rest are biases and other numbers.
        biases: names of what layers add.
        inputs: what goes in.
        params: learnable numbers.
    """

    graph: ExportedGraph
    state: State
    weights: frozenset[str]
    biases: frozenset[str]
    inputs: tuple[Port, ...]
    params: int

    @property
    def graph_input(self) -> str:
        """Name of the first value that goes in."""
        return self.inputs[0].name

    @property
    def takes_images(self) -> bool:
        """Whether it takes one input of floats, so that images may be it."""
        return [port.of_floats for port in self.inputs] == [True]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example of the one input of floats; () when there are others, or the file leaves sides free."""
        sides = tuple(side for side in (self.inputs[0].shape or ())[1:] if isinstance(side, int))
        return sides if self.takes_images and len(sides) + 1 == len(self.inputs[0].shape or ()) else ()

    @property
    def batch(self) -> int:
        """Examples that the file is fixed to, 0 when that is free."""
        first = (self.inputs[0].shape or (None,))[0]
        return first if isinstance(first, int) else 0


def read_onnx(path: str | os.PathLike[str]) -> OnnxSource:
    """Read a float network; inputs, outputs and their free sides keep their names.

    Weights of MatMul, and of Gemm where they come inputs first, are turned so that filters come first.

    Raises:
        NetworkError: no ONNX file, operators that are not standard, inputs that are no numbers, or no weights.
        WeightsError: NaN or Inf in the weights.  MissingExtraError: onnx is not installed.
    """
    proto = load_proto(path, "packing")
    try:
        return _source(proto, path)
    except SepnetError:
        raise
    except Exception as problem:  # a graph that breaks the rules of ONNX raises almost anything
        raise NetworkError(f"{path} is no graph that follows the rules of ONNX: {describe(problem)}") from problem


def _source(proto: Any, path: str | os.PathLike[str]) -> OnnxSource:
    _check_ends(proto, path)
    check_standard(proto)
    constants_to_initializers(proto)
    _name_norms(proto)
    simplify(proto)
    turned = _turn(proto)
    weights, biases = _roles(proto)
    state = _take(proto, weights | biases, turned)
    if not weights & state.keys():
        raise NetworkError(f"{path} has no layer with float weights; expected convolutions or fully connected layers")
    _check_finite(state, path)
    params = sum(array.size for name, array in state.items() if not name.endswith((".running_mean", ".running_var")))
    names = set(state)
    lift_weights(proto, names)
    norms = tuple(fold(proto, norm) for norm in find_norms(proto, names))
    simplify(proto)
    drop_defaults(proto)
    proto.ir_version = max(proto.ir_version, 4)
    used = finish(proto, names, keep_ends=True)
    data = proto.SerializeToString()
    inputs = tuple(port_of(value.SerializeToString()) for value in proto.graph.input)
    kept = used | {f"{norm.name}.{part}" for norm in norms for part in NORM_PARTS} | {norm.bias for norm in norms}
    norms, state = _folded(norms, {name: array for name, array in state.items() if name in kept})
    graph = ExportedGraph(data, used, norms)
    biases |= {f"{norm.name}.bias" for norm in norms if norm.weight}
    return OnnxSource(graph, state, weights & used, biases & used, inputs, params)


def _check_ends(proto: Any, path: str | os.PathLike[str]) -> None:
    own = {tensor.name for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in own]
    ends = [*inputs, *proto.graph.output]
    for port in (port_of(value.SerializeToString()) for value in ends):
        if port.type and port.type not in NUMBERS:
            raise NetworkError(f"{path} has {port.name} of type {port.type}; expected one of {', '.join(NUMBERS)}")
    for value in ends:
        kind = value.type.WhichOneof("value") or "tensor_type"
        if kind != "tensor_type":
            raise NetworkError(f"{path} has {value.name}, a {kind.removesuffix('_type')}; expected tensors")
    if not inputs:
        raise NetworkError(f"{path} takes nothing; expected one input or more")
    if not proto.graph.output:
        raise NetworkError(f"{path} gives no output")


def _name_norms(proto: Any) -> None:
    """Give the four tensors of each batch normalization the names that folding looks for, and to each its own."""
    graph = proto.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    taken = set(tensors) | {name for node in graph.node for name in (*node.input, *node.output)}
    for at, node in enumerate(node for node in graph.node if node.op_type == "BatchNormalization"):
        own = list(node.input[1:5])
        prefix = own[0].removesuffix(".weight")
        if not all(name in tensors for name in own) or own == [f"{prefix}.{part}" for part in NORM_PARTS]:
            continue
        prefix = _free(f"norm{at}", taken)
        for place, (name, part) in enumerate(zip(own, NORM_PARTS, strict=True), 1):
            copy = graph.initializer.add()
            copy.CopyFrom(tensors[name])
            copy.name = node.input[place] = f"{prefix}.{part}"


def _free(word: str, taken: set[str]) -> str:
    while any(f"{word}.{part}" in taken for part in NORM_PARTS):
        word += "_"
    taken |= {f"{word}.{part}" for part in NORM_PARTS}
    return word


def _turn(proto: Any) -> set[str]:
    """Make the graph take weights of Gemm and MatMul filters first; returns the names of those that have to be turned."""
    import onnx

    graph, found = proto.graph, set()
    read = reads(graph)
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for node in list(graph.node):
        if len(node.input) < 2 or ranks.get(node.input[1]) != 2 or read[node.input[1]] != 1:
            continue
        name = node.input[1]
        if node.op_type == "Gemm" and not any(a.name == "transB" and a.i for a in node.attribute):
            for attribute in [a for a in node.attribute if a.name == "transB"]:
                node.attribute.remove(attribute)
            node.attribute.append(onnx.helper.make_attribute("transB", 1))
            found.add(name)
        elif node.op_type == "MatMul":
            node.input[1] = f"{name}:turned"
            turn = onnx.helper.make_node("Transpose", [name], [f"{name}:turned"], perm=[1, 0])
            graph.node.insert(list(graph.node).index(node), turn)
            found.add(name)
    return found


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


def _check_finite(state: State, path: str | os.PathLike[str]) -> None:
    for name, array in state.items():
        wrong = int((~np.isfinite(array)).sum())
        if wrong:
            raise WeightsError(f"{path}: {name} holds {wrong} NaN or Inf of {array.size} numbers")


def _folded(norms: Sequence[Norm], state: State) -> tuple[tuple[Norm, ...], State]:
    """Norms whose node was folded into a layer, folded into its numbers too."""
    done, numbers = [], dict(state)
    for norm in norms:
        if norm.weight:
            factor, shift = norm.factor_and_shift(state)
            weight = state[norm.weight]
            by_filter = factor.reshape((-1,) + (1,) * (weight.ndim - 1))
            numbers |= {norm.weight: (weight * by_filter).astype(np.float32), f"{norm.name}.bias": shift}
            for name in (norm.bias, *(f"{norm.name}.{part}" for part in NORM_PARTS if part != "bias")):
                numbers.pop(name, None)
        done.append(dataclasses.replace(norm, done=bool(norm.weight)))
    return tuple(done), numbers
