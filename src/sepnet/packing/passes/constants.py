"""Constants, however exporters write them, made initializers of the whole graph, so that weights are found in one place."""

from __future__ import annotations

from typing import Any

import numpy as np

from sepnet.graphs.constants import CONSTANT_FORMS
from sepnet.graphs.nodes import graphs, rename, settings
from sepnet.graphs.ports import FLOAT_TYPES
from sepnet.packing.passes.draft import Draft, count

__all__ = ["lift_constants"]


def lift_constants(draft: Draft) -> str:
    """Turn Constant nodes into initializers, those of floats inside If, Loop and Scan too; old files list weights as inputs, which goes."""
    graph = draft.graph
    lifted = len(graph.initializer)
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        if (tensor := _tensor(node)) is not None:
            graph.initializer.append(tensor)
            graph.node.remove(node)
    _lift_inner(graph)
    own = {tensor.name for tensor in graph.initializer}
    lifted, listed = len(graph.initializer) - lifted, sum(value.name in own for value in graph.input)
    inputs = [value for value in graph.input if value.name not in own]
    del graph.input[:]
    graph.input.extend(inputs)
    return count((lifted, "constants of nodes made initializers"), (listed, "weights listed as inputs"))


def _tensor(node: Any) -> Any | None:
    """What a Constant node gives; None for text and sparse numbers."""
    import onnx

    for name, value in settings(node).items():
        if name == "value":
            tensor = onnx.TensorProto()
            tensor.CopyFrom(value)
            tensor.name = node.output[0]
            return tensor
        if name in CONSTANT_FORMS:
            several = isinstance(value, list)
            kind = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(CONSTANT_FORMS[name]))
            return onnx.helper.make_tensor(
                node.output[0], kind, [len(value)] if several else [], value if several else [value]
            )
    return None


def _lift_inner(graph: Any) -> None:
    """Float tensors of two and more dimensions inside nodes become initializers outside, each of a name of its own."""
    taken = {value.name for part in graphs(graph) for value in (*part.input, *part.initializer)}
    taken |= {name for part in graphs(graph) for node in part.node for name in (*node.input, *node.output)}
    for part in list(graphs(graph))[1:]:
        given = {value.name for value in part.output}
        found = [tensor for tensor in part.initializer if _is_weight(tensor) and tensor.name not in given]
        for tensor in found:
            _move(tensor, graph, part, taken)
            part.initializer.remove(tensor)
        for node in [node for node in part.node if node.op_type == "Constant" and node.output[0] not in given]:
            tensor = _tensor(node)
            if tensor is not None and _is_weight(tensor):
                _move(tensor, graph, part, taken)
                part.node.remove(node)


def _is_weight(tensor: Any) -> bool:
    return tensor.data_type in FLOAT_TYPES and len(tensor.dims) > 1 and all(tensor.dims)


def _move(tensor: Any, graph: Any, part: Any, taken: set[str]) -> None:
    copy = graph.initializer.add()
    copy.CopyFrom(tensor)
    at = 0
    while (name := f"{tensor.name}:{at}") in taken:
        at += 1
    taken.add(name)
    copy.name = name
    rename(part, {tensor.name: name})
