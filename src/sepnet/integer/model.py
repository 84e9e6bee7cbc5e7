"""The integer model: a network as a list of operators on 8-bit numbers.  `reference.py` says what each computes.

Values are maps (channels, height, width) of unsigned 8-bit numbers q that stand for scale * (q - zero).  Sums are exact
integers; every operator that scales them ends in a `Requantize`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "Add",
    "AveragePool",
    "Concat",
    "Conv",
    "Gather",
    "IntegerModel",
    "Lookup",
    "MaxPool",
    "Multiply",
    "Operator",
    "Pad",
    "Requantize",
    "ResponseNorm",
    "Slice",
    "Value",
    "sources_of",
]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Value:
    """What flows between operators.

    Attributes:
        name: of the value in the packed file's graph.
        shape: (channels, height, width) of one example.
        scale, zero: a number q stands for scale * (q - zero).
        wide: signed 16-bit instead of unsigned 8-bit numbers, for the outputs of a network.
    """

    name: str
    shape: Shape
    scale: float
    zero: int
    wide: bool = False

    @property
    def elements(self) -> int:
        """Numbers of one example."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def bytes(self) -> int:
        """Bytes of one example."""
        return self.elements * (2 if self.wide else 1)

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest q."""
        return (-32768, 32767) if self.wide else (0, 255)

    def q(self, number: float) -> int:
        """The q of a number: clamp(floor(number / scale + zero + 1/2))."""
        low, high = self.limits
        return int(min(max(np.floor(number / self.scale + self.zero + 0.5), low), high))


@dataclass(frozen=True, eq=False)
class Requantize:
    """From a sum to a number: clamp((sum * multipliers[c] + offsets[c] * 2**offset_shift) >> shift, low, high).

    `>>` rounds towards minus infinity; one half, the zero of the result and that of what went in are in the offset.

    Attributes:
        multipliers: int16, one a channel.
        offsets: int32, one a channel.
        offset_shift, shift: bits.
        low, high: limits of the result, those of an activation function that is part of the operator among them.
        long: whether a product needs more than 32 bits; otherwise it fits them whatever the inputs are.
        long_sum: whether a sum already does; then `long` is set too.
    """

    multipliers: npt.NDArray[np.int16]
    offsets: npt.NDArray[np.int32]
    offset_shift: int
    shift: int
    low: int
    high: int
    long: bool
    long_sum: bool


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution or fully connected layer: the sum of weight * q, where q outside of the map is the input's zero.

    Attributes:
        source, target: names of values.
        weight: int8 (filters, channels / groups, height, width).
        strides, dilations: down, right.
        pads: top, left, bottom, right.
        groups: of channels.
        requantize: a multiplier a filter.
        layer: name of the weight, for people.
    """

    source: str
    target: str
    weight: npt.NDArray[np.int8]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilations: tuple[int, int]
    groups: int
    requantize: Requantize
    layer: str


@dataclass(frozen=True)
class MaxPool:
    """The largest q of each window, of those inside of the map."""

    source: str
    target: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class AveragePool:
    """The mean of each window: the sum of q of the window inside of the map, requantized by how many they are.

    Attributes:
        counts: the numbers of q that windows have; requantize has a multiplier and an offset for each, in this order.
    """

    source: str
    target: str
    kernel: tuple[int, int]
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]
    counts: tuple[int, ...]
    requantize: Requantize


@dataclass(frozen=True, eq=False)
class Add:
    """a * multipliers[0] + b * multipliers[1], then as `Requantize` with offsets[0]; b may be one a channel."""

    first: str
    second: str
    target: str
    requantize: Requantize


@dataclass(frozen=True, eq=False)
class Multiply:
    """The sum that `Requantize` takes is (a - zero of a) * (b - zero of b); b may be one a channel."""

    first: str
    second: str
    target: str
    requantize: Requantize


@dataclass(frozen=True, eq=False)
class ResponseNorm:
    """Local response normalization: S is the sum of (q - zero)^2 over the channels around that are inside of the map.

    factor = table[i] + (((table[i + 1] - table[i]) * (S mod 2^shift)) >> shift), i = S >> shift; the sum that
    `Requantize` takes is (q - zero) * factor, with one multiplier for all channels.

    Attributes:
        size: channels of a window, odd.
    """

    source: str
    target: str
    size: int
    table: npt.NDArray[np.int16]
    shift: int
    requantize: Requantize


@dataclass(frozen=True)
class Concat:
    """Channels of several values, all of one scale and zero."""

    sources: tuple[str, ...]
    target: str


@dataclass(frozen=True, eq=False)
class Lookup:
    """q becomes table[q]: any function of one number."""

    source: str
    target: str
    table: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Slice:
    """From each side every `steps`-th, from `starts` on; (channels, height, width)."""

    source: str
    target: str
    starts: Shape
    steps: Shape


@dataclass(frozen=True)
class Pad:
    """Zeros (the input's zero) before and after each side, (channels, height, width)."""

    source: str
    target: str
    before: Shape
    after: Shape


@dataclass(frozen=True)
class Gather:
    """Channels in another order."""

    source: str
    target: str
    order: tuple[int, ...]


Operator = Conv | MaxPool | AveragePool | Add | Multiply | ResponseNorm | Concat | Lookup | Slice | Pad | Gather


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
        convs = [each for each in self.operators if isinstance(each, Conv)]
        return sum(int(each.weight.size * np.prod(self.values[each.target].shape[1:])) for each in convs)


def sources_of(operator: Operator) -> tuple[str, ...]:
    """Names of what an operator reads."""
    if isinstance(operator, Concat):
        return operator.sources
    if isinstance(operator, Add | Multiply):
        return operator.first, operator.second
    return (operator.source,)
