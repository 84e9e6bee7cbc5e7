"""Numbers below zero times one number a channel."""

from __future__ import annotations

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written, rule_text
from sepnet.integer.operators.slope import Slope

__all__ = ["WrittenSlope"]


class WrittenSlope(Written[Slope]):
    """Its rule is all that it needs."""

    @property
    def kernel(self) -> str:
        return "slope"

    def detail(self, place: Place, constants: Constants) -> Detail:
        return Detail("struct rule", rule_text(self.operator.requantize, constants))
