"""The integer model: a network as a list of operators on 8-bit numbers.

Values are maps (channels, height, width) of unsigned 8-bit numbers q that stand for scale * (q - zero).  Sums are exact
integers; every operator that scales them ends in a `Requantize`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sepnet.integer.operator import Operator
from sepnet.integer.value import Value
from sepnet.integer.view import View

__all__ = ["IntegerModel", "Output"]


@dataclass(frozen=True)
class Output:
    """An output of the network: its name, the value that holds its numbers, and how they lie there."""

    name: str
    value: str
    view: View


@dataclass(frozen=True, eq=False)
class IntegerModel:
    """A network in integers.

    Attributes:
        network: what it is called.
        input: name of the value that is the input.
        view: how the input's numbers lie in it.
        outputs: what it gives, in the graph's order.
        values: by name.
        operators: in the order in which they run.
    """

    network: str
    input: str
    view: View
    outputs: tuple[Output, ...]
    values: dict[str, Value]
    operators: tuple[Operator, ...]

    @property
    def output(self) -> str:
        """Name of the value that holds the first output."""
        return self.outputs[0].value

    @property
    def kept(self) -> frozenset[str]:
        """Names of the values that hold outputs."""
        return frozenset(each.value for each in self.outputs)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of convolutions and fully connected layers for one example."""
        return sum(each.macs(self.values[each.target]) for each in self.operators)
