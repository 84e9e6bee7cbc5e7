"""Rows or columns of several values one after the other."""

from __future__ import annotations

import numpy as np

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written
from sepnet.integer.operators.join import Join

__all__ = ["WrittenJoin"]


class WrittenJoin(Written[Join]):
    """The numbers of the maps that follow one another, 65535 behind the last."""

    @property
    def kernel(self) -> str:
        return "join_rows" if self.operator.axis == 1 else "join_columns"

    def detail(self, place: Place, constants: Constants) -> Detail:
        listed = [*(place.numbers[name] for name in self.operator.sources), 65535]
        return Detail(address=constants.add(np.array(listed, np.uint16).astype(np.int16), 2))
