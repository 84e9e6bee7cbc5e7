"""A network's graph as it goes into a packed file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import WeightsError

__all__ = ["NORM_PARTS", "ExportedGraph", "Norm"]

Numbers = npt.NDArray[np.float32]
NORM_PARTS = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Norm:
    """A batch normalization of the graph.

    Attributes:
        name: module path, the common prefix of its four tensors.
        eps: its epsilon.
        weight: state-dict key of the weight it was folded into, "" when it was left.
        bias: state-dict key of that layer's own bias, "" when it has none.
        done: whether the numbers are folded as well: those of `weight` are, and `<name>.bias` holds what is added.
    """

    name: str
    eps: float
    weight: str = ""
    bias: str = ""
    done: bool = False

    def factor_and_shift(self, state: Mapping[str, npt.NDArray[Any]]) -> tuple[npt.NDArray[np.float64], Numbers]:
        """What it comes to: y = factor * (x without `bias`) + shift, a number a channel.

        Raises `WeightsError` for a negative variance.

        >>> one = np.ones(1)
        >>> state = {"n.weight": 3 * one, "n.bias": 5 * one, "n.running_mean": one, "n.running_var": 3 * one}
        >>> [each.tolist() for each in Norm("n", 1.0).factor_and_shift(state)]
        [[1.5], [3.5]]
        """
        parts = [np.asarray(state[f"{self.name}.{part}"], np.float64) for part in NORM_PARTS]
        gamma, beta, mean, variance = parts
        if variance.min(initial=0.0) < 0:
            raise WeightsError(f"{self.name}.running_var holds a negative variance; the weights are damaged")
        factor = gamma / np.sqrt(variance + self.eps)
        own = np.asarray(state[self.bias], np.float64) if self.bias else 0.0
        return factor, (beta + factor * (own - mean)).astype(np.float32)


@dataclass(frozen=True)
class ExportedGraph:
    """An ONNX graph that names weights it does not hold.

    Attributes:
        data: serialized ModelProto.
        used: state-dict keys that the graph refers to, of tied ones the first.
        norms: its batch normalizations, folded or left.
        tied: second name -> first name of state-dict entries that are one tensor.
    """

    data: bytes
    used: frozenset[str]
    norms: tuple[Norm, ...]
    tied: Mapping[str, str] = field(default_factory=dict)
