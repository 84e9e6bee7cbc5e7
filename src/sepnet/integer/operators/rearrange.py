"""Numbers of a map in another order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.operator import EVERY_ROW, Integers, Moved, OfOne, Reach, Wish
from sepnet.integer.value import Shape, Value
from sepnet.integer.view import Factor, View

__all__ = ["Rearrange"]


@dataclass(frozen=True)
class Rearrange(OfOne, Moved):
    """Numbers in another order, or repeated: along each side of the target, factors of where they are in the source.

    Attributes:
        factors: of channels, height and width of the target, as those of a `View` of the source.
    """

    carries_wide: ClassVar[bool] = True
    rearranges: ClassVar[bool] = True

    source: str
    target: str
    factors: tuple[tuple[Factor, ...], ...]

    @property
    def reach(self) -> Reach:
        return EVERY_ROW

    def _places(self, target: Shape) -> npt.NDArray[np.int64]:
        return View(target, self.factors).places()

    def run(self, given: Sequence[Integers], sources: Sequence[Value], target: Value) -> Integers:
        (source,) = given
        flat = source.reshape(len(source), math.prod(source.shape[1:]))
        return flat[:, self._places(target.shape)].reshape(len(source), *target.shape)

    def back(self, wish: Wish, shapes: Sequence[Shape]) -> list[Wish]:
        back: Wish = np.zeros(shapes[0])
        np.add.at(back.reshape(-1), self._places((wish.shape[0], wish.shape[1], wish.shape[2])), wish.ravel())
        return [back]
