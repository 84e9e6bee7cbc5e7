"""Nodes and constants that change nothing, or that nothing reads."""

from __future__ import annotations

from typing import Any

import numpy as np

from sepnet.graphs.nodes import reads, rename
from sepnet.packing.passes.draft import Draft, count

__all__ = ["simplify"]


def simplify(draft: Draft) -> str:
    """Drop biases that are constant zeros, identities, and nodes and constants that nothing reads."""
    graph = draft.graph
    before = len(graph.node), len(graph.initializer)
    constants, zeros = _constants(graph), 0
    for node in graph.node:
        if (
            node.op_type in ("Conv", "Gemm")
            and len(node.input) > 2
            and node.input[2] in constants
            and not np.any(constants[node.input[2]])
        ):
            del node.input[2:]
            zeros += 1
    _drop_identities(graph)
    while True:
        read = reads(graph)
        dead = [node for node in graph.node if not any(name in read for name in node.output)]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    gone = before[0] - len(graph.node), before[1] - len(graph.initializer)
    return count((gone[0], "nodes dropped"), (gone[1], "constants dropped"), (zeros, "biases of zeros dropped"))


def _constants(graph: Any) -> dict[str, np.ndarray]:
    import onnx

    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    return found


def _drop_identities(graph: Any) -> None:
    outputs = {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "Identity" and node.output[0] not in outputs]:
        graph.node.remove(node)
        rename(graph, {node.output[0]: node.input[0]})
