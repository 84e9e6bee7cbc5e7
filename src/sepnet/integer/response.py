"""Local response normalization: found again in a graph as the nodes that torch's exporter makes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sepnet.graphs.onnx_graph import Node, attribute
from sepnet.integer.graph_values import Array, GraphValues
from sepnet.integer.operators.response import Response

__all__ = ["collapse", "response"]

_VIEWS = ("Reshape", "Squeeze", "Unsqueeze")


def collapse(nodes: Sequence[Node], outputs: Sequence[str], constants: Mapping[str, object]) -> list[Node]:
    """Nodes with one LRN for each x / (bias + alpha * mean of x^2 over a window of channels)^beta, without what nobody reads.

    The mean is an AveragePool of three dimensions over zeros and x^2 as one map, channels first.

    >>> collapse([Node("Relu", ("x",), ("y",)), Node("Neg", ("x",), ("z",))], ["y"], {})
    [Node(op='Relu', inputs=('x',), outputs=('y',), attributes=(), domain='')]
    """
    makers = {name: node for node in nodes for name in node.outputs}
    alive = set(outputs)
    kept: list[Node] = []
    for node in reversed(nodes):
        if alive.isdisjoint(node.outputs):
            continue
        found = _Search(makers, constants).lrn(node) if node.op == "Div" else None
        kept.append(found or node)
        alive.update(kept[-1].inputs)
    return kept[::-1]


class _Search:
    """Goes from a Div back to what it divides."""

    def __init__(self, makers: Mapping[str, Node], constants: Mapping[str, object]) -> None:
        self._makers, self._constants = makers, constants

    def lrn(self, divide: Node) -> Node | None:
        """The LRN that a Div ends; None if it ends none."""
        try:
            value, beta = self._with_number(self._made_by(divide.inputs[1], "Pow"))
            value, bias = self._with_number(self._made_by(value, "Add"))
            value, alpha = self._with_number(self._made_by(value, "Mul"))
            pool = self._made_by(self._behind_views(value), "AveragePool")
            zeros = self._made_by(pool.inputs[0], "Pad")
            size, channels = self._window(pool, zeros)
            square = self._made_by(self._behind_views(zeros.inputs[0]), "Mul")
            numbers = {"size": size, "alpha": alpha, "beta": beta, "bias": bias, "channels": channels}
            attributes = tuple(attribute(*each) for each in numbers.items())
        except (LookupError, ValueError, OverflowError):
            return None
        if set(square.inputs) != {divide.inputs[0]}:
            return None
        return Node("LRN", divide.inputs[:1], divide.outputs, attributes)

    def _made_by(self, value: str, op: str) -> Node:
        node = self._makers[value]
        if node.op != op:
            raise LookupError(value)
        return node

    def _behind_views(self, value: str) -> str:
        while value in self._makers and self._makers[value].op in _VIEWS:
            value = self._makers[value].inputs[0]
        return value

    def _numbers(self, name: str) -> Array:
        found = self._constants.get(name)
        if not isinstance(found, np.ndarray):
            raise LookupError(name)
        return found.ravel()

    def _with_number(self, node: Node) -> tuple[str, float]:
        """What a node works on, and its constant."""
        for value, constant in (node.inputs[:2], node.inputs[1::-1]):
            if value in self._makers and constant in self._constants and self._numbers(constant).size == 1:
                return value, float(self._numbers(constant)[0])
        raise LookupError(node.op)

    def _window(self, pool: Node, zeros: Node) -> tuple[int, int]:
        """Channels of a window, and all of them."""
        size, *flat = pool.integers("kernel_shape")
        half = (size - 1) // 2
        pads = [0, 0, half, 0, 0, 0, 0, half, 0, 0]
        moves = {*pool.integers("strides"), *pool.integers("dilations")}
        if flat != [1, 1] or size % 2 == 0 or moves > {1} or any(pool.integers("pads")) or len(zeros.inputs) > 2:
            raise LookupError(pool.op)
        if self._numbers(zeros.inputs[1]).tolist() != pads or zeros.text("mode", "constant") != "constant":
            raise LookupError(zeros.op)
        sides = self._made_by(self._made_by(zeros.inputs[0], "Reshape").inputs[1], "Concat").inputs
        one, channels = (int(self._numbers(name)[0]) for name in sides[1:3])
        if one != 1:
            raise LookupError(zeros.op)
        return size, channels


def response(values: GraphValues, node: Node) -> None:
    """LRN."""
    ref = values.map_of(node)
    shape = values.shapes[ref.name]
    size, alpha = node.integer("size"), node.number("alpha", 1e-4)
    beta, bias = node.number("beta", 0.75), node.number("bias", 1.0)
    if node.integer("channels", shape[0]) != shape[0] or min(alpha, beta) < 0 or bias <= 0 or not 0 < size <= 255:
        raise values.unsupported(node, f"size {size}, alpha {alpha:g}, beta {beta:g}, bias {bias:g} of {list(shape)}")
    values.give(node, Response(ref.name, node.outputs[0], size, alpha, beta, bias), shape, ref.view)
