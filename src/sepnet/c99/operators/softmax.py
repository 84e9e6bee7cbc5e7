"""Softmax over channels, and its logarithm."""

from __future__ import annotations

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written, rule_text
from sepnet.integer.operators.softmax import LogSoftmax, Softmax

__all__ = ["WrittenLogSoftmax", "WrittenSoftmax"]


class WrittenSoftmax(Written[Softmax]):
    """Tables of powers."""

    @property
    def kernel(self) -> str:
        return "softmax"

    def detail(self, place: Place, constants: Constants) -> Detail:
        low, high = (constants.add(each, 2) for each in (self.operator.low, self.operator.high))
        return Detail("struct softmax", f"{{{low}, {high}, {self.operator.one}}}")


class WrittenLogSoftmax(Written[LogSoftmax]):
    """Tables of powers and of logarithms."""

    @property
    def kernel(self) -> str:
        return "log_softmax"

    def detail(self, place: Place, constants: Constants) -> Detail:
        tables = self.operator.low, self.operator.high, self.operator.logs
        low, high, logs = (constants.add(each, 2) for each in tables)
        rule = rule_text(self.operator.requantize, constants)
        return Detail("struct log_softmax", f"{{{rule}, {low}, {high}, {logs}}}")
