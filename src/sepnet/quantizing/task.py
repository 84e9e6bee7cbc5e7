"""What the outputs of a network are: scores of classes, decisions, or any numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import onnx

from sepnet.core.errors import NetworkError
from sepnet.core.examples import Examples
from sepnet.core.pack_options import Task

__all__ = ["decisions", "is_classifier"]

BEHIND = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Flatten"})
"""Operators that may follow a final Softmax or Sigmoid."""


def is_classifier(graph: bytes, shapes: Mapping[str, tuple[int, ...]], examples: Examples, task: Task | None) -> bool:
    """Whether the one output is (examples, classes), and the user, the graph or the examples say that these are classes.

    The user says it by `task`; the graph by a Softmax or LogSoftmax at its end; the examples by labels of as many classes as
    there are outputs.  That an output has two sides says nothing: coordinates have them, too.

    Args:
        graph: serialized.
        shapes: of the outputs, for a batch.
        examples: what the network is run on.
        task: "classify" says that it is one.

    Raises `NetworkError` for a task that the outputs are not fit for.
    """
    fit = [shape for shape in shapes.values() if len(shape) == 2 and shape[1] > 1]
    if len(shapes) != 1 or not fit:
        if task == "classify":
            found = ", ".join(f"{name} of shape {list(shape)}" for name, shape in shapes.items())
            raise NetworkError(f"found outputs {found}; expected one output (examples, classes) to classify")
        return False
    return task == "classify" or _ends_in_softmax(graph) or len(examples.classes) == fit[0][1]


def decisions(graph: bytes) -> dict[str, str]:
    """Outputs of a final Sigmoid, and what goes into it: an inner value and the name of its output."""
    proto = onnx.load_from_string(graph).graph
    ends = {value.name: _maker(proto, value.name) for value in proto.output}
    return {node.input[0]: name for name, node in ends.items() if node is not None and node.op_type == "Sigmoid"}


def _ends_in_softmax(graph: bytes) -> bool:
    proto = onnx.load_from_string(graph).graph
    node = _maker(proto, proto.output[0].name)
    return node is not None and node.op_type in ("Softmax", "LogSoftmax")


def _maker(proto: Any, name: str) -> Any:
    """The node that a value comes from, behind those that only give it another shape; None of an input."""
    makers = {name: node for node in proto.node for name in node.output}
    while name in makers and makers[name].op_type in BEHIND:
        name = makers[name].input[0]
    return makers.get(name)
