"""An `.onnx` file as counting wants it: the graph flat, the sizes of all values, and no weights in memory.  No torch."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sepnet.core.errors import NetworkError
from sepnet.core.spec import describe
from sepnet.counting.onnx_shapes import infer_shapes
from sepnet.graphs.nodes import settings
from sepnet.graphs.ports import FLOAT_TYPES
from sepnet.networks.onnx_proto import load_proto

__all__ = ["SizedGraph", "read_graph"]

Shape = tuple[int, ...]
SMALL = 1024
"""Initializers of up to so many numbers stay, because shapes may depend on their values."""


LEAST = 16
"""Floats in a Constant node from which on they are weights, not a setting or a first state."""


@dataclass
class SizedGraph:
    """A graph with its sizes.

    Attributes:
        nodes: NodeProtos in the order in which they run.
        inputs, outputs: names.
        weights: names of the file's initializers with their shapes, integers among them.
        folded: names of values that were worked out from sizes alone, with their shapes.
        shapes: of the values whose every side is known, batch included.
        element_bytes: of the values that are no floats.
        batch: with how many examples the sizes are worked out.
    """

    nodes: list[Any]
    inputs: list[str]
    outputs: list[str]
    weights: dict[str, Shape]
    folded: dict[str, Shape] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    element_bytes: dict[str, int] = field(default_factory=dict)
    input_types: tuple[str, ...] = ()
    batch: int = 1


def read_graph(path: str | os.PathLike[str], shapes: Sequence[Shape] | None = None) -> SizedGraph:
    """Read a file and work out the sizes of its values.

    The first side of every input is the batch: 1, or what the file fixes it to.  Weights in other files are not read.

    Args:
        path: the file.
        shapes: of one example for each input, in the order of the graph; None as the file says.

    Raises:
        NetworkError: no ONNX file, or sizes that are missing or do not fit.  MissingExtraError: onnx is not installed.
    """
    proto = load_proto(path, "reading", external=False)
    import onnx

    _lift_constants(proto)
    weights = {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}
    types = {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    inputs = [value for value in proto.graph.input if value.name not in weights]
    batch = _set_inputs(inputs, shapes, Path(path).name)
    _without_weights(proto)
    try:
        proto = infer_shapes(proto)
    except Exception as problem:
        raise NetworkError(f"the sizes of {path} do not fit: {describe(problem)}") from problem
    graph = SizedGraph(
        list(proto.graph.node),
        [v.name for v in inputs],
        [v.name for v in proto.graph.output],
        weights,
        {t.name: tuple(t.dims) for t in proto.graph.initializer if t.name not in weights},
        batch=batch,
    )
    types |= {tensor.name: tensor.data_type for tensor in proto.graph.initializer}
    for name, kind in types.items():
        _note_type(graph, name, kind, onnx)
    for value in (*proto.graph.input, *proto.graph.value_info, *proto.graph.output):
        _note(graph, value, onnx)
    kinds = [onnx.helper.tensor_dtype_to_np_dtype(v.type.tensor_type.elem_type).name for v in inputs]
    graph.input_types = tuple(kinds)
    return graph


def _set_inputs(inputs: Sequence[Any], shapes: Sequence[Shape] | None, name: str) -> int:
    """Fix the sizes of all inputs; returns the batch."""
    if shapes is not None and len(shapes) != len(inputs):
        names = ", ".join(value.name for value in inputs)
        raise NetworkError(f"{name} has {len(inputs)} inputs ({names}); found {len(shapes)} input shapes")
    batch = 1
    for at, value in enumerate(inputs):
        dims = value.type.tensor_type.shape.dim
        if shapes is not None and len(dims) != len(shapes[at]) + 1 and len(dims):
            found = [d.dim_value or d.dim_param or "?" for d in dims[1:]]
            raise NetworkError(f"{name}: input {value.name!r} takes {found} without the batch; found {shapes[at]}")
        for place, dim in enumerate(dims):
            fixed = dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else 0
            if place == 0:
                batch = fixed or batch if at == 0 else batch
                dim.dim_value = fixed or batch
            elif shapes is not None:
                wanted = shapes[at][place - 1]
                if fixed and fixed != wanted:
                    raise NetworkError(
                        f"{name}: input {value.name!r} has a fixed size of {fixed}; found {wanted} in {shapes[at]}"
                    )
                dim.dim_value = wanted
            elif not fixed:
                raise NetworkError(
                    f"{name}: the size {dim.dim_param or '?'!r} of input {value.name!r} is free; give --input-shape, once for each of {len(inputs)} inputs"
                )
    return batch


def _lift_constants(proto: Any) -> None:
    """Make initializers of the Constant nodes that hold many floats: some exporters write all weights so."""
    for node in [node for node in proto.graph.node if node.op_type == "Constant"]:
        value = settings(node).get("value")
        if value is not None and value.data_type in FLOAT_TYPES and value.dims and math.prod(value.dims) >= LEAST:
            proto.graph.initializer.add().CopyFrom(value)
            proto.graph.initializer[-1].name = node.output[0]
            proto.graph.node.remove(node)


def _without_weights(proto: Any) -> None:
    """Make inputs of the large initializers, forget sizes that were worked out for another batch."""
    import onnx

    graph = proto.graph
    large = [tensor for tensor in graph.initializer if math.prod(tensor.dims) > SMALL or tensor.data_location]
    small = [tensor for tensor in graph.initializer if math.prod(tensor.dims) <= SMALL and not tensor.data_location]
    known = {value.name for value in graph.input}
    for tensor in large:
        if tensor.name not in known:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    del graph.initializer[:]
    graph.initializer.extend(small)
    del graph.value_info[:]
    for value in graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")


def _note(graph: SizedGraph, value: Any, onnx: Any) -> None:
    kind = value.type.tensor_type
    if not value.type.HasField("tensor_type") or not kind.HasField("shape"):
        return
    sides = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in kind.shape.dim]
    if min(sides, default=0) >= 0:
        graph.shapes[value.name] = tuple(sides)
    _note_type(graph, value.name, kind.elem_type, onnx)


def _note_type(graph: SizedGraph, name: str, kind: int, onnx: Any) -> None:
    if kind and kind not in FLOAT_TYPES:
        graph.element_bytes[name] = onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize
