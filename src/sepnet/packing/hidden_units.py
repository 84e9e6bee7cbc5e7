"""Hidden units that reach nothing, and the order of the others: codes change, what the network computes does not.

A hidden unit is an output of a convolution or fully connected layer that only one other such layer reads, perhaps after
activations, pooling and flattening: a row (filter) of the one weight, a number of the bias, and a column (or a block of
columns, one for each position of a flattened map) of the other weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.graphs.layers import LayerNode, read_layer
from sepnet.graphs.onnx_graph import Node, OnnxGraph
from sepnet.packing.graph import ExportedGraph

__all__ = ["HiddenUnits", "arrange", "hidden_units"]

Coded = dict[str, CodedTensor]
Units = Literal["kept", "cleared", "sorted", "dropped"]

_TABLES = frozenset(("sign", "codebook"))
"""Kinds of values whose code 0 may stand for another number than 0."""

_ZERO_STAYS = {"Relu", "LeakyRelu", "Elu", "Selu", "Gelu", "HardSwish", "Tanh", "Identity"}
_ZERO_STAYS |= {"MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"}
_BY_UNIT = _ZERO_STAYS | {"Softplus", "HardSigmoid", "Sigmoid", "Clip"}
"""Operators that compute each unit from itself alone; the first make 0 of a unit that is 0."""


@dataclass(frozen=True)
class HiddenUnits:
    """The units between two layers.

    Attributes:
        weight, bias: state-dict keys of the layer that makes them; "" for no bias.
        reader: that of the weight that reads them.
        units: how many.
        zero_stays: whether a unit that is 0 for every input is 0 where it is read too.
        features: the constant of the graph that says how long the flattened map is; "" if there is none.
    """

    weight: str
    bias: str
    reader: str
    units: int
    zero_stays: bool = True
    features: str = ""


def hidden_units(graph: ExportedGraph, tensors: Mapping[str, CodedTensor]) -> list[HiddenUnits]:
    """Every layer of `graph` whose outputs only one other layer reads, in the graph's order.

    Left out are layers in groups, weights that are used twice, and those that batch normalization is folded into.
    """
    ways = _Ways(OnnxGraph.decode(graph.data))
    normed = {name for norm in graph.norms for name in (norm.weight, norm.bias, f"{norm.name}.bias")}
    once = {name for name in tensors if len(ways.readers.get(name, ())) == 1} - normed - set(graph.tied.values())
    found = []
    for node in ways.graph.nodes:
        made = _layer(node, once)
        way = ways.way(node) if made and (not made.bias or made.bias in once) else None
        read = _layer(way[-1], once) if way else None
        if made is None or way is None or read is None:
            continue
        units, weight = tensors[made.weight].shape[0], tensors[read.weight]
        if weight.shape[1] == units or (not read.is_conv and weight.shape[1] % units == 0 and not _two(weight.scale)):
            stays = all(between.op in _ZERO_STAYS or ways.flattens(between) for between in way[:-1])
            features = next((ways.features(between) for between in way if between.op == "Reshape"), "")
            found.append(HiddenUnits(made.weight, made.bias, read.weight, units, stays, features))
    return found


class _Ways:
    """Who reads what in a graph."""

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self.readers.setdefault(name, []).append(node)
        self.makers = {name: node for node in graph.nodes for name in node.outputs}

    def way(self, node: Node) -> list[Node] | None:
        """The activations, poolings and flattenings after `node`, and what reads them; None if not one node alone does."""
        way: list[Node] = []
        while not way or way[-1].op in _BY_UNIT or self.flattens(way[-1]):
            name = node.outputs[0]
            if len(node.outputs) != 1 or name in self.graph.outputs or len(self.readers.get(name, ())) != 1:
                return None
            node = self.readers[name][0]
            if node.inputs[0] != name:
                return None
            way.append(node)
        return way

    def flattens(self, node: Node) -> bool:
        """Whether all but the first dimension become one: Flatten, or Reshape to (size of the batch, anything)."""
        if node.op == "Flatten":
            return node.integer("axis", 1) == 1
        shape = self.makers.get(node.inputs[1]) if node.op == "Reshape" else None
        if shape is None or shape.op != "Concat" or len(shape.inputs) != 2:
            return False
        first = self.makers.get(shape.inputs[0])
        return first is not None and first.op == "Shape" and (first.integer("start"), first.integer("end")) == (0, 1)

    def features(self, node: Node) -> str:
        """The constant in the shape that a flattening Reshape gives."""
        return self.makers[node.inputs[1]].inputs[1]


def _two(scale: Half | None) -> bool:
    """Whether scales belong to pairs of a filter and an input."""
    return scale is not None and scale.bits.ndim > 1


def _layer(node: Node, weights: set[str]) -> LayerNode | None:
    """A convolution of one group, or x W^T + b, whose weight is in `weights`, filters first."""
    layer = read_layer(node)
    if layer is None or layer.op not in ("Conv", "Gemm") or layer.weight not in weights:
        return None
    return layer if layer.groups == 1 and layer.plain and layer.filters == 0 else None


def arrange(
    graph: ExportedGraph, coded: Iterable[CodedTensor], units: Units
) -> tuple[ExportedGraph, list[CodedTensor]]:
    """Graph and codes of a network that computes the same.

    Args:
        graph: the exported graph.
        coded: every parameter.
        units: `kept` changes nothing.  `cleared`: what leads to a unit that nothing reads (its column is all zero)
            becomes zero too, and so does what reads a unit that is always 0; the outputs are the same to the bit.
            `sorted`: besides, the units of each layer are put in the order of how many weights they have, most first,
            which adaptive codecs like; sums are done in another order, so outputs differ by rounding.
            `dropped`: besides, units that nothing reads are left out; weights and their state dict become smaller.
    """
    tensors = {tensor.name: tensor for tensor in coded}
    between = [] if units == "kept" else hidden_units(graph, tensors)
    for group in between:
        _clear_after(group, tensors)
    for group in reversed(between):
        _clear_before(group, tensors)
    if units in ("sorted", "dropped"):
        for group in between:
            _sort(group, tensors)
    if units == "dropped":
        sizes = {group.features: _drop(group, tensors) for group in between}
        graph = dataclasses.replace(graph, data=_with_sizes(graph.data, sizes))
    return graph, list(tensors.values())


def _clear_after(group: HiddenUnits, tensors: Coded) -> None:
    """Zeros in the columns of units that are 0 whatever the input: their row and bias are."""
    parts = [tensors[name] for name in (group.weight, group.bias) if name]
    reader = tensors[group.reader]
    if not group.zero_stays or any(tensor.values in _TABLES for tensor in (*parts, reader)):
        return
    there = np.any([tensor.codes.reshape(group.units, -1).any(axis=1) for tensor in parts], axis=0)
    codes = _by_unit(group, reader) * there[:, None]
    tensors[group.reader] = dataclasses.replace(reader, codes=codes.reshape(reader.shape))


def _clear_before(group: HiddenUnits, tensors: Coded) -> None:
    """Zeros in the row and the bias of units that nothing reads."""
    if tensors[group.reader].values in _TABLES:
        return
    dead = ~_by_unit(group, tensors[group.reader]).any(axis=(0, 2))
    for name in filter(None, (group.weight, group.bias)):
        if tensors[name].values not in _TABLES:
            codes = tensors[name].codes.copy()
            codes[dead] = 0
            tensors[name] = dataclasses.replace(tensors[name], codes=codes)


def _sort(group: HiddenUnits, tensors: Coded) -> None:
    made, read = tensors[group.weight], tensors[group.reader]
    there = np.count_nonzero(made.codes.reshape(group.units, -1), axis=1)
    there = there + np.count_nonzero(_by_unit(group, read), axis=(0, 2))
    order = np.argsort(-there, kind="stable")
    for name in filter(None, (group.weight, group.bias)):
        tensor = tensors[name]
        tensors[name] = dataclasses.replace(tensor, codes=tensor.codes[order], scale=_in_order(tensor.scale, order, 0))
    codes = np.ascontiguousarray(_by_unit(group, read)[:, order]).reshape(read.shape)
    tensors[group.reader] = dataclasses.replace(read, codes=codes, scale=_in_order(read.scale, order, 1))


def _drop(group: HiddenUnits, tensors: Coded) -> int:
    """Leave out the units that nothing reads, but for one at least; returns how many columns the reader has left."""
    made, read = tensors[group.weight], tensors[group.reader]
    alive = np.flatnonzero(_by_unit(group, read).any(axis=(0, 2)))
    if read.values in _TABLES:
        alive = np.arange(group.units)
    alive = alive if len(alive) else np.zeros(1, np.intp)
    for tensor in (made, *([tensors[group.bias]] if group.bias else [])):
        tensors[tensor.name] = dataclasses.replace(
            tensor, codes=tensor.codes[alive], scale=_in_order(tensor.scale, alive, 0)
        )
    codes = _by_unit(group, read)[:, alive]
    kernel = read.shape[2:] if len(read.shape) > 2 else ()
    codes = np.ascontiguousarray(codes).reshape(read.shape[0], -1, *kernel)
    tensors[group.reader] = dataclasses.replace(read, codes=codes, scale=_in_order(read.scale, alive, 1))
    return int(codes.shape[1])


def _with_sizes(graph: bytes, sizes: Mapping[str, int]) -> bytes:
    """The graph with other values of its constants of one number."""
    import onnx

    proto = onnx.ModelProto.FromString(graph)
    for constant in proto.graph.initializer:
        if sizes.get(constant.name):
            changed = onnx.numpy_helper.from_array(np.array([sizes[constant.name]], np.int64), constant.name)
            constant.CopyFrom(changed)
    return bytes(proto.SerializeToString())


def _by_unit(group: HiddenUnits, reader: CodedTensor) -> npt.NDArray[np.int64]:
    """Codes of the reader's weight as (filters, units, positions or kernel)."""
    return reader.codes.reshape(reader.shape[0], group.units, -1)


def _in_order(scale: Half | None, order: npt.NDArray[np.intp], axis: int) -> Half | None:
    """Scales a filter (axis 0) or a kernel (axis 1) in the order of the units that they belong to."""
    if scale is None or scale.bits.ndim <= axis:
        return scale
    return Half(np.take(scale.bits, order, axis=axis), scale.exponent)
