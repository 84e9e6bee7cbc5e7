"""What a graph says about its inputs: whether it listens to a signal, and which whole numbers it looks for."""

from __future__ import annotations

from sepnet.graphs.nodes import graphs, settings

__all__ = ["integers_of", "listens"]

TAPS = 16
"""A filter of so many numbers or more along one side, of one channel, is a filter of a signal."""


def listens(graph: bytes, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether a convolution reads a signal of one channel with long filters, as the filter bank of a network for sounds does.

    Args:
        graph: serialized ModelProto without its weights.
        shapes: of the weights, by name.
    """
    import onnx

    for part in graphs(onnx.load_from_string(graph).graph):
        for node in part.node:
            shape = shapes.get(node.input[1], ()) if node.op_type == "Conv" else ()
            kernel = shape[2:]
            one_way = len([side for side in kernel if side > 1]) == 1 and max(kernel) >= TAPS
            if one_way and shape[1] == 1 and settings(node).get("group", 1) == 1:
                return True
    return False


def integers_of(graph: bytes) -> dict[str, list[int]]:
    """Of inputs that are one whole number: those that the graph compares them with, such as the sample rates it knows."""
    import onnx

    proto = onnx.load_from_string(graph).graph
    whole = {
        value.name
        for value in proto.input
        if not value.type.tensor_type.shape.dim and value.type.tensor_type.elem_type in (6, 7)
    }
    known = {tensor.name: tensor for tensor in proto.initializer}
    found: dict[str, list[int]] = {}
    for node in proto.node:
        if node.op_type != "Equal" or len(node.input) != 2:
            continue
        for name, other in (node.input, reversed(node.input)):
            if name in whole and other in known:
                values = onnx.numpy_helper.to_array(known[other]).ravel()
                found.setdefault(name, []).extend(int(value) for value in values)
    return found
