"""The examples noun: what goes into a network, some of it at a time, whatever its inputs are."""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.dataset import Dataset, Rows, normalize
from sepnet.core.errors import DataError, UsageError
from sepnet.core.header import InputSpec
from sepnet.core.ports import Port, described, fitted

__all__ = ["ArrayExamples", "Arrays", "Examples", "Feed", "ImageExamples"]

Array = npt.NDArray[Any]
Feed = dict[str, Array]
"""An array for each input of a network, by the input's name."""
MOST_EXAMPLES = 64
FEW = 8
"""Of fewer examples than these all are both calibrated and measured on."""


@dataclass(frozen=True)
class Arrays:
    """Numbers as the network takes them, by the names of its inputs.

    Attributes:
        name: of the file, or what else to call them in messages.
        arrays: by name; an array without one is called "", and is for a network of one input.
    """

    name: str
    arrays: Mapping[str, Array]


class Examples(abc.ABC):
    """A number of examples for the inputs of one network.

    Attributes:
        name: for messages.
        noun: what an example is called in messages, in the plural.
        batch: how many examples the graph is fixed to; 0 when that is free.
        classes: names of classes, where examples have labels.
    """

    name: str
    noun: str = "examples"
    batch: int = 0
    classes: tuple[str, ...] = ()

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many there are."""

    @property
    @abc.abstractmethod
    def numbers(self) -> int:
        """Of one example, all inputs together."""

    @abc.abstractmethod
    def feed(self, rows: Rows) -> Feed:
        """These examples, for all inputs."""

    def labels(self, rows: Rows) -> npt.NDArray[np.int64] | None:
        """Their classes; None where they have none."""
        return None

    def halves(self, count: int, seed: int) -> tuple[Rows, Rows]:
        """Some to calibrate by and others to measure on: `count` of each, or all in halves where there are not as many.

        Of fewer than eight examples both are all.  Of a graph of fixed batch each is a multiple of it.

        Raises `DataError` when that leaves none.
        """
        every = np.random.default_rng(seed).permutation(len(self))[: 2 * count]
        parts = [every, every] if len(self) < FEW else np.array_split(every, 2)
        size = self.batch or 1
        first, second = (half[: len(half) - len(half) % size] for half in map(np.sort, parts))
        if not len(second):
            expected = f"; expected {size} or more of each half" if self.batch > 1 else ""
            raise DataError(f"{self.name} has {len(self):,} {self.noun}; too few to calibrate on{expected}")
        return first, second

    def batches(self, rows: Rows, numbers: int) -> Iterator[tuple[Feed, int]]:
        """Feeds of the examples in these rows, and how many are done after each.

        Args:
            rows: which.
            numbers: that the inputs of one feed have at most, unless a single example has more.
        """
        size = self.batch or max(1, min(MOST_EXAMPLES, numbers // max(1, self.numbers)))
        for start in range(0, len(rows), size):
            part = rows[start : start + size]
            yield self.feed(part), start + len(part)


class ImageExamples(Examples):
    """Training images of a data set, normalized, for a network of one input.

    Args:
        data: the data set.
        port: the network's input.
        wanted: how the network wants its pixels; None, or without a normalization: as the data set says.

    Raises `DataError` for images of another shape than the network takes.
    """

    noun = "training images"

    def __init__(self, data: Dataset, port: Port, wanted: InputSpec | None = None) -> None:
        sides = (port.shape or (None,))[1:]
        shape = tuple(wanted.shape) if wanted else sides
        if len(shape) == 3 and all(isinstance(side, int) for side in shape) and shape != data.input_shape:
            raise DataError(
                f"the network takes images of shape {list(shape)}; those of {data.name} are {list(data.input_shape)}"
            )
        self.name, self.classes = data.name, data.classes
        self.batch = port.fixed
        self._data, self._port = data, port
        self._mean, self._std = data.normalization(wanted)

    def __len__(self) -> int:
        return len(self._data.train)

    @property
    def numbers(self) -> int:
        return math.prod(self._data.input_shape)

    def feed(self, rows: Rows) -> Feed:
        return {self._port.name: normalize(self._data.train.images[rows], self._mean, self._std)}

    def labels(self, rows: Rows) -> npt.NDArray[np.int64]:
        return self._data.train.labels[rows]


class ArrayExamples(Examples):
    """Arrays that somebody has, for the inputs of a network.

    The examples lie along the batch side of each input, wherever that is; an input without one is passed whole.

    Args:
        given: the arrays.
        inputs: of the network.

    Attributes:
        axes: by the name of an input, along which of its sides the examples lie; None where it is passed whole.

    Raises `DataError` for names, types and shapes that do not fit, NaN, and arrays without examples.

    >>> inputs = Port("x", ("n", 2), "float32"), Port("state", (1, "n", 3), "float32"), Port("rate", (), "int64")
    >>> arrays = {"x": np.ones((9, 2)), "state": np.ones((1, 9, 3)), "rate": np.array(16_000)}
    >>> examples = ArrayExamples(Arrays("f.npz", arrays), inputs)
    >>> len(examples), examples.axes, examples.feed(np.array([4, 5]))["state"].shape
    (9, {'x': 0, 'state': 1, 'rate': None}, (1, 2, 3))
    """

    def __init__(self, given: Arrays, inputs: Sequence[Port]) -> None:
        self.name = given.name
        self._arrays = _of_inputs(given, inputs)
        self._count, self.axes = _example_sides(self._arrays, inputs)
        for port in inputs:
            shape = self._arrays[port.name].shape
            if not _fits(shape, port, self.axes[port.name]):
                raise DataError(f"{self.name}: {port.name} is of shape {list(shape)}; expected {port}")
        if not self._count:
            raise DataError(f"{self.name} holds no examples; expected one or more for {described(inputs)}")
        fixed = [
            side
            for port in inputs
            if port.shape and (at := self.axes[port.name]) is not None and isinstance(side := port.shape[at], int)
        ]
        self.batch = min(fixed, default=0)

    def __len__(self) -> int:
        return self._count

    @property
    def numbers(self) -> int:
        return sum(
            array.size // (1 if self.axes[name] is None else self._count) for name, array in self._arrays.items()
        )

    def feed(self, rows: Rows) -> Feed:
        return {
            name: array if (axis := self.axes[name]) is None else np.take(array, rows, axis=axis)
            for name, array in self._arrays.items()
        }


def _of_inputs(given: Arrays, inputs: Sequence[Port]) -> Feed:
    """The arrays by the names of the inputs, each of the input's type and number of sides."""
    names = {port.name for port in inputs}
    arrays = dict(given.arrays)
    if arrays.keys() == {""} and len(inputs) == 1:
        arrays = {inputs[0].name: arrays[""]}
    if arrays.keys() != names:
        found = ", ".join(sorted(arrays)) if arrays.keys() != {""} else "one array without a name"
        raise DataError(f"{given.name} holds {found or 'nothing'}; expected an array for each of {described(inputs)}")
    try:
        cast = fitted(arrays, inputs)
    except UsageError as error:
        raise DataError(f"{given.name}: {error}") from error
    for port in inputs:
        array = cast[port.name]
        if port.shape is not None and len(port.shape) != array.ndim:
            raise DataError(f"{given.name}: {port.name} is of shape {list(array.shape)}; expected {port}")
        if array.dtype.kind == "f" and np.isnan(array).any():
            raise DataError(f"{given.name}: {port.name} holds {int(np.isnan(array).sum()):,} NaN; expected numbers")
    return cast


