"""Nodes whose inputs are all constant, worked out: how ONNX graphs compute the sizes of what they reshape."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import FormatError
from sepnet.graphs.onnx_graph import Node

__all__ = ["CONSTANTS", "fold"]

Array = npt.NDArray[Any]
_BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide, "Pow": np.power}
CONSTANTS = frozenset(
    {
        "Constant",
        "Concat",
        "Reshape",
        "Squeeze",
        "Unsqueeze",
        "Transpose",
        "Cast",
        "Identity",
        "Gather",
        "Slice",
        "Sqrt",
        *_BINARY,
    }
)
"""Operators that `fold` knows."""
_CASTS: dict[int, type] = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}


def fold(node: Node, given: Sequence[Array]) -> Array:
    """What a node gives for constant inputs.  Raises `FormatError` where they do not fit it.

    >>> fold(Node("Concat", ("a", "b"), ("c",)), [np.array([1]), np.array([-1])]).tolist()
    [1, -1]
    """
    try:
        return np.asarray(_fold(node, given))
    except (ValueError, IndexError, TypeError, StopIteration) as error:
        raise FormatError(
            f"the packed file's graph has a node {node.op} that does not fit its inputs: {error}"
        ) from error


def _fold(node: Node, given: Sequence[Array]) -> Array:
    op = node.op
    if op == "Constant":
        found = node.array("value")
        return np.array(node.integers("value_ints") or node.integer("value_int")) if found is None else found
    if op in _BINARY:
        if op == "Div" and np.issubdtype(given[0].dtype, np.integer):
            return given[0] // given[1]
        return np.asarray(_BINARY[op](given[0], given[1]))
    if op == "Concat":
        return np.concatenate(list(given), axis=node.integer("axis"))
    if op == "Cast":
        return given[0].astype(_CASTS[node.integer("to", 1)])
    if op == "Gather":
        return np.take(given[0], given[1].astype(np.int64), axis=node.integer("axis"))
    if op == "Transpose":
        return np.transpose(given[0], node.integers("perm") or None)
    if op == "Reshape":
        sides = [given[0].shape[at] if side == 0 else int(side) for at, side in enumerate(given[1].ravel())]
        return given[0].reshape(sides)
    if op in ("Squeeze", "Unsqueeze"):
        axes = tuple(int(each) for each in given[1].ravel()) if len(given) > 1 else ()
        if op == "Squeeze":
            return np.squeeze(given[0], axes or None)
        return np.expand_dims(given[0], axes)
    if op == "Slice":
        return _sliced(given)
    return np.sqrt(given[0]) if op == "Sqrt" else given[0]


def _sliced(given: Sequence[Array]) -> Array:
    starts, ends = (each.ravel().tolist() for each in given[1:3])
    axes = given[3].ravel().tolist() if len(given) > 3 else range(len(starts))
    steps = given[4].ravel().tolist() if len(given) > 4 else [1] * len(starts)
    parts = [slice(None)] * given[0].ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        parts[axis] = slice(start, end, step)
    return given[0][tuple(parts)]
