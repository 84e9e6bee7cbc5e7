"""Parts of maps."""

from __future__ import annotations

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written, small
from sepnet.integer.operators.slice import Slice

__all__ = ["WrittenSlice"]


class WrittenSlice(Written[Slice]):
    """Where it starts, and its steps."""

    @property
    def kernel(self) -> str:
        return "slice"

    def detail(self, place: Place, constants: Constants) -> Detail:
        starts, steps = self.operator.starts, [small(step, self.operator) for step in self.operator.steps]
        return Detail("struct slice", f"{{{starts[0]}, {starts[2]}, {steps[2]}, {steps[0]}}}")
