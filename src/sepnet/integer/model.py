"""The integer model: a network as a list of operators on 8-bit numbers.

Values are maps (channels, height, width) of unsigned 8-bit numbers q that stand for scale * (q - zero).  Sums are exact
integers; every operator that scales them ends in a `Requantize`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sepnet.integer.operator import Operator
from sepnet.integer.value import Value

__all__ = ["IntegerModel"]


@dataclass(frozen=True, eq=False)
class IntegerModel:
    """A network in integers.

    Attributes:
        network: what it is called.
        input, output: names of values.
        values: by name.
        operators: in the order in which they run.
    """

    network: str
    input: str
    output: str
    values: dict[str, Value]
    operators: tuple[Operator, ...]

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and fully connected layers for one example."""
        return sum(each.macs(self.values[each.target]) for each in self.operators)
