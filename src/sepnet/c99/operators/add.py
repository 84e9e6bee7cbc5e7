"""Sums and differences of two values."""

from __future__ import annotations

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written, rule_text
from sepnet.integer.operators.add import Add

__all__ = ["WrittenAdd"]


class WrittenAdd(Written[Add]):
    """Its rule is all that it needs."""

    @property
    def kernel(self) -> str:
        return "add"

    @property
    def second(self) -> str:
        return self.operator.second

    def detail(self, place: Place, constants: Constants) -> Detail:
        return Detail("struct rule", rule_text(self.operator.requantize, constants))
