"""A packed model to the bytes of an ONNX file, and what each of its parts takes there."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from sepnet.core.errors import MissingExtraError, NetworkError, brief
from sepnet.core.exporter import ExportRow
from sepnet.core.packed_model import PackedModel
from sepnet.exporters.onnx.builder import Builder
from sepnet.exporters.onnx.pairs import ACTIVATIONS, PairedLayer, Pairs
from sepnet.exporters.onnx.quantized import find_integer_layers, live_values, quantized_values
from sepnet.exporters.onnx.weights import IntegerKind, Weight, float_ways
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.packing.restore import coded_tensors, onnx_model, state_dict
from sepnet.runtimes.activation_ranges import Range

__all__ = ["OPSET", "OnnxNetwork"]

OPSET = 18
"""Least version of the operators for all but plain float32."""


@dataclass(frozen=True)
class Written:
    """A graph as a file holds it.

    Attributes:
        build: what was added to it, for the ledger.
        layers: those of integer weights, in the order of their nodes.
    """

    graph: OnnxGraph
    build: Builder
    layers: tuple[PairedLayer, ...]

    def types(self) -> dict[str, str]:
        """The type in which the file holds the weight and bias of each such layer, by name."""
        weights = {layer.weight: layer.integer.zero.dtype.name for layer in self.layers}
        return weights | {layer.bias: "int32" for layer in self.layers if layer.bias}


@dataclass(frozen=True)
class OnnxNetwork:
    """The graph of a packed model, and the tensors that it reads.

    Attributes:
        graph: its nodes read tied tensors by their first names.
        weights: float32 and int64, by name.
        aliases: second names that graphs inside nodes still read.
    """

    graph: OnnxGraph
    weights: Mapping[str, Weight]
    aliases: Mapping[str, str]

    @classmethod
    def of(cls, model: PackedModel, least_opset: int = 0) -> OnnxNetwork:
        """Raises `FormatError` for a file of weights alone; see `_raised` for graphs of an older opset."""
        whole = onnx_model(model)
        graph = OnnxGraph.decode(model.graph)
        if graph.opset < least_opset:
            graph = _raised(whole, graph, least_opset)
        aliases = model.header.aliases
        nodes = tuple(
            replace(node, inputs=tuple(aliases.get(name, name) for name in node.inputs)) for node in graph.nodes
        )
        used = {name for node in nodes for name in node.reads} | set(graph.outputs)
        coded = {tensor.name: tensor for tensor in coded_tensors(model)}
        state = state_dict(model)
        inner = {name: first for name, first in aliases.items() if name in used}
        names = [name for name in state if (name in used or name in inner.values()) and name not in aliases]
        weights = {name: Weight(state[name], coded.get(name)) for name in names}
        own = {name: array for name, array in graph.initializers.items() if name not in state}
        return cls(graph.changed(nodes, own), weights, inner)

    @property
    def batch(self) -> int:
        """Examples that the graph is fixed to, 0 when that is free."""
        return self.graph.batch

    def encode(
        self, packed: bool, ranges: Mapping[str, Range] | None = None, kinds: Mapping[str, IntegerKind] | None = None
    ) -> tuple[bytes, tuple[ExportRow, ...]]:
        """The file, and its ledger.

        Args:
            packed: in the way of fewest bytes, or as they are.
            ranges: of activations, which then are uint8; None leaves them float32.
            kinds: with `ranges`, how the weights of layers are held, by name; int8 where nothing else is said.
        """
        written = self.written(packed, ranges, kinds)
        data = written.graph.encode()
        return data, self._ledger(written, len(data))

    def written(
        self, packed: bool, ranges: Mapping[str, Range] | None = None, kinds: Mapping[str, IntegerKind] | None = None
    ) -> Written:
        """The graph of the file, see `encode`."""
        graph, nodes = self.graph, list(self.graph.nodes)
        layers: Sequence[PairedLayer] = ()
        known = {name for node in nodes for name in (*node.reads, *node.outputs)}
        build = Builder({*known, *graph.initializers, *graph.inputs, *graph.outputs, *self.weights, *self.aliases})
        if ranges is not None:
            found = find_integer_layers(graph, self.weights, live_values(graph) & ranges.keys())
            values = quantized_values(graph, found, ranges)
            pairs = Pairs(build, graph, found, values, weights=self.weights, packed=packed, kinds=kinds or {})
            layers = pairs.layers
            turned = {layer.turned.outputs[0] for layer in found.values() if layer.turned}
            unread = turned - {name for node in pairs.nodes for name in node.reads}
            nodes = [node for node in pairs.nodes if node.outputs[0] not in unread]
        read = {name for node in nodes for name in node.reads} | {*graph.outputs, *self.aliases.values()}
        for build.part, weight in self.weights.items():
            if build.part in read:
                value = build.smallest(float_ways(weight) if packed else itertools.islice(float_ways(weight), 1))
                build.call(value, build.part)
        for alias, first in self.aliases.items():
            build.add("Identity", first, name=alias)
        whole = graph.changed((*build.nodes, *nodes), {**graph.initializers, **build.initializers})
        return Written(whole, build, tuple(layers))

    def _ledger(self, written: Written, whole: int) -> tuple[ExportRow, ...]:
        sizes: dict[str, int] = defaultdict(int)
        kinds: dict[str, set[str]] = defaultdict(set)
        for part, kind, size in written.build.pieces():
            sizes[part] += size
            kinds[part].add(kind)
        types = written.types()
        shapes = {name: self.weights[name].numbers.shape if name in self.weights else () for name in sizes}
        hows = {name: _how(kinds[name], types.get(name)) for name in sizes} | {ACTIVATIONS: "scales, zero points"}
        rows = [ExportRow(name, shapes[name], hows[name], size) for name, size in sizes.items()]
        return (*rows, ExportRow("graph", (), "", whole - sum(sizes.values())))


def _how(kinds: set[str], kind: str | None) -> str:
    """How a tensor is written, by the operators and initializers that it takes, and its type if that is known."""
    words = {"ScatterElements": "gaps", "Where": "one of two", "Gather": "codes", "BitwiseAnd": "in bits"}
    found = ["bitmap"] if "CumSum" in kinds and "ScatterElements" not in kinds else []
    found += ["one number"] if kinds <= {"Expand", "int64", "float32", "int8"} and "Expand" in kinds else []
    found += [word for key, word in words.items() if key in kinds]
    if kind is not None and (found or kind in kinds):
        return ", ".join([kind, *found])
    types = [each for each in ("float16", "float32", "int8", "uint8", "int16", "int32", "int64") if each in kinds]
    return ", ".join(found) or (types[0] if types else "")


def _raised(whole: bytes, graph: OnnxGraph, opset: int) -> OnnxGraph:
    """The graph with newer operators, by the onnx package."""
    try:
        import onnx
        from onnx import version_converter
    except ImportError as error:
        raise MissingExtraError(
            f"exporting a graph of ONNX opset {graph.opset} in this form", "onnx", "onnx"
        ) from error
    try:
        converted = version_converter.convert_version(onnx.load_from_string(whole), opset)
    except Exception as error:  # the converter raises almost anything
        reason = brief(error)
        raise NetworkError(
            f"the graph is of ONNX opset {graph.opset} and cannot be brought to {opset}; --form float takes it as it is: {reason}"
        ) from error
    return OnnxGraph.decode(converted.SerializeToString())
