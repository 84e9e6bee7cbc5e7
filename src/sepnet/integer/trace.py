"""A packed model's graph as operators on maps, weights in integers, sizes worked out.  No scales yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sepnet.core.errors import FormatError, NetworkError
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.constants import EVALUATED, evaluate
from sepnet.graphs.onnx_graph import Node
from sepnet.integer import arithmetic, arrangement, response
from sepnet.integer.drafts import Trace
from sepnet.integer.graph_values import GraphValues, Ref

__all__ = ["trace"]


def trace(model: PackedModel, shape: Sequence[int] | None = None) -> Trace:
    """The operators of a packed model for one example of `shape`, by default that of the header.

    Raises:
        NetworkError: an operator that has no integer form here, named with its layer.
        FormatError: a file without a graph, or one that does not say what its inputs look like.
    """
    if not model.graph:
        raise FormatError("the packed file holds weights alone, no graph that could be run")
    if shape is None:
        shape = model.header.input.shape if model.header.input else ()
    if len(shape) != 3:
        raise FormatError(
            f"the network's input has the shape {list(shape)} (header key `input`); in integers it is (channels, height, width)"
        )
    values = GraphValues(model, (shape[0], shape[1], shape[2]))
    if len(values.graph.outputs) != 1:
        raise NetworkError(
            f"the network has {len(values.graph.outputs)} outputs ({', '.join(values.graph.outputs)}); in integers it can have one"
        )
    for node in response.collapse(values.graph.nodes, values.graph.outputs, values.known):
        _visit(values, node)
    output = values.known.get(values.graph.outputs[0])
    if not isinstance(output, Ref):
        raise NetworkError("the network's output does not depend on its input")
    return Trace(tuple(values.drafts), values.shapes, values.graph.inputs[0], output.name)


def _visit(values: GraphValues, node: Node) -> None:
    given = [values.known.get(name) for name in node.inputs]
    refs = [each for each in given if isinstance(each, Ref)]
    if node.op == "Shape" and refs:
        sides = (1, *refs[0].sides)
        values.known[node.outputs[0]] = np.array(sides[node.integer("start") : node.integer("end", 8)], np.int64)
    elif not refs and node.op in EVALUATED:
        values.known[node.outputs[0]] = evaluate(
            node, [each if isinstance(each, np.ndarray) else None for each in given]
        )
    elif not refs or node.op not in _OPERATORS:
        raise values.unsupported(node, "")
    else:
        values.layer = next((name for name in node.inputs if name in values.coded), values.layer)
        try:
            _OPERATORS[node.op](values, node)
        except (IndexError, KeyError, TypeError, ValueError, ZeroDivisionError) as error:
            raise FormatError(
                f"the packed file's graph has a node {node.op} that does not fit its inputs: {error}"
            ) from error


_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast")
_UNARY = (
    "Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Tanh", "Neg", "Abs", "Sqrt", "Exp", "Erf", "Softplus",
)  # fmt: skip
_OPERATORS: dict[str, Callable[[GraphValues, Node], None]] = {
    "Conv": arithmetic.conv,
    "Gemm": arithmetic.gemm,
    "MatMul": arithmetic.gemm,
    "BatchNormalization": arithmetic.norm,
    "MaxPool": arrangement.pool,
    "AveragePool": arrangement.pool,
    "LRN": response.response,
    "Concat": arrangement.concat,
    "Slice": arrangement.strided,
    "Split": arrangement.split,
    "Pad": arrangement.pad,
    "Gather": arrangement.gather,
    **dict.fromkeys(("ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool"), arrangement.over_map),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), arithmetic.binary),
    **dict.fromkeys(_VIEWS, arrangement.view),
    **dict.fromkeys(_UNARY, arithmetic.unary),
}
