"""What every operator of an integer model answers, before its numbers have scales (a draft) and after."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from sepnet.integer.requantize import Requantize
from sepnet.integer.value import Shape, Value

__all__ = ["EVERY_ROW", "Clamp", "Draft", "Integers", "Moved", "OfOne", "OfTwo", "Operator", "Reach", "Scaled", "Wish"]

Integers = npt.NDArray[np.int64]
Wish = npt.NDArray[np.float64]
"""(channels, height, width): how much more is wanted of each number."""
Clamp = tuple[float, float]


@dataclass(frozen=True)
class Reach:
    """Row r of an operator reads the rows r * stride - top to r * stride - top + reach of its sources, as far as they exist."""

    stride: int = 1
    top: int = 0
    reach: int = 0


EVERY_ROW = Reach(0, 0, 65535)
"""Of an operator that reads all rows of its sources before it makes one."""


class OfOne:
    """Goes before `Operator` or `Draft` where one value is read, the field `source`."""

    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of what it reads."""
        return (self.source,)


class OfTwo:
    """Goes before `Operator` or `Draft` where two values are read, the fields `first` and `second`; of these the second may be one a channel."""

    first: str
    second: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of what it reads."""
        return self.first, self.second

    @staticmethod
    def shared(wish: Wish, shapes: Sequence[Shape]) -> Wish:
        """The wish of the target as the second of these shapes takes it: summed up where that is one a channel."""
        return wish if shapes[1] == shapes[0] else np.asarray(wish.sum(axis=(1, 2), keepdims=True))


class Operator(abc.ABC):
    """Makes one value of others, in integers.  A subclass is a frozen dataclass with `target`, the name of what it makes.

    Attributes:
        in_place: whether each number depends on the one at the same place alone, so that it may be written there.
        joins: whether it reads several values into different places of one.
    """

    target: str
    in_place: ClassVar[bool] = False
    joins: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def sources(self) -> tuple[str, ...]:
        """Names of what it reads."""

    @abc.abstractmethod
    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        """What it computes, in numpy: the definition that every other engine equals bit for bit.

        Args:
            given: q of each source, (n, channels, height, width).
            sources, target: what they stand for.
        """

    @abc.abstractmethod
    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        """What its sources, of these shapes, should be for a wish of its target, as if it were linear."""

    @property
    def reach(self) -> Reach:
        """Which rows it reads."""
        return Reach()

    @property
    def rule(self) -> Requantize | None:
        """How its sums become numbers; None where it sums nothing up."""
        return None

    @property
    def title(self) -> str:
        """Name of its weight, for people; "" without one."""
        return ""

    @property
    def bounds(self) -> tuple[Integers, Integers] | None:
        """The least and the largest sum of each filter; None without weights."""
        return None

    def followed(self, filter: int, sign: float, source: Value, target: Value) -> Wish:
        """What its source should be for sums of a filter that are large, or with sign -1 small.  Of operators with `bounds`."""
        raise NotImplementedError

    def macs(self, target: Value) -> int:
        """Multiply-accumulates for one example."""
        return 0


class Scaled(Operator):
    """An operator whose sums become numbers by its field `requantize`."""

    requantize: Requantize

    @property
    def rule(self) -> Requantize:
        return self.requantize


class Draft(abc.ABC):
    """An operator on real numbers, as `trace.py` finds it in a graph.

    Attributes:
        target: name of what it makes.
        scales: whether its operator ends in a `Requantize`, whose limits may be those of a clamp right after it.
        moves: whether its target has the scale and the zero of its sources.
        gives_wide, takes_wide: whether what it makes, or reads, may have 16 bits.
        carries_wide: of one that moves: whether both may.
        rearranges: whether it does nothing but change the order of numbers.
    """

    target: str
    scales: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    gives_wide: ClassVar[bool] = False
    takes_wide: ClassVar[bool] = False
    carries_wide: ClassVar[bool] = False
    rearranges: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def sources(self) -> tuple[str, ...]:
        """Names of what it reads."""

    @property
    def limits(self) -> Clamp | None:
        """Those of the result, when it is nothing but a clamp."""
        return None

    def renamed(self, target: str) -> Self:
        """The same, under another name of what it makes."""
        return replace(self, target=target)  # type: ignore[type-var]  # every subclass is a dataclass

    @property
    def span(self) -> Clamp | None:
        """The range of what it makes, where that is known without examples."""
        return None

    @property
    def affine(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        """What it multiplies with and what it adds, one a channel or one for all, when it is nothing else."""
        return None

    @property
    def of_values(self) -> Callable[..., npt.NDArray[Any]] | None:
        """The function that it is of the numbers at the same place of its sources; None for all others."""
        return None

    def absorbed(self, draft: Draft) -> Draft | None:
        """Itself with another, the only one that reads what it makes, in it; None where that cannot be."""
        return None

    @abc.abstractmethod
    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> Operator:
        """The operator, once its values have scales."""


class Moved(Operator, Draft):
    """An operator that only moves or compares numbers: it is its own draft."""

    moves: ClassVar[bool] = True

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> Self:
        """Itself."""
        return self
