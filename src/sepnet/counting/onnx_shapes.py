"""The sizes of all values of an ONNX graph: onnx's own inference, and the arithmetic on sizes that it leaves open.  No torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import FormatError
from sepnet.graphs.constants import EVALUATED, evaluate
from sepnet.graphs.nodes import settings
from sepnet.graphs.onnx_graph import Node

__all__ = ["infer_shapes"]

Values = dict[str, npt.NDArray[Any]]
LARGEST = 1024
"""Numbers in a value that sizes are worked out from."""
ROUNDS = 64


def infer_shapes(proto: Any) -> Any:
    """The model with the sizes of its values noted, as far as they can be known from those of its inputs.

    Where a size is computed by nodes from other sizes, as exporters write it for sizes that were free, these nodes are
    evaluated, and the inference runs once more, as long as that helps.  Raises what onnx raises for sizes that do not fit.
    """
    import onnx

    for _ in range(ROUNDS):
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
        found = _evaluate(inferred)
        if not found:
            return inferred
        for name, value in found.items():
            proto.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
        kept = [node for node in proto.graph.node if not any(name in found for name in node.output)]
        folded = [node for node in proto.graph.node if any(name in found for name in node.output)]
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
        if not folded:
            return inferred
    return inferred


def _evaluate(proto: Any) -> Values:
    """The values of nodes that only do arithmetic on sizes, by name; of nodes with one output."""
    import onnx

    values = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer if math.prod(t.dims) <= LARGEST}
    shapes = {}
    for value in (*proto.graph.input, *proto.graph.value_info):
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = [dim.dim_value for dim in dims]
    outputs = {value.name for value in proto.graph.output}
    found: Values = {}
    for node in proto.graph.node:
        if node.op_type not in EVALUATED or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
            continue
        value, name = _value(node, values, shapes), node.output[0]
        if value is None:
            continue
        if node.op_type == "Constant":
            values[name] = value
        elif value.size <= LARGEST and name not in outputs:
            values[name] = found[name] = value
    return found


def _value(node: Any, values: Values, shapes: dict[str, list[int]]) -> npt.NDArray[Any] | None:
    if node.op_type == "Shape" and node.input[0] in shapes:
        part = settings(node)
        return np.asarray(shapes[node.input[0]][part.get("start", 0) : part.get("end")], np.int64)
    names = [name for name in node.input if name]
    if not (names or node.op_type == "Constant") or not all(name in values for name in names):
        return None
    if any(values[name].dtype.kind == "f" for name in names):
        return None  # perhaps a part of a weight, which must not become a constant
    try:
        return evaluate(Node.of(node), [values.get(name) for name in node.input])
    except FormatError:  # numbers that the operator does not take
        return None
