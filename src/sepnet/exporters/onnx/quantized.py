"""Which values of a graph are quantized, and which layers get int8 weights.

Activations are uint8, one scale and zero point a value; weights int8, a scale a filter; biases int32.  A runtime that knows the
pattern DequantizeLinear - operator - QuantizeLinear computes it in integers.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sepnet.exporters.onnx.weights import Weight
from sepnet.graphs.layers import read_layer, views
from sepnet.graphs.onnx_graph import Node, OnnxGraph

__all__ = ["IntegerLayer", "Scaled", "find_integer_layers", "live_values", "quantized_values"]

JOINING = {"Add", "Mul", "Concat", "AveragePool", "GlobalAveragePool"}
"""Operators that runtimes compute in integers, besides the layers."""
MOVING = {"MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "Slice"}
"""Operators that give numbers they were given: scale and zero point go through."""
CLIPPING = {"Relu", "Clip"}
"""Operators that become part of the one before them: what is between is not quantized."""

Range = tuple[float, float]


@dataclass(frozen=True)
class Scaled:
    """How a value is uint8: number = (code - zero) * scale."""

    scale: np.float32
    zero: np.uint8

    @classmethod
    def over(cls, span: Range) -> Scaled:
        """From the low end, at most 0, to the high one, at least 0.

        >>> Scaled.over((-1.0, 4.1)).zero
        np.uint8(50)
        """
        low, high = span
        scale = np.float32((high - low) / 255)
        if not np.isfinite(scale) or scale < 2.0**-100:
            return cls(np.float32(1), np.uint8(0))
        return cls(scale, np.uint8(np.clip(round(-low / float(scale)), 0, 255)))


@dataclass(frozen=True)
class IntegerLayer:
    """A layer that gets an int8 weight.

    Attributes:
        weight: name of the weight; filters are along its `axis`.
        bias: name of what the layer adds, "" when it has none, or none that can be int32.
        turned: what the weight goes through before the layer, if it does.
    """

    weight: str
    axis: int
    bias: str = ""
    turned: Node | None = None


def find_integer_layers(graph: OnnxGraph, weights: Mapping[str, Weight], live: set[str]) -> dict[int, IntegerLayer]:
    """Convolutions and fully connected layers whose weight is stored and whose input is one of `live`, by their node."""
    turns = {
        name: node
        for name, node in views(graph.nodes, "Transpose").items()
        if node.inputs[0] in weights and node.integers("perm") in ((), (1, 0))
    }
    found = {}
    for at, node in enumerate(graph.nodes):
        layer = read_layer(node)
        if layer is None or layer.op not in ("Conv", "Gemm", "MatMul") or not layer.plain or layer.input not in live:
            continue
        turned = turns.get(layer.weight)
        name = turned.inputs[0] if turned else layer.weight
        if name not in weights or weights[name].numbers.dtype != np.float32:
            continue
        numbers = weights[name].numbers
        if not layer.is_conv and numbers.ndim != 2:
            continue
        axis = 1 - layer.filters if turned else layer.filters
        fits = layer.bias in weights and weights[layer.bias].numbers.shape == (numbers.shape[axis],)
        found[at] = IntegerLayer(name, axis, layer.bias if fits else "", turned)
    axes = {(layer.weight, layer.axis) for layer in found.values()}
    shared = Counter(name for name, _ in axes)
    return {at: layer for at, layer in found.items() if shared[layer.weight] == 1}


def live_values(graph: OnnxGraph) -> set[str]:
    """Names of the values that depend on the graph's input."""
    live = set(graph.inputs)
    for node in graph.nodes:
        if live.intersection(node.reads):
            live.update(node.outputs)
    return live


def quantized_values(
    graph: OnnxGraph, layers: Mapping[int, IntegerLayer], ranges: Mapping[str, Range]
) -> dict[str, Scaled]:
    """The values that are quantized: what goes into layers and joining operators, and what convolutions and those give."""
    live = live_values(graph) & ranges.keys()
    readers: dict[str, list[Node]] = defaultdict(list)
    for node in graph.nodes:
        for name in set(node.reads):
            readers[name].append(node)

    def end(name: str) -> str:
        """The value behind a clipping operator that alone reads `name`."""
        if name in graph.outputs or [node.op in CLIPPING for node in readers[name]] != [True]:
            return name
        return readers[name][0].outputs[0]

    wanted: set[str] = set()
    for at, node in enumerate(graph.nodes):
        if at in layers:
            wanted.add(node.inputs[0])
            if node.op == "Conv":
                wanted.add(end(node.outputs[0]))
        elif node.op in JOINING and set(node.inputs) <= live:
            wanted |= {*node.inputs, end(node.outputs[0])}
    wanted &= live
    found = {name: Scaled.over(ranges[name]) for name in wanted}
    for node in graph.nodes:
        if node.op in MOVING and node.inputs[0] in found and node.outputs[0] in live:
            found[node.outputs[0]] = found[node.inputs[0]]
    return found
