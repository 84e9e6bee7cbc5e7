"""A packed model's graph as operators on maps, weights in integers, sizes worked out.  No scales yet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np

from sepnet.core.errors import FormatError, NetworkError
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.constants import EVALUATED, evaluate
from sepnet.graphs.onnx_graph import Node
from sepnet.graphs.ports import ports_of
from sepnet.integer import arithmetic, arrangement, pooling, reshaping, resizing, response
from sepnet.integer.graph_values import GraphValues, Ref, Source, map_shape
from sepnet.integer.operator import Draft
from sepnet.integer.value import Shape
from sepnet.integer.view import View

__all__ = ["Trace", "trace"]


@dataclass(frozen=True)
class Trace:
    """A network's operators on real numbers, the shapes of all maps, and its ends.

    Attributes:
        drafts: the operators.
        shapes: of maps, by name.
        input: name of the map that the input is.
        view: how the input's numbers lie in it.
        outputs: by the name of an output, the map that holds its numbers and how they lie there.
    """

    drafts: tuple[Draft, ...]
    shapes: dict[str, Shape]
    input: str
    view: View
    outputs: dict[str, Ref]


def trace(model: PackedModel, shape: Sequence[int] | None = None) -> Trace:
    """The operators of a packed model for one example of `shape`, by default that of the header or of the graph.

    Of the ways in which the input's numbers can lie in a map the one with the fewest rearrangements is taken.

    Raises:
        NetworkError: an operator that has no integer form here, named with its layer.
        FormatError: a file without a graph, or one that does not say what its inputs look like.
    """
    if not model.graph:
        raise FormatError("the packed file holds weights alone, no graph that could be run")
    source = Source(model)
    sides = _input_sides(model, shape)
    found: list[tuple[int, Trace]] = []
    normalized = model.header.input is not None and bool(model.header.input.mean)
    for layout, view in islice(_layouts(sides), 1 if normalized and map_shape(sides) else None):
        traced = _traced(GraphValues(source, layout, view))
        moved = [draft for draft in traced.drafts if draft.rearranges]
        found.append((len(moved), traced))
        if all(draft.sources != (traced.input,) for draft in moved):
            break
    return min(found, key=lambda pair: pair[0])[1]


def _input_sides(model: PackedModel, shape: Sequence[int] | None) -> tuple[int, ...]:
    """Of the input, the batch side 1 included."""
    sides = (ports_of(model.graph)[0][0].shape or (None,))[1:] if shape is None else tuple(shape)
    if shape is None and model.header.input and not all(isinstance(side, int) for side in sides):
        sides = model.header.input.shape
    numbers = [side for side in sides if isinstance(side, int)]
    if not numbers or len(numbers) < len(sides) or min(numbers) < 1:
        raise FormatError(
            f"the network's input has the shape {['?' if side is None else side for side in sides]}; in integers every side has to be known"
        )
    return 1, *numbers


def _layouts(sides: tuple[int, ...]) -> Iterator[tuple[Shape, View]]:
    """Maps for a tensor: channels first, channels last, and others for what has few sides."""
    first = map_shape(sides)
    if first is not None:
        yield first, View.of(first, sides)
    long = [at for at, side in enumerate(sides) if side > 1]
    if len(long) > 3:
        return
    for axes in {1: ((2,), (0,)), 2: ((2, 0), (0, 2), (1, 2), (1, 0))}.get(len(long), ((1, 2, 0), (0, 1, 2))):
        places = dict(zip(long, axes, strict=False))
        length = {axis: sides[at] for at, axis in places.items()}
        shape = length.get(0, 1), length.get(1, 1), length.get(2, 1)
        if shape != first:
            yield shape, View.along([(places[at],) if at in places else () for at in range(len(sides))], shape)


def _traced(values: GraphValues) -> Trace:
    view = values.input.view
    for node in response.collapse(values.graph.nodes, values.graph.outputs, values.known):
        _visit(values, node)
    outputs: dict[str, Ref] = {}
    for name in values.graph.outputs:
        output = values.known.get(name)
        if not isinstance(output, Ref):
            raise NetworkError(f"the network's output {name!r} does not depend on its input")
        outputs[name] = values.readable(output)
    return Trace(tuple(values.drafts), values.shapes, values.input.name, view, outputs)


def _visit(values: GraphValues, node: Node) -> None:
    given = [values.known.get(name) for name in node.inputs]
    refs = [each for each in given if isinstance(each, Ref)]
    if node.op == "Shape" and refs:
        sides = refs[0].sides
        values.known[node.outputs[0]] = np.array(sides[node.integer("start") : node.integer("end", 8)], np.int64)
    elif node.op == "Size" and refs:
        values.known[node.outputs[0]] = np.array(math.prod(refs[0].sides), np.int64)
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
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, StopIteration) as error:
            raise FormatError(
                f"the packed file's graph has a node {node.op} that does not fit its inputs: {error}"
            ) from error


_UNARY = (
    "Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", "ThresholdedRelu", "Elu", "Selu", "Celu", "Gelu", "Mish",
    "Softsign", "Tanh", "Neg", "Abs", "Sqrt", "Exp", "Log", "Erf", "Softplus", "Reciprocal", "Floor", "Ceil", "Round", "Sign",
)  # fmt: skip
_OPERATORS: dict[str, Callable[[GraphValues, Node], None]] = {
    "Conv": arithmetic.conv,
    "ConvTranspose": resizing.conv_transpose,
    "Gemm": arithmetic.gemm,
    "MatMul": arithmetic.matmul,
    "BatchNormalization": arithmetic.norm,
    "PRelu": arithmetic.bent,
    "Sum": arithmetic.several,
    "Max": arithmetic.limited,
    "Min": arithmetic.limited,
    "Pow": arithmetic.power,
    "MaxPool": pooling.pool,
    "AveragePool": pooling.pool,
    "Softmax": pooling.shares,
    "LogSoftmax": pooling.shares,
    "LRN": response.response,
    "Concat": arrangement.concat,
    "Slice": arrangement.strided,
    "Split": arrangement.split,
    "Pad": arrangement.pad,
    "Gather": arrangement.gather,
    "Resize": resizing.resize,
    "Upsample": resizing.resize,
    "DepthToSpace": reshaping.depth_to_space,
    "SpaceToDepth": reshaping.space_to_depth,
    "Transpose": reshaping.transpose,
    "Expand": reshaping.expand,
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool"), pooling.over_sides),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), arithmetic.binary),
    **dict.fromkeys(("Reshape", "Flatten", "Squeeze", "Unsqueeze"), reshaping.reshape),
    **dict.fromkeys(("Identity", "Dropout", "Cast"), reshaping.same),
    **dict.fromkeys(_UNARY, arithmetic.unary),
}
