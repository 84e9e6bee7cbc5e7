"""How many bytes of activations an ONNX graph holds at once.  No torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from sepnet.counting.onnx_file import SizedGraph
from sepnet.graphs.nodes import inner_graphs

__all__ = ["bytes_of", "names_inside", "peak_bytes"]

VIEWS = frozenset(["Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"])


def peak_bytes(graph: SizedGraph) -> int | None:
    """Most bytes alive at once when the nodes run in order, floats at 4 bytes; None if a size is not known.

    A value lives from the node that makes it to the last that reads it; inputs and outputs of the network to the end;
    a reshaped value is the value itself.
    """
    constant = {*graph.weights, *graph.folded}
    source: dict[str, str] = {}
    last: dict[str, int] = {}
    for at, node in enumerate(graph.nodes):
        names = [name for name in (*node.input, *names_inside(node)) if name]
        if node.op_type == "Constant" or (names and all(name in constant for name in names)):
            constant.update(node.output)
            continue
        if node.op_type in VIEWS and node.input[0] not in constant:
            source[node.output[0]] = source.get(node.input[0], node.input[0])
        for name in (*names, *node.output):
            last[source.get(name, name)] = at
    last.update({source.get(name, name): len(graph.nodes) for name in (*graph.inputs, *graph.outputs)})
    live = {name: bytes_of(graph, name) for name in graph.inputs}
    peak = sum(live.values())
    for at, node in enumerate(graph.nodes):
        made = [name for name in node.output if name and name not in constant and name not in source]
        used = [name for name in made if last.get(name, at) > at or name == node.output[0]]
        if any(name not in graph.shapes for name in used):
            return None
        live.update({name: bytes_of(graph, name) for name in used})
        peak = max(peak, sum(live.values()))
        live = {name: size for name, size in live.items() if last.get(name, at) > at}
    return peak // graph.batch


def bytes_of(graph: SizedGraph, name: str) -> int:
    return math.prod(graph.shapes[name]) * graph.element_bytes.get(name, 4) if name in graph.shapes else 0


def names_inside(node: Any) -> Iterator[str]:
    """Names that the graphs inside a node (If, Loop, Scan) read."""
    for part in inner_graphs(node):
        for inner in part.node:
            yield from inner.input
            yield from names_inside(inner)
