"""Operators of a network before their numbers have scales: what `trace.py` finds in a graph and `lower.py` makes integer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepnet.integer.model import Concat, Gather, MaxPool, Pad, Slice

__all__ = ["Draft", "Function", "Linear", "Mean", "Product", "Response", "Sum", "Trace", "sources_of_draft"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Linear:
    """A convolution of weight * scale[filter], plus bias; fields otherwise as of `Conv`."""

    source: str
    target: str
    weight: npt.NDArray[np.int8]
    scale: Floats
    bias: Floats
    layer: str
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilations: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True)
class Mean:
    """The mean of each window; `padded` counts the zeros outside of the map too."""

    source: str
    target: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    padded: bool


@dataclass(frozen=True)
class Sum:
    """first + sign * second."""

    first: str
    second: str
    target: str
    sign: int = 1


@dataclass(frozen=True)
class Product:
    """first * second."""

    first: str
    second: str
    target: str


@dataclass(frozen=True)
class Function:
    """A function of one number; `clamp` are its limits when it is nothing but a clamp."""

    source: str
    target: str
    function: Callable[[Floats], Floats]
    clamp: tuple[float, float] | None = None


@dataclass(frozen=True)
class Response:
    """x / (bias + alpha * mean of x^2 over the `size` channels around)^beta, channels outside being 0."""

    source: str
    target: str
    size: int
    alpha: float
    beta: float
    bias: float


Draft = Linear | Mean | Sum | Product | Function | Response | MaxPool | Concat | Slice | Pad | Gather


@dataclass(frozen=True)
class Trace:
    """A network's operators on real numbers, the shapes of all values, and the names of its ends."""

    drafts: tuple[Draft, ...]
    shapes: dict[str, tuple[int, int, int]]
    input: str
    output: str


def sources_of_draft(draft: Draft) -> tuple[str, ...]:
    """Names of what it reads."""
    if isinstance(draft, Concat):
        return draft.sources
    if isinstance(draft, Sum | Product):
        return draft.first, draft.second
    return (draft.source,)
