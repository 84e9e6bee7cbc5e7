"""An operator as C: what a kind of operator answers when a program is generated."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from sepnet.c99.constants import Constants
from sepnet.c99.memory import MemoryPlan
from sepnet.core.errors import NetworkError
from sepnet.integer.model import IntegerModel
from sepnet.integer.operator import Operator
from sepnet.integer.requantize import Requantize

__all__ = ["Detail", "Part", "Place", "Signs", "Written", "rule_text", "sides_text", "small"]

MOST_SIDE = 65535
Kind = TypeVar("Kind", bound=Operator)


class Detail(NamedTuple):
    """C type of an operator's details, its initializer, and what it is as a value; "" where there is none."""

    type: str = ""
    initializer: str = ""
    address: str = ""


@dataclass(frozen=True)
class Part:
    """Constants of a program: a layer's weights, with their shape and how they are written, or all that goes with them."""

    name: str
    shape: tuple[int, ...]
    how: str
    bytes: int


class Signs(NamedTuple):
    """Of a layer that looks signs up: its shape, and groups of four channels in a table."""

    shape: tuple[int, ...]
    block: int


@dataclass(frozen=True)
class Place:
    """Where an operator is: its number, the plan of the memory, and the numbers of the maps."""

    at: int
    plan: MemoryPlan
    numbers: dict[str, int]


class Written(abc.ABC, Generic[Kind]):
    """One operator of a program.

    Args:
        operator: the operator.
        model: the network.
        lanes: for processors with vectors and much memory.
    """

    def __init__(self, operator: Kind, model: IntegerModel, lanes: bool = False) -> None:
        self.operator, self.model, self.lanes = operator, model, lanes

    @staticmethod
    def merged(operator: Kind) -> Kind:
        """The operator as it is computed with vectors."""
        return operator

    @property
    @abc.abstractmethod
    def kernel(self) -> str:
        """The file of the kernel that makes its rows, and the name of its function."""

    @property
    def second(self) -> str:
        """The value that a kernel of two sources reads besides the first; "" of one that reads nothing."""
        return next(iter(self.operator.sources), "")

    @property
    def scratch(self) -> tuple[int, int]:
        """Bytes that it needs while it makes a row, when its source keeps all rows and when not."""
        return 0, 0

    @property
    def data(self) -> bytes:
        """The bytes of its weights; b"" without any."""
        return b""

    @property
    def part(self) -> Part | None:
        """Its weights, for people."""
        return None

    @property
    def signs(self) -> Signs | None:
        """Of a layer that looks signs up."""
        return None

    @property
    def sides(self) -> tuple[int, ...]:
        """Sides and steps of its window that a byte of its details holds where none in the program is larger."""
        return ()

    @abc.abstractmethod
    def detail(self, place: Place, constants: Constants) -> Detail:
        """Its details; what is large goes into the constants."""


def sides_text(sides: tuple[int, ...], operator: Operator) -> str:
    """The initializers of `Written.sides`.  Raises `NetworkError` for what two bytes do not hold."""
    for number in sides:
        if not 0 <= number <= MOST_SIDE:
            raise NetworkError(
                f"the operator that makes {operator.target!r} has a side or step of {number}; expected {MOST_SIDE:,} at most"
            )
    return ", ".join(map(str, sides))


def small(number: int, operator: Operator) -> int:
    """A number that a byte holds.  Raises `NetworkError`."""
    if not 0 <= number <= 255:
        raise NetworkError(
            f"the operator that makes {operator.target!r} has a side or step of {number}; expected 255 at most"
        )
    return number


def rule_text(rule: Requantize, constants: Constants) -> str:
    """The initializer of a `struct rule`."""
    size = 2 if int(np.abs(rule.offsets).max(initial=0)) < 1 << 15 else 4
    multipliers, offsets = constants.add(rule.multipliers, 2), constants.add(rule.offsets, size)
    long = int(rule.long) + int(rule.long_sum)
    return f"{{{multipliers}, {offsets}, {size}, {rule.offset_shift}, {rule.shift}, {long}, {rule.low}, {rule.high}}}"
