"""What the outputs of a network are, scores of classes, decisions or any numbers, and what may be lost of them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sepnet.core.errors import NetworkError
from sepnet.core.pack_options import MAX_DIVERGENCE, MIN_SNR, PackOptions, Task
from sepnet.graphs.onnx_graph import Node, OnnxGraph
from sepnet.quantizing.loss import Answers, Loss

__all__ = ["decisions", "loss_of"]

BEHIND = frozenset({"Identity", "Cast", "Reshape", "Squeeze", "Flatten"})
"""Operators that may follow a final Softmax or Sigmoid."""


def decisions(graph: bytes) -> dict[str, str]:
    """What goes into a final Sigmoid, an inner value, and the name of its output."""
    whole = OnnxGraph.decode(graph)
    ends = {name: _maker(whole, name) for name in whole.outputs}
    return {node.inputs[0]: name for name, node in ends.items() if node is not None and node.op == "Sigmoid"}


def loss_of(wanted: Answers, graph: bytes, decisions: Mapping[str, str], *, classes: int, options: PackOptions) -> Loss:
    """What a network may lose: a classifier divergence, any other signal to noise.

    A classifier has one output (examples, classes), and the user, the graph or the examples say that these are classes: the user
    by the task, the graph by a Softmax or LogSoftmax at its end, the examples by labels of as many classes as there are outputs.
    That an output has two sides says nothing: coordinates have them, too.

    Args:
        wanted: of the float network, and what goes into its decisions.
        graph: serialized.
        decisions: as of `decisions`.
        classes: of labels, 0 without.
        options: what was asked for; without a budget a classifier keeps its signal to noise, too, unless there are labels.

    Raises `NetworkError` for a task or a budget that the outputs are not fit for, and for scores of classes that are not finite.
    """
    if not _is_classifier(wanted, graph, decisions, classes=classes, task=options.task):
        if options.max_divergence is not None:
            raise NetworkError(
                f"divergence is that of classes, and nothing says that {_described(wanted, decisions)} is; "
                "expected a smallest signal to noise, or the task classify"
            )
        return Loss(wanted, None, options.min_snr or MIN_SNR, decisions)
    for name, parts in wanted.items():
        wrong = sum(int((~np.isfinite(part)).sum()) for part in parts)
        if wrong:
            raise NetworkError(f"the network gives {wrong} NaN or Inf in {name}; expected finite scores of classes")
    if options.min_snr is not None:
        return Loss(wanted, None, options.min_snr)
    both = not classes and options.max_divergence is None
    return Loss(wanted, options.max_divergence or MAX_DIVERGENCE, MIN_SNR if both else None)


def _is_classifier(
    wanted: Answers, graph: bytes, decisions: Mapping[str, str], *, classes: int, task: Task | None
) -> bool:
    shapes = [parts[0].shape for name, parts in wanted.items() if name not in decisions]
    if len(shapes) != 1 or len(shapes[0]) != 2 or shapes[0][1] < 2:
        if task == "classify":
            raise NetworkError(
                f"found outputs {_described(wanted, decisions)}; expected one output (examples, classes) to classify"
            )
        return False
    return task == "classify" or shapes[0][1] == classes or _ends_in_softmax(graph)


def _described(wanted: Answers, decisions: Mapping[str, str]) -> str:
    shapes = {name: parts[0].shape for name, parts in wanted.items() if name not in decisions}
    return ", ".join(f"{name} of shape {list(shape)}" for name, shape in shapes.items())


def _ends_in_softmax(graph: bytes) -> bool:
    whole = OnnxGraph.decode(graph)
    node = _maker(whole, whole.outputs[0])
    return node is not None and node.op in ("Softmax", "LogSoftmax")


def _maker(graph: OnnxGraph, name: str) -> Node | None:
    """The node that a value comes from, behind those that only give it another shape; None of an input."""
    makers = {name: node for node in graph.nodes for name in node.outputs}
    while name in makers and makers[name].op in BEHIND:
        name = makers[name].inputs[0]
    return makers.get(name)
