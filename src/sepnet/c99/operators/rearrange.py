"""Numbers of a map in another order."""

from __future__ import annotations

import numpy as np

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written
from sepnet.integer.operators.rearrange import Rearrange
from sepnet.integer.view import lying

__all__ = ["WrittenRearrange"]


class WrittenRearrange(Written[Rearrange]):
    """Counts and steps of factors, in numbers of memory."""

    @property
    def kernel(self) -> str:
        return "rearrange"

    def detail(self, place: Place, constants: Constants) -> Detail:
        shape, numbers = self.model.values[self.operator.source].shape, list[int]()
        channels, rows, columns = (lying(each, shape)[::-1] for each in self.operator.factors)
        for each in (channels, columns, rows):
            numbers += [len(each), *(number for factor in each for number in factor)]
        return Detail(address=constants.add(np.array(numbers, np.int32), 4))
