"""What is known of a graph's values while it is traced: maps with their sizes, constants, weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.errors import NetworkError
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.onnx_graph import Node, OnnxGraph
from sepnet.integer.drafts import Draft
from sepnet.integer.weights import integers_of, quantized
from sepnet.packing.restore import coded_tensors, state_dict

__all__ = ["Array", "GraphValues", "Ref", "Shape"]

Shape = tuple[int, int, int]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Ref:
    """A value of the graph: which map it is, and its sides without the batch (a flattened map is still that map)."""

    name: str
    sides: tuple[int, ...]


class GraphValues:
    """What is known of the values of a graph while its nodes are gone through.

    Attributes:
        graph: the graph.
        known: a `Ref` or an array for every name so far.
        shapes: of maps, by name.
        drafts: operators so far.
        layer: the last layer's weight, for messages.
    """

    def __init__(self, model: PackedModel, shape: Shape) -> None:
        self.graph = OnnxGraph.decode(model.graph)
        self.coded: dict[str, CodedTensor] = {each.name: each for each in coded_tensors(model)}
        self.coded |= {alias: self.coded[first] for alias, first in model.header.aliases.items() if first in self.coded}
        if len(self.graph.inputs) != 1 or not self.graph.outputs:
            raise NetworkError(f"the network has {len(self.graph.inputs)} inputs; in integers it can have one")
        self.known: dict[str, Ref | Array] = {**state_dict(model), **self.graph.initializers}
        self.known[self.graph.inputs[0]] = Ref(self.graph.inputs[0], shape)
        self.shapes: dict[str, Shape] = {self.graph.inputs[0]: shape}
        self.drafts: list[Draft] = []
        self.layer = ""

    def unsupported(self, node: Node, reason: str) -> NetworkError:
        """The error that says which operator cannot be done, after which layer, and why."""
        where = f" after layer {self.layer!r}" if self.layer else ""
        return NetworkError(
            f"operator {node.op} (value {node.outputs[0]!r}{where}) has no integer form here{f': {reason}' if reason else ''}; "
            "docs/c99.md lists those that have one"
        )

    # What nodes read

    def ref(self, node: Node, at: int = 0) -> Ref:
        """An input that depends on the network's."""
        value = self.known.get(node.inputs[at]) if at < len(node.inputs) else None
        if not isinstance(value, Ref):
            raise self.unsupported(node, f"input {at} does not depend on the network's input")
        return value

    def map_of(self, node: Node, at: int = 0) -> Ref:
        """The same, of a map that is not flattened."""
        ref = self.ref(node, at)
        if self.flat(ref) or len(ref.sides) not in (1, 3):
            raise self.unsupported(node, f"it works on a value of shape {list(ref.sides)}")
        return ref

    def flat(self, ref: Ref) -> bool:
        """Whether it is a map made a vector, channels first, with more than one place a channel."""
        shape = self.shapes[ref.name]
        return ref.sides != shape and shape[1] * shape[2] > 1

    def constant(self, node: Node, at: int) -> Array | None:
        """A constant input; None where it is left out."""
        if at >= len(node.inputs) or not node.inputs[at]:
            return None
        value = self.known.get(node.inputs[at])
        if not isinstance(value, np.ndarray):
            raise self.unsupported(node, f"its input {at} is not constant")
        return value

    def given(self, node: Node, at: int) -> Array:
        """A constant input that must not be left out."""
        value = self.constant(node, at)
        if value is None:
            raise self.unsupported(node, f"found no input {at}; expected a constant")
        return value

    def weight(self, node: Node, at: int, turned: bool = False) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
        """A weight and the scales of its filters; `turned` when filters are its columns."""
        coded = self.coded.get(node.inputs[at])
        if coded is not None and not turned:
            return integers_of(coded)
        weight = self.given(node, at)
        return quantized(weight.T if turned else weight)

    # What nodes give

    def give(self, node: Node, draft: Draft, shape: Shape, sides: tuple[int, ...] | None = None) -> None:
        """Notes an operator, and its output's shape; `sides` are what the graph says of it, if that is something else."""
        if min(shape) < 1:
            raise self.unsupported(node, f"its output would have the shape {list(shape)}")
        self.drafts.append(draft)
        self.shapes[draft.target] = shape
        self.known[draft.target] = Ref(draft.target, shape if sides is None else sides)
