"""Functions of one number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import Clamp, Draft, Integers, OfOne, Operator, Wish
from sepnet.integer.value import Shape, Value

__all__ = ["Function", "Lookup"]


@dataclass(frozen=True)
class Function(OfOne, Draft):
    """A function of one number; `clamp` are its limits when it is nothing but a clamp, `line` (by, more) when it is x * by + more."""

    source: str
    target: str
    function: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
    clamp: Clamp | None = None
    line: tuple[float, float] | None = None

    @property
    def affine(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]] | None:
        return None if self.line is None else (np.array(self.line[:1]), np.array(self.line[1:]))

    @property
    def of_values(self) -> Callable[..., npt.NDArray[Any]]:
        return self.function

    @property
    def limits(self) -> Clamp | None:
        return self.clamp

    def integer(self, sources: Sequence[Value], target: Value, clamp: Clamp | None) -> Lookup:
        numbers = (np.arange(256) - sources[0].zero) * sources[0].scale
        with np.errstate(all="ignore"):
            table = [target.q(float(each)) for each in np.nan_to_num(self.function(numbers.astype(np.float64)))]
        return Lookup(self.source, self.target, np.array(table, np.uint8))


@dataclass(frozen=True, eq=False)
class Lookup(OfOne, Operator):
    """q becomes table[q]: any function of one number."""

    in_place: ClassVar[bool] = True

    source: str
    target: str
    table: npt.NDArray[np.uint8]

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        return np.asarray(self.table.astype(np.int64)[given[0]])

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        return [wish * np.sign(int(self.table[255]) - int(self.table[0]))]
