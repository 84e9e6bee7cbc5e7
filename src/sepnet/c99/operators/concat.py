"""Channels of several values side by side."""

from __future__ import annotations

import numpy as np

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written
from sepnet.integer.operators.concat import Concat

__all__ = ["WrittenConcat"]


class WrittenConcat(Written[Concat]):
    """The numbers of the maps that follow one another, 65535 behind the last."""

    @property
    def kernel(self) -> str:
        return "concat"

    def detail(self, place: Place, constants: Constants) -> Detail:
        listed = [*(place.numbers[name] for name in self.operator.sources), 65535]
        return Detail(address=constants.add(np.array(listed, np.uint16).astype(np.int16), 2))
