"""Functions of one number, as ONNX defines them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import erf, inf
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.graphs.onnx_graph import Node

__all__ = ["clamp_of", "function_of"]

Array = npt.NDArray[Any]
Limits = Sequence[Array | None]


def clamp_of(node: Node, limits: Limits) -> tuple[float, float] | None:
    """(low, high) of Relu and Clip; None for all others.

    >>> clamp_of(Node("Relu", ("x",), ("y",)), [])
    (0.0, inf)
    """
    if node.op == "Relu":
        return 0.0, inf
    if node.op != "Clip":
        return None
    low, high = (*limits, None, None)[:2]
    low_number = node.number("min", -inf) if low is None else float(low.ravel()[0])
    return low_number, node.number("max", inf) if high is None else float(high.ravel()[0])


def function_of(node: Node, limits: Limits) -> Callable[[Array], Array]:
    """The function.  `KeyError` for operators that have none here."""
    clamp = clamp_of(node, limits)
    if clamp is not None:
        return lambda x: np.clip(x, *clamp)
    alpha = node.number("alpha", {"LeakyRelu": 0.01, "HardSigmoid": 0.2}.get(node.op, 1.0))
    beta, gamma = node.number("beta", 0.5), node.number("gamma", 1.0507009873554805)
    selu, tanh = node.number("alpha", 1.6732632423543772), node.text("approximate", "none") == "tanh"
    error = np.vectorize(erf, otypes=[np.float64])
    functions: dict[str, Callable[[Array], Array]] = {
        "Sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "HardSigmoid": lambda x: np.clip(alpha * x + beta, 0, 1),
        "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
        "LeakyRelu": lambda x: np.where(x < 0, alpha * x, x),
        "Elu": lambda x: np.where(x < 0, alpha * np.expm1(x), x),
        "Tanh": np.tanh,
        "Neg": np.negative,
        "Abs": np.abs,
        "Sqrt": lambda x: np.sqrt(np.maximum(x, 0)),
        "Exp": np.exp,
        "Erf": error,
        "Softplus": lambda x: np.logaddexp(x, 0),
        "Softsign": lambda x: x / (1 + np.abs(x)),
        "Selu": lambda x: gamma * np.where(x < 0, selu * np.expm1(x), x),
        "Celu": lambda x: np.where(x < 0, alpha * np.expm1(x / alpha), x),
        "ThresholdedRelu": lambda x: np.where(x > alpha, x, 0),
        "Gelu": lambda x: x / 2 * (1 + (np.tanh(0.7978845608 * (x + 0.044715 * x**3)) if tanh else error(x / 2**0.5))),
        "Mish": lambda x: x * np.tanh(np.logaddexp(x, 0)),
        "Log": lambda x: np.log(np.maximum(x, 1e-30)),
        "Reciprocal": lambda x: 1 / np.where(x == 0, 1e-30, x),
        "Floor": np.floor,
        "Ceil": np.ceil,
        "Round": np.rint,
        "Sign": np.sign,
    }
    return functions[node.op]
