"""A graph on its way into a packed file, and the driver that takes it there, one named pass after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.core.pack_report import PassRow
from sepnet.packing.graph import Norm

__all__ = ["Codes", "Draft", "Pass", "State", "apply", "count"]

State = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Codes:
    """Integers that a weight came as.

    Attributes:
        integers: its numbers in steps.
        steps: one for all, of shape (), or one for each place along `axis`.
    """

    integers: npt.NDArray[np.int64]
    steps: npt.NDArray[np.float64]
    axis: int = 0

    @property
    def turned(self) -> Codes:
        """Of a matrix whose two axes change places."""
        return Codes(self.integers.T, self.steps, 1 - self.axis)

    def times(self, factor: npt.NDArray[np.float64]) -> Codes:
        """With a factor for each place along the first axis, along which the steps lie too."""
        return Codes(self.integers, self.steps * factor)

    def coded(self, name: str) -> CodedTensor | None:
        """As a packed file holds it, steps in binary16; None where they are not one a filter, filters first."""
        if self.steps.ndim and self.axis != 0:
            return None
        return CodedTensor(name, np.ascontiguousarray(self.integers), "integer", ("linear",), Half.of(self.steps))


@dataclass
class Draft:
    """What passes change.

    Attributes:
        proto: an `onnx.ModelProto`.
        names: of the tensors that a packed file keeps apart from its graph; `used`: those that it refers to in the end.
        norms: batch normalizations of the graph, folded or left.
        keep_ends: whether inputs, outputs and their free sides keep their names.
        weights, biases: of `names`, those that layers multiply with, and those that they add.
        state: numbers of `names` where the graph came with them, float32, filters first.
        turned: of `weights`, those that the graph came with inputs first.
        codes: of those of `weights` that the graph came with as integers, as they lie there.
        kept: floats that no layer multiplies with or adds, by name: how many numbers, and why they stay as they are.
        params: learnable numbers among `state`.
    """

    proto: Any
    names: set[str] = field(default_factory=set)
    used: frozenset[str] = frozenset()
    norms: tuple[Norm, ...] = ()
    keep_ends: bool = True
    weights: frozenset[str] = frozenset()
    biases: frozenset[str] = frozenset()
    state: State = field(default_factory=dict)
    turned: set[str] = field(default_factory=set)
    codes: dict[str, Codes] = field(default_factory=dict)
    kept: dict[str, tuple[int, str]] = field(default_factory=dict)
    params: int = 0

    @property
    def graph(self) -> Any:
        """Its GraphProto."""
        return self.proto.graph


Pass = tuple[str, Callable[[Draft], str]]
"""A name, and what changes the draft and says in a few words what it changed, "" for nothing."""


def apply(draft: Draft, passes: Sequence[Pass]) -> tuple[PassRow, ...]:
    """Apply the passes in their order; a row each."""
    return tuple(PassRow(name, run(draft)) for name, run in passes)


def count(*found: tuple[int, str]) -> str:
    """What happened, and how often; "" when all are 0.

    >>> count((2, "nodes dropped"), (0, "cut"), (1, "norms folded")), count((0, "cut"))
    ('nodes dropped: 2, norms folded: 1', '')
    """
    return ", ".join(f"{words}: {number:,}" for number, words in found if number)