def _fits(shape: Sequence[int], port: Port, axis: int | None) -> bool:
    """Whether it does; along `axis` there may be a multiple of what is fixed."""
    sides = port.shape or (None,) * len(shape)
    return all(
        not isinstance(own, int) or side == own or (at == axis and side % own == 0)
        for at, (side, own) in enumerate(zip(shape, sides, strict=True))
    )


def _example_sides(arrays: Feed, inputs: Sequence[Port]) -> tuple[int, dict[str, int | None]]:
    """How many examples there are, and along which side of each array; one example where no array has such a side.

    One input leads, see `_leading`.  Others have their examples along the side of the same name; where names do not tell, along
    a side of that length that is free, or fixed to another length than the array has.
    """
    found = _leading(arrays, inputs)
    if found is None:
        return 1, dict.fromkeys(arrays)
    leading, axis = found
    count, label = arrays[leading.name].shape[axis], (leading.shape or (None,) * (axis + 1))[axis]
    axes: dict[str, int | None] = {}
    for port in inputs:
        shape = arrays[port.name].shape
        long = [at for at, side in enumerate(shape) if side == count]
        sides = port.shape or (None,) * len(shape)
        named = [at for at, side in enumerate(sides) if isinstance(label, str) and side == label]
        if named and named[0] not in long:
            raise DataError(
                f"found {count:,} examples of {leading.name} and {shape[named[0]]:,} of {port.name}; expected as many of each"
            )
        first = [at for at in long if at == 0 and sides[0] == label]
        open_ = [at for at in long if sides[at] != count]
        axes[port.name] = axis if port is leading else next(iter((*named, *first, *open_)), None)
    return count, axes


def _leading(arrays: Feed, inputs: Sequence[Port]) -> tuple[Port, int] | None:
    """The input that tells how many examples there are, and the side that they lie along.

    Of those with two sides or more: a side that all have by name; else of the first whose first side is free, or fixed to fewer
    examples than the array has, or to 1, that side; else the first free side; else the first side of the first.
    """
    wide = [(port, port.shape or (None,) * arrays[port.name].ndim) for port in inputs if arrays[port.name].ndim > 1]
    names = [side for side in wide[0][1] if isinstance(side, str)] if len(wide) > 1 else []
    for name in names:
        if all(name in sides for _, sides in wide):
            return wide[0][0], wide[0][1].index(name)
    for port, sides in wide:
        if sides[0] == 1 or sides[0] != arrays[port.name].shape[0]:
            return port, 0
    for port, sides in wide:
        free = [at for at, side in enumerate(sides) if not isinstance(side, int)]
        if free:
            return port, free[0]
    return (wide[0][0], 0) if wide else None
