"""Constants of a graph: what Constant nodes hold, and nodes on constants alone worked out, as exporters compute sizes and factors."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import FormatError
from sepnet.graphs.onnx_graph import Node
from sepnet.graphs.wire import ELEMENT_TYPES

__all__ = ["CONSTANT_FORMS", "EVALUATED", "evaluate"]

Array = npt.NDArray[Any]
Given = Sequence[Any]
"""The inputs of a node in their places, arrays; None for one that is left out."""
Rule = Callable[[Node, Given], Any]
CONSTANT_FORMS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}
"""Attributes that a Constant may have in place of `value`, a tensor; those of texts are left out."""
MOST = 1 << 26
"""Numbers that a node may make of fewer."""
_KINDS = {number: kind for kind, number in ELEMENT_TYPES.items()} | {11: np.dtype(np.float64)}


def evaluate(node: Node, given: Sequence[Array | None]) -> Array:
    """What a node of one of the operators in `EVALUATED` gives for its inputs, None for one that is left out.

    Raises `FormatError` where its inputs do not fit it.

    >>> evaluate(Node("Concat", ("a", "b"), ("c",)), [np.array([1]), np.array([-1])]).tolist()
    [1, -1]
    """
    try:
        return np.asarray(_RULES[node.op](node, list(given)))
    except (ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError) as error:
        raise FormatError(f"a node {node.op} of the graph does not fit its inputs: {error}") from error


def _constant(node: Node, _: Given) -> Any:
    for name, kind in CONSTANT_FORMS.items():
        if node.has(name):
            several = node.floats(name) if kind is np.float32 else node.integers(name)
            one = node.number(name, 0.0) if kind is np.float32 else node.integer(name)
            return np.array(several if name.endswith("s") else one, kind)
    return _tensor(node)


def _tensor(node: Node) -> Array:
    found = node.array("value")
    if found is None:
        raise ValueError("it holds no numbers")
    return found


def _divided(_: Node, given: Given) -> Any:
    """Integers are cut towards zero."""
    a, b = given[:2]
    if np.issubdtype(a.dtype, np.floating):
        return np.asarray(a / b)
    if not np.all(b):
        raise ValueError("a division by zero")
    return np.asarray(np.abs(a) // np.abs(b) * np.sign(a) * np.sign(b))


def _filled(node: Node, given: Given) -> Any:
    value = _tensor(node) if node.has("value") else np.zeros(1, np.float32)
    return np.full(_few(given[0].ravel()), value.ravel()[0], value.dtype)


def _expanded(_: Node, given: Given) -> Any:
    wanted = _few(given[1].ravel())
    return np.broadcast_to(given[0], np.broadcast_shapes(given[0].shape, tuple(wanted)))


def _tiled(_: Node, given: Given) -> Any:
    _few([given[0].size, *given[1].ravel()])
    return np.tile(given[0], given[1].ravel())


def _range(_: Node, given: Given) -> Any:
    start, stop, step = (each.ravel()[0] for each in given)
    _few([math.ceil(abs((stop - start) / step))])
    return np.arange(start, stop, step).astype(given[0].dtype)


def _few(sides: Sequence[int] | Array) -> list[int]:
    found = [int(side) for side in sides]
    if math.prod(found) > MOST:
        raise ValueError(f"it would make {math.prod(found):,} numbers of few")
    return found


def _reshaped(_: Node, given: Given) -> Any:
    sides = [given[0].shape[at] if side == 0 else int(side) for at, side in enumerate(given[1].ravel())]
    return given[0].reshape(sides)


def _axes(node: Node, given: Given) -> tuple[int, ...]:
    """Axes, which are an attribute in old graphs and an input in new ones."""
    second = given[1] if len(given) > 1 else None
    return node.integers("axes") if second is None else tuple(int(each) for each in second.ravel())


def _reduced(function: Callable[..., Any]) -> Rule:
    def rule(node: Node, given: Given) -> Any:
        axes = _axes(node, given)
        if not axes and node.integer("noop_with_empty_axes"):
            return given[0]
        found = function(given[0], axis=axes or None, keepdims=bool(node.integer("keepdims", 1)))
        return np.asarray(found, given[0].dtype)

    return rule


def _sliced(node: Node, given: Given) -> Any:
    names = ("starts", "ends", "axes", "steps")
    parts: list[list[int]]
    if len(given) > 1:
        parts = [[] if each is None else each.ravel().tolist() for each in given[1:]]
    else:
        parts = [list(node.integers(name)) for name in names]
    starts, ends, axes, steps = (*parts, [], [])[:4]
    cut = [slice(None)] * given[0].ndim
    for start, end, axis, step in zip(
        starts, ends, axes or range(len(starts)), steps or [1] * len(starts), strict=True
    ):
        cut[axis] = slice(start, None if step < 0 and end < -given[0].shape[axis] else end, step)
    return given[0][tuple(cut)]


_BINARY = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Pow": np.power, "Equal": np.equal}
_UNARY = {"Abs": np.abs, "Ceil": np.ceil, "Floor": np.floor, "Neg": np.negative, "Sqrt": np.sqrt}
_REDUCED: dict[str, Any] = {"ReduceMax": np.max, "ReduceMin": np.min, "ReduceProd": np.prod, "ReduceSum": np.sum}


def _by_name() -> dict[str, Rule]:
    def applied(function: Any) -> Rule:
        return lambda node, given: function(*given)

    rules: dict[str, Rule] = {
        "Constant": _constant,
        "ConstantOfShape": _filled,
        "Div": _divided,
        "Mod": lambda node, given: (np.fmod if node.integer("fmod") else np.mod)(*given),
        "Max": lambda node, given: functools.reduce(np.maximum, given),
        "Min": lambda node, given: functools.reduce(np.minimum, given),
        "Concat": lambda node, given: np.concatenate(given, axis=node.integer("axis")),
        "Cast": lambda node, given: given[0].astype(_KINDS[node.integer("to", 1)]),
        "Identity": lambda node, given: given[0],
        "Gather": lambda node, given: np.take(given[0], given[1].astype(np.int64), axis=node.integer("axis")),
        "Transpose": lambda node, given: np.transpose(given[0], node.integers("perm") or None),
        "Reshape": _reshaped,
        "Squeeze": lambda node, given: np.squeeze(given[0], _axes(node, given) or None),
        "Unsqueeze": lambda node, given: np.expand_dims(given[0], _axes(node, given)),
        "Slice": _sliced,
        "Expand": _expanded,
        "Tile": _tiled,
        "Range": _range,
        "Where": lambda node, given: np.where(*given),
        "Shape": lambda node, given: np.array(
            given[0].shape[node.integer("start") : node.integer("end", given[0].ndim)], np.int64
        ),
        "Size": lambda node, given: np.array(given[0].size, np.int64),
    }
    rules |= {op: applied(function) for op, function in (_BINARY | _UNARY).items()}
    rules |= {op: _reduced(function) for op, function in _REDUCED.items()}
    return rules


_RULES: Mapping[str, Rule] = _by_name()
EVALUATED = frozenset(_RULES)
"""Operators that `evaluate` knows."""
