"""Runs a graph as int8 kernels of x86 processors without VNNI compute it, see `sepnet.exporters.onnx.saturation`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.exporters.onnx.pairs import PairedLayer
from sepnet.exporters.onnx.quantized import live_values
from sepnet.exporters.onnx.saturation import can_saturate, excess
from sepnet.graphs.onnx_graph import Node, OnnxGraph
from sepnet.graphs.wire import ELEMENT_TYPES, number_field
from sepnet.graphs.wire import field as bytes_field
from sepnet.runtimes.session import Session

__all__ = ["SaturatingRun"]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]


@dataclass
class SaturatingRun:
    """Runs a graph of pairs as such kernels do: in floats, but for the sums that leave 16 bits.

    The graph is run in parts without optimizations, each up to a layer that can saturate; what its sums lose is taken off the
    layer's output, and the next part goes on from there.

    Args:
        graph: with plain weights.
        layers: of it.

    Attributes:
        signal, lost: of each such layer that was run, by the name of its weight: sums of squares of its outputs, and of what
            saturation changed in them.
    """

    graph: OnnxGraph
    layers: Sequence[PairedLayer]
    signal: dict[str, float] = field(default_factory=dict)
    lost: dict[str, float] = field(default_factory=dict)
    _parts: list[_Part] = field(default_factory=list)

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name."""
        values: dict[str, Array] = dict(feed)
        if not self._parts:
            self._parts = list(self._cut())
        for part in self._parts:
            values |= part.run(values)
            if part.layer is not None:
                name = part.layer.node.outputs[0]
                values[name] = self._saturated(part.layer, values[part.layer.code], values[name])
            for unread in part.last:
                values.pop(unread, None)
        return {name: values[name] for name in self.graph.outputs}

    def _saturated(self, layer: PairedLayer, codes: Array, output: Floats) -> Floats:
        beyond = excess(layer, codes)
        scale = layer.integer.scale * layer.scaled.scale
        change: Floats = beyond * (scale.reshape(-1, *[1] * (output.ndim - 2)) if scale.ndim else scale)
        name = layer.weight
        self.signal[name] = self.signal.get(name, 0.0) + float(np.square(output, dtype=np.float64).sum())
        self.lost[name] = self.lost.get(name, 0.0) + float(np.square(change, dtype=np.float64).sum())
        return (output - change).astype(np.float32)

    def _cut(self) -> Iterator[_Part]:
        ends = {layer.node.outputs[0]: layer for layer in self.layers if can_saturate(layer)}
        live = live_values(self.graph)
        constants = {node.outputs[0]: node for node in self.graph.nodes if node.outputs[0] not in live}
        chunks: list[tuple[list[Node], PairedLayer | None]] = [([], None)]
        for node in self.graph.nodes:
            if node.outputs[0] in constants:
                continue
            chunks[-1][0].append(node)
            if node.outputs[0] in ends:
                chunks[-1] = (chunks[-1][0], ends[node.outputs[0]])
                chunks.append(([], None))
        reads = [{name for node in nodes for name in node.reads} for nodes, _ in chunks]
        kept = set(self.graph.outputs)
        later: list[set[str]] = []
        for (_, layer), names in zip(reversed(chunks), reversed(reads), strict=True):
            later.insert(0, set(kept))
            kept = kept | names | ({layer.code} if layer else set())
        for (nodes, layer), after in zip(chunks, later, strict=True):
            if nodes:
                yield _Part(self.graph, nodes, layer, after, constants)


@dataclass
class _Part:
    """Nodes that are run at once, in a session that is made when the types of what they read are known.

    Attributes:
        layer: the last of them, whose output is corrected by what goes in; None for nodes behind all such layers.
        after: names of values that are read after that.
    """

    graph: OnnxGraph
    nodes: list[Node]
    layer: PairedLayer | None
    after: set[str]
    constants: Mapping[str, Node]
    last: set[str] = field(default_factory=set)
    _session: Session | None = None
    _reads: list[str] = field(default_factory=list)
    _gives: list[str] = field(default_factory=list)

    def run(self, values: Mapping[str, Array]) -> dict[str, Array]:
        if self._session is None:
            self._session = self._build(values)
        return self._session.run({name: values[name] for name in self._reads}, self._gives)

    def _build(self, values: Mapping[str, Array]) -> Session:
        nodes = [*self._constants_read(), *self.nodes]
        made = {name for node in nodes for name in node.outputs if name}
        reads = {name for node in nodes for name in node.reads if name} - made
        held = {name: array for name, array in self.graph.initializers.items() if name in reads}
        self._reads = sorted(reads & values.keys())
        self._gives = sorted(made & (self.after | ({self.layer.code} if self.layer else set())))
        self.last = {name for name in values if name not in self.after} | (made - self.after)
        ends = b"".join(bytes_field(11, _typed(name, values[name].dtype)) for name in self._reads)
        ends += b"".join(bytes_field(12, bytes_field(1, name.encode())) for name in self._gives)
        part = OnnxGraph(tuple(nodes), (), (), (), 0, held, bytes_field(2, b"part") + ends, self.graph.model)
        return Session(part.encode(), optimized=False)

    def _constants_read(self) -> list[Node]:
        """Nodes of constants that these nodes need, in order."""
        need = {name for node in self.nodes for name in node.reads}
        found: list[Node] = []
        for node in reversed(list(self.constants.values())):
            if set(node.outputs) & need:
                need.update(node.reads)
                found.insert(0, node)
        return found


def _typed(name: str, kind: np.dtype[Any]) -> bytes:
    """A ValueInfoProto of a tensor of any shape."""
    element = bytes_field(1, number_field(1, ELEMENT_TYPES[np.dtype(kind)]))
    return bytes_field(1, name.encode()) + bytes_field(2, element)
