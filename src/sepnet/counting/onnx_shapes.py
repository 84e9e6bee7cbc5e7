"""The sizes of all values of an ONNX graph: onnx's own inference, and the arithmetic on sizes that it leaves open.  No torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.graphs.nodes import settings

__all__ = ["infer_shapes"]

Values = dict[str, npt.NDArray[Any]]
_ARITHMETIC = """
Abs Add Cast Ceil Concat Constant ConstantOfShape Div Equal Expand Floor Gather Identity Max Min Mod Mul Neg
ReduceMax ReduceMin ReduceProd ReduceSum Range Reshape Shape Size Slice Split Sqrt Squeeze Sub Tile Transpose
Unsqueeze Where
"""
ARITHMETIC = frozenset(_ARITHMETIC.split())
"""What exporters compute sizes with."""
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
        if node.op_type == "Constant" and node.attribute:
            number = onnx.helper.get_attribute_value(node.attribute[0])
            if node.attribute[0].name == "value":
                values[node.output[0]] = onnx.numpy_helper.to_array(number)
            elif node.attribute[0].name.startswith("value_int"):
                values[node.output[0]] = np.asarray(number, np.int64)
        if node.op_type not in ARITHMETIC or node.domain not in ("", "ai.onnx") or len(node.output) != 1:
            continue
        value = _value(node, values, shapes, proto.opset_import)
        if value is not None and value.size <= LARGEST and node.output[0] not in outputs:
            values[node.output[0]] = found[node.output[0]] = value
    return found


def _value(node: Any, values: Values, shapes: dict[str, list[int]], opsets: Any) -> npt.NDArray[Any] | None:
    if node.op_type == "Shape" and node.input[0] in shapes:
        part = settings(node)
        return np.asarray(shapes[node.input[0]][part.get("start", 0) : part.get("end")], np.int64)
    names = [name for name in node.input if name]
    if node.op_type == "Constant" or not names or not all(name in values for name in names):
        return None
    if any(values[name].dtype.kind == "f" for name in names):
        return None  # perhaps a part of a weight, which must not become a constant
    import onnx
    from onnx.reference import ReferenceEvaluator

    inputs = [onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys(names)]
    graph = onnx.helper.make_graph([node], "n", inputs, [onnx.helper.make_empty_tensor_value_info(node.output[0])])
    try:
        model = onnx.helper.make_model(graph, opset_imports=opsets)
        (value,) = ReferenceEvaluator(model).run(None, {name: values[name] for name in names})
    except Exception:  # an operator that the reference lacks, or numbers that it does not take
        return None
    return np.asarray(value)
