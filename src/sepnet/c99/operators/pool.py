"""The largest number, or the mean, of each window."""

from __future__ import annotations

import numpy as np

from sepnet.c99.constants import Constants
from sepnet.c99.written import Detail, Place, Written, rule_text, sides_text
from sepnet.integer.operators.pool import AveragePool, MaxPool

__all__ = ["WrittenAverage", "WrittenMax"]


class WrittenMax(Written[MaxPool]):
    """It has no rule."""

    @property
    def sides(self) -> tuple[int, ...]:
        return self.operator.strides[1], self.operator.pads[1]

    @property
    def kernel(self) -> str:
        return "pool_max"

    def detail(self, place: Place, constants: Constants) -> Detail:
        return Detail("struct pool", f"{{{{0, 0, 0, 0, 0, 0, 0, 0}}, 0, {_window(self)}}}")


class WrittenAverage(Written[AveragePool]):
    """Of more than 65,535 numbers it has another kernel."""

    @property
    def sides(self) -> tuple[int, ...]:
        return self.operator.strides[1], self.operator.pads[1]

    @property
    def kernel(self) -> str:
        return "pool_average" if count_bytes(self.operator) == 2 else "pool_average_long"

    def detail(self, place: Place, constants: Constants) -> Detail:
        size = count_bytes(self.operator)
        numbers = np.array(self.operator.counts, np.uint32).astype(np.int16 if size == 2 else np.int32)
        counts = constants.add(numbers, size)
        rule = rule_text(self.operator.requantize, constants)
        return Detail("struct pool", f"{{{rule}, (const uint16_t *)({counts}), {_window(self)}}}")


def count_bytes(pool: AveragePool) -> int:
    """Of the number of numbers in a window."""
    return 2 if max(pool.counts) < 1 << 16 else 4


def _window(written: WrittenMax | WrittenAverage) -> str:
    high, wide = written.operator.kernel
    return f"{high}, {wide}, {sides_text(written.sides, written.operator)}"
