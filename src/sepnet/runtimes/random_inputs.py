"""Random inputs of several kinds: sizes with which a network runs, and numbers as it may be used to."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import NetworkError
from sepnet.core.ports import Port

__all__ = ["EXAMPLES", "KINDS", "Feed", "random_feeds", "with_examples"]

Array = npt.NDArray[Any]
Feed = dict[str, Array]
EXAMPLES = 8
"""Along the first side where that is free."""
SIDES = (32, 64, 128, 224, 16, 512, 2048, 16_000)
"""Other free sides are so large, the first with which the network runs."""
MOST = 4_000_000
"""Numbers of an input where its sides are free."""
INTEGERS = 8
"""Random integers are below: most tables of tokens have as many rows."""
MOST_UNNAMED = 3
"""Of so many free sides without a name it is tried which are of examples."""


def _smooth(shape: tuple[int, ...], random: np.random.Generator) -> Array:
    """Noise whose amplitude falls as one over the frequency along all sides but the first, as of sounds and pictures; variance 1."""
    noise = random.standard_normal(shape)
    axes = [axis for axis, side in enumerate(shape) if axis and side > 2]
    if not axes:
        return noise
    sides = [shape[axis] for axis in axes]
    squares = np.zeros((1,) * len(shape))
    for axis, side in zip(axes, sides, strict=True):
        frequencies = np.fft.fftfreq(side) if axis != axes[-1] else np.fft.rfftfreq(side)
        squares = squares + np.square(frequencies).reshape([-1 if at == axis else 1 for at in range(len(shape))])
    soft = np.fft.rfftn(noise, axes=axes) / np.maximum(np.sqrt(squares), 1 / max(sides))
    made = np.fft.irfftn(soft, s=sides, axes=axes)
    return np.asarray(made / max(float(made.std()), 1e-30))


KINDS: dict[str, Callable[[tuple[int, ...], np.random.Generator], Array]] = {
    "normal noise": lambda shape, random: random.standard_normal(shape),
    "faint noise": lambda shape, random: 0.1 * random.standard_normal(shape),
    "loud noise": lambda shape, random: 10 * random.standard_normal(shape),
    "numbers from 0 to 1": lambda shape, random: random.uniform(0, 1, shape),
    "numbers from -1 to 1": lambda shape, random: random.uniform(-1, 1, shape),
    "smooth noise": _smooth,
    "faint smooth noise": lambda shape, random: 0.1 * _smooth(shape, random),
    "smooth pixels": lambda shape, random: 128 + 60 * _smooth(shape, random),
}
"""What floats may be, by what it is called; variance 1 of the first."""


def random_feeds(
    inputs: Sequence[Port], *, kind: str = "normal noise", given: Mapping[str, int] | None = None
) -> Iterator[Feed]:
    """Feeds for a network, of one size after the other; free sides of one name are alike.

    Args:
        inputs: of the network.
        kind: of the floats, one of `KINDS`; integers are small, booleans tosses of a coin.
        given: integers for inputs that are one number.

    Raises `NetworkError` for inputs that are no numbers.
    """
    if any(port.shape is None and port.name not in (given or {}) for port in inputs):
        return
    sized = [port if port.shape is not None else dataclasses.replace(port, shape=()) for port in inputs]
    seen: list[list[tuple[int, ...]]] = []
    for batches in _batch_sides(sized):
        for side in SIDES:
            shapes = _shapes(sized, side, batches)
            if shapes in seen or (seen and max(map(math.prod, shapes)) > MOST):
                continue
            seen.append(shapes)
            random = np.random.default_rng(0)
            feed = {
                port.name: _numbers(port.type, shape, random, kind) for port, shape in zip(sized, shapes, strict=True)
            }
            yield feed | {name: np.full_like(feed[name], value) for name, value in (given or {}).items()}


def with_examples(feed: Feed, inputs: Sequence[Port], kind: str, count: int = EXAMPLES) -> Feed:
    """The feed with floats of another kind; of a network of one input with `count` examples, also where it is fixed to one."""
    random = np.random.default_rng(0)

    def again(port: Port) -> Array:
        own = feed[port.name]
        free = len(inputs) == 1 and port.shape and (port.fixed == 1 or not isinstance(port.shape[0], int))
        shape = (count, *own.shape[1:]) if free else own.shape
        return _numbers(port.type, shape, random, kind) if port.of_floats or shape != own.shape else own

    return {port.name: again(port) for port in inputs}


def _batch_sides(inputs: Sequence[Port]) -> Iterator[set[tuple[str, int]]]:
    """Free sides without a name, by input and place, that may be of examples besides the first sides: none first."""
    unnamed = [(port.name, at) for port in inputs for at, own in enumerate(port.shape or ()) if at and own is None]
    for count in range(min(len(unnamed), MOST_UNNAMED) + 1):
        yield from map(set, itertools.combinations(unnamed[:MOST_UNNAMED], count))


def _shapes(inputs: Sequence[Port], side: int, batches: set[tuple[str, int]]) -> list[tuple[int, ...]]:
    names = {port.shape[0] for port in inputs if port.shape and isinstance(port.shape[0], str)}

    def size(port: Port, at: int, own: int | str | None) -> int:
        if isinstance(own, int):
            return own
        return EXAMPLES if own in names or (own is None and at == 0) or (port.name, at) in batches else side

    return [tuple(size(port, at, own) for at, own in enumerate(port.shape or ())) for port in inputs]


def _numbers(type_: str, shape: tuple[int, ...], random: np.random.Generator, kind: str) -> Array:
    if type_ == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if type_.startswith(("int", "uint")):
        return np.asarray(random.integers(0, INTEGERS, shape)).astype(type_)
    if not type_.startswith("float"):
        raise NetworkError(f"found an input of type {type_ or 'unknown'}")
    return np.asarray(KINDS[kind](shape, random)).astype(type_)
