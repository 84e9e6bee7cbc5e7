"""Zeros around maps."""

from __future__ import annotations

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written
from sepnet.integer.operators.pad import Pad

__all__ = ["WrittenPad"]


class WrittenPad(Written[Pad]):
    """How many channels and columns of zeros come first."""

    @property
    def kernel(self) -> str:
        return "pad"

    def detail(self, place: Place, constants: Constants) -> Detail:
        return Detail("struct pad", f"{{{self.operator.before[0]}, {self.operator.before[2]}}}")
