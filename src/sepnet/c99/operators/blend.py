"""Rows and columns between those of a map."""

from __future__ import annotations

import numpy as np

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written
from sepnet.integer.operators.blend import Blend

__all__ = ["WrittenBlend"]


class WrittenBlend(Written[Blend]):
    """What each row and column is made of."""

    @property
    def kernel(self) -> str:
        return "blend"

    def detail(self, place: Place, constants: Constants) -> Detail:
        lines = np.array([*self.operator.rows, *self.operator.columns], np.uint16)
        return Detail(address=constants.add(lines.astype(np.int16), 2))
