"""Constants as large as a map."""

from __future__ import annotations

import numpy as np

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written
from sepnet.integer.operators.fixed import Fixed

__all__ = ["WrittenFixed"]


class WrittenFixed(Written[Fixed]):
    """The numbers as they lie in memory."""

    @property
    def kernel(self) -> str:
        return "fixed"

    def detail(self, place: Place, constants: Constants) -> Detail:
        return Detail(address=constants.add(np.ascontiguousarray(self.operator.q.transpose(1, 2, 0)), 1))
