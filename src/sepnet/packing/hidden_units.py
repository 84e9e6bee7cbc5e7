"""Hidden units that reach nothing, and the order of the others: codes change, what the network computes does not.

A hidden unit is an output of a convolution or fully connected layer that only one other such layer reads, perhaps after
activations, pooling and flattening: a row (filter) of the one weight, a number of the bias, and a column (or a block of
columns, one for each position of a flattened map) of the other weight.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.packing.graph import ExportedGraph

__all__ = ["HiddenUnits", "arrange", "hidden_units"]

Coded = dict[str, CodedTensor]

_BY_UNIT = frozenset(
    [
        "Relu",
        "LeakyRelu",
        "Elu",
        "Selu",
        "Gelu",
        "Softplus",
        "HardSwish",
        "HardSigmoid",
        "Sigmoid",
        "Tanh",
        "Clip",
        "Identity",
        "MaxPool",
        "AveragePool",
        "GlobalAveragePool",
        "GlobalMaxPool",
    ]
)
"""Operators that compute each unit from itself alone and look at no other input that has units."""


@dataclass(frozen=True)
class HiddenUnits:
    """The units between two layers.

    Attributes:
        weight, bias: state-dict keys of the layer that makes them; "" for no bias.
        reader: that of the weight that reads them.
        units: how many.
    """

    weight: str
    bias: str
    reader: str
    units: int


def hidden_units(graph: ExportedGraph, tensors: Mapping[str, CodedTensor]) -> list[HiddenUnits]:
    """Every layer of `graph` whose outputs only one other layer reads, in the graph's order.

    Left out are layers in groups, weights that are used twice, and those that batch normalization is folded into.
    """
    import onnx

    proto = onnx.ModelProto.FromString(graph.data).graph
    ways = _Ways(proto)
    normed = {name for norm in graph.norms for name in (norm.weight, norm.bias, f"{norm.name}.bias")}
    once = {name for name in tensors if len(ways.readers.get(name, ())) == 1} - normed - set(graph.tied.values())
    found = []
    for node in proto.node:
        bias = node.input[2] if len(node.input) > 2 else ""
        reader = ways.reader(node) if _is_layer(node, once) and (not bias or bias in once) else None
        if reader is None or not _is_layer(reader, once):
            continue
        units, read = tensors[node.input[1]].shape[0], tensors[reader.input[1]]
        if read.shape[1] == units or (reader.op_type == "Gemm" and read.shape[1] % units == 0 and not _two(read.scale)):
            found.append(HiddenUnits(node.input[1], bias, reader.input[1], units))
    return found


class _Ways:
    """Who reads what in a graph."""

    def __init__(self, proto: Any) -> None:
        self.readers: dict[str, list[Any]] = {}
        for node in proto.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.makers = {name: node for node in proto.node for name in node.output}
        self.outputs = {value.name for value in proto.output}

    def reader(self, node: Any) -> Any:
        """The node that is no activation, pooling or flattening and alone reads what `node` makes; None if there is none."""
        while True:
            if (
                len(node.output) != 1
                or node.output[0] in self.outputs
                or len(self.readers.get(node.output[0], ())) != 1
            ):
                return None
            name, node = node.output[0], self.readers[node.output[0]][0]
            if node.input[0] != name:
                return None
            if node.op_type not in _BY_UNIT and not self._flattens(node):
                return node

    def _flattens(self, node: Any) -> bool:
        """Whether all but the first dimension become one: Flatten, or Reshape to (size of the batch, anything)."""
        if node.op_type == "Flatten":
            return _option(node, "axis", 1) == 1
        shape = self.makers.get(node.input[1]) if node.op_type == "Reshape" else None
        if shape is None or shape.op_type != "Concat" or len(shape.input) != 2:
            return False
        first = self.makers.get(shape.input[0])
        return (
            first is not None
            and first.op_type == "Shape"
            and (_option(first, "start", 0), _option(first, "end", 0)) == (0, 1)
        )


def _option(node: Any, name: str, default: int) -> int:
    return next((int(attribute.i) for attribute in node.attribute if attribute.name == name), default)


def _two(scale: Half | None) -> bool:
    """Whether scales belong to pairs of a filter and an input."""
    return scale is not None and scale.bits.ndim > 1


def _is_layer(node: Any, weights: set[str]) -> bool:
    """Whether it is a convolution of one group, or x W^T + b, whose weight is in `weights`, filters first."""
    if len(node.input) < 2 or node.input[1] not in weights:
        return False
    if node.op_type == "Conv":
        return _option(node, "group", 1) == 1
    plain = all(attribute.f == 1.0 for attribute in node.attribute if attribute.name in ("alpha", "beta"))
    return bool(node.op_type == "Gemm" and plain and not _option(node, "transA", 0) and _option(node, "transB", 0))


def arrange(
    graph: ExportedGraph, coded: Iterable[CodedTensor], units: Literal["kept", "cleared", "sorted"]
) -> list[CodedTensor]:
    """Codes of a network that computes the same.

    Args:
        graph: the exported graph.
        coded: every parameter.
        units: `kept` changes nothing.  `cleared`: what leads to a unit that nothing reads (its column is all zero)
            becomes zero too, and so does what leads only there; the outputs are the same to the bit.
            `sorted`: besides, the units of each layer are put in the order of how many weights they have, most first,
            which adaptive codecs like; sums are done in another order, so outputs differ by rounding.
    """
    tensors = {tensor.name: tensor for tensor in coded}
    if units == "kept":
        return list(tensors.values())
    between = hidden_units(graph, tensors)
    for group in reversed(between):
        _clear(group, tensors)
    if units == "sorted":
        for group in between:
            _sort(group, tensors)
    return list(tensors.values())


def _clear(group: HiddenUnits, tensors: Coded) -> None:
    dead = ~_by_unit(group, tensors[group.reader]).any(axis=(0, 2))
    for name in filter(None, (group.weight, group.bias)):
        if tensors[name].values not in ("sign", "codebook"):  # whose code 0 may stand for another number
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


def _by_unit(group: HiddenUnits, reader: CodedTensor) -> npt.NDArray[np.int64]:
    """Codes of the reader's weight as (filters, units, positions or kernel)."""
    return reader.codes.reshape(reader.shape[0], group.units, -1)


def _in_order(scale: Half | None, order: npt.NDArray[np.intp], axis: int) -> Half | None:
    """Scales a filter (axis 0) or a kernel (axis 1) in the order of the units that they belong to."""
    if scale is None or scale.bits.ndim <= axis:
        return scale
    return Half(np.take(scale.bits, order, axis=axis), scale.exponent)
