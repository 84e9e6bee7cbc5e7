"""QuantizeLinear and DequantizeLinear in pairs around the values and before the weights that are quantized."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.exporters.onnx.builder import Builder, Way
from sepnet.exporters.onnx.quantized import IntegerLayer, Scaled
from sepnet.exporters.onnx.weights import (
    IntegerKind,
    IntegerWeight,
    Weight,
    float_ways,
    integer_ways,
    integer_weight,
    numbers_ways,
    weight_ways,
)
from sepnet.graphs.onnx_graph import Node, OnnxGraph

__all__ = ["ACTIVATIONS", "PairedLayer", "Pairs"]

ACTIVATIONS = "activations"
"""The part of the ledger for their scales."""
MOST_BIAS = np.float32(2.0**30)


@dataclass(frozen=True)
class PairedLayer:
    """A layer of integer weights as it was written.

    Attributes:
        weight, axis: the name of its weight, which lies in the file as `integer`, and the axis of the filters.
        bias: the name of what it adds as int32, "" for none.
        code: name of the uint8 value that goes in, of zero point and scale `scaled`.
        node: its own node, which gives float32 and reads that value through a DequantizeLinear.
    """

    weight: str
    axis: int
    bias: str
    integer: IntegerWeight
    code: str
    scaled: Scaled
    node: Node


class Pairs:
    """The graph's nodes with a pair behind each of `values`, and `layers` that read integer weights.

    Args:
        build: what can be computed from constants goes there.
        graph, layers, values, weights: see `sepnet.exporters.onnx.quantized`.
        packed: in the way of fewest bytes, or plain.
        kinds: how weights are held, by name; int8 where nothing else is said.

    Attributes:
        nodes: of the new graph.
        layers: what became of the layers, in the order of their nodes.
    """

    def __init__(
        self,
        build: Builder,
        graph: OnnxGraph,
        layers: Mapping[int, IntegerLayer],
        values: Mapping[str, Scaled],
        *,
        weights: Mapping[str, Weight],
        packed: bool,
        kinds: Mapping[str, IntegerKind],
    ) -> None:
        self.nodes: list[Node] = []
        self.layers: list[PairedLayer] = []
        self._build, self._weights, self._packed = build, weights, packed
        self._scaled = {at: values[graph.nodes[at].inputs[0]] for at in layers}
        self._code_of: dict[str, str] = {}
        integers = self._integers(layers, kinds)
        codes = {}
        for build.part, integer in integers.items():
            codes[build.part] = self._best(weight_ways(integer))
        build.part = ACTIVATIONS
        inputs = {name: self._pair(name, "", values[name]) for name in graph.inputs if name in values}
        for at, node in enumerate(graph.nodes):
            if at in layers:
                name = layers[at].weight
                node = self._layer(node, layers[at], integer=integers[name], codes=codes[name], scaled=self._scaled[at])
            node = replace(node, inputs=tuple(inputs.get(name, name) for name in node.inputs))
            build.part, first = ACTIVATIONS, node.outputs[0]
            raw = build.name() if first in values else first
            node = replace(node, outputs=(raw, *node.outputs[1:]))
            self.nodes.append(node)
            if at in layers:
                name, code = layers[at].weight, self._code_of[node.inputs[0]]
                given = (name, layers[at].axis, layers[at].bias, integers[name], code, self._scaled[at], node)
                self.layers.append(PairedLayer(*given))
            if first in values:
                self._pair(raw, first, values[first])

    def _best(self, ways: Iterable[Way]) -> str:
        return self._build.smallest(ways if self._packed else itertools.islice(ways, 1))

    def _pair(self, value: str, name: str, scaled: Scaled) -> str:
        """Nodes that make `value` uint8 and float32 again; returns the name of the latter."""
        given = (self._build.constant(scaled.scale), self._build.constant(scaled.zero))
        code, name = self._build.name(), name or self._build.name()
        self.nodes.append(Node("QuantizeLinear", (value, *given), (code,)))
        self.nodes.append(Node("DequantizeLinear", (code, *given), (name,)))
        self._code_of[name] = code
        return name

    def _integers(
        self, layers: Mapping[int, IntegerLayer], kinds: Mapping[str, IntegerKind]
    ) -> dict[str, IntegerWeight]:
        """Codes of each weight, for all layers that read it."""
        least: dict[str, npt.NDArray[np.float32]] = {}
        axes = {layer.weight: layer.axis for layer in layers.values()}
        for at, layer in layers.items():
            need: npt.NDArray[Any] = np.zeros(1, np.float32)
            if layer.bias:
                need = np.abs(self._weights[layer.bias].numbers) / (MOST_BIAS * self._scaled[at].scale)
            least[layer.weight] = np.maximum(least.get(layer.weight, need), need).astype(np.float32)
        return {
            name: integer_weight(self._weights[name], axes[name], need, kinds.get(name, "int8"))
            for name, need in least.items()
        }

    def _layer(self, node: Node, layer: IntegerLayer, *, integer: IntegerWeight, codes: str, scaled: Scaled) -> Node:
        build, axis = self._build, layer.axis
        build.part = layer.weight
        if layer.turned:
            codes, axis = build.add("Transpose", codes, perm=(1, 0)), 1 - axis
        scale = self._best(numbers_ways(integer.scale, integer.exponent))
        zero = self._best(integer_ways(integer.zero))  # without one, runtimes fuse no Gemm
        inputs = (node.inputs[0], build.add("DequantizeLinear", codes, scale, zero, axis=axis), *node.inputs[2:])
        if not layer.bias:
            return replace(node, inputs=inputs)
        build.part = layer.bias
        bias = self._bias(self._weights[layer.bias], integer.scale * scaled.scale, scale, scaled)
        return replace(node, inputs=(*inputs[:2], bias))

    def _bias(self, bias: Weight, steps: npt.NDArray[np.float32], scale: str, scaled: Scaled) -> str:
        """int32 codes of scale s(input) * s(weight): as they are, or computed from the floats that the file holds."""
        rounded = np.round(bias.numbers / steps).astype(np.int32)
        step = self._best(
            [lambda build: build.constant(steps), lambda build: build.add("Mul", scale, build.constant(scaled.scale))]
        )

        def computed(build: Builder) -> str:
            floats = build.smallest(float_ways(bias))
            return build.cast(build.add("Round", build.add("Div", floats, step)), np.int32)

        codes = self._best([lambda build: build.constant(rounded), computed])
        return self._build.add("DequantizeLinear", codes, step, axis=0)
