"""Functions of one number."""

from __future__ import annotations

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written
from sepnet.integer.operators.lookup import Lookup

__all__ = ["WrittenLookup"]


class WrittenLookup(Written[Lookup]):
    """A table of 256 bytes."""

    @property
    def kernel(self) -> str:
        return "lookup"

    def detail(self, place: Place, constants: Constants) -> Detail:
        return Detail(address=constants.add(self.operator.table, 1))
