"""Local response normalization."""

from __future__ import annotations

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written, rule_text
from sepnet.integer.operators.response import ResponseNorm

__all__ = ["WrittenResponse"]


class WrittenResponse(Written[ResponseNorm]):
    """A table of factors."""

    @property
    def kernel(self) -> str:
        return "response"

    def detail(self, place: Place, constants: Constants) -> Detail:
        norm = self.operator
        table = constants.add(norm.table, 2)
        rule = rule_text(norm.requantize, constants)
        return Detail("struct response", f"{{{rule}, {table}, {norm.shift}, {norm.size // 2}}}")
