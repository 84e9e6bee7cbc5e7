"""Channels in another order."""

from __future__ import annotations

import numpy as np

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written
from sepnet.integer.operators.gather import Gather

__all__ = ["WrittenGather"]


class WrittenGather(Written[Gather]):
    """The order."""

    @property
    def kernel(self) -> str:
        return "gather"

    def detail(self, place: Place, constants: Constants) -> Detail:
        return Detail(address=constants.add(np.array(self.operator.order, np.uint16).astype(np.int16), 2))
