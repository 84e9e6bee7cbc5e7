"""Weights of products filters first, as a step a filter needs them."""

from __future__ import annotations

from sepnet.graphs.nodes import reads, settings
from sepnet.packing.passes.draft import Draft, count

__all__ = ["turn_weights"]


def turn_weights(draft: Draft) -> str:
    """Make the graph take weights of Gemm and MatMul filters first; notes those that have to be turned."""
    import onnx

    graph, found = draft.graph, set[str]()
    read = reads(graph)
    ranks = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    for node in list(graph.node):
        if len(node.input) < 2 or ranks.get(node.input[1]) != 2 or read[node.input[1]] != 1:
            continue
        name = node.input[1]
        if node.op_type == "Gemm" and not settings(node).get("transB"):
            for attribute in [a for a in node.attribute if a.name == "transB"]:
                node.attribute.remove(attribute)
            node.attribute.append(onnx.helper.make_attribute("transB", 1))
            found.add(name)
        elif node.op_type == "MatMul":
            node.input[1] = f"{name}:turned"
            turn = onnx.helper.make_node("Transpose", [name], [f"{name}:turned"], perm=[1, 0])
            graph.node.insert(list(graph.node).index(node), turn)
            found.add(name)
    draft.turned = found
    return count((len(found), "weights of products turned, filters first"))
