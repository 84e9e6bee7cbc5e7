"""Two forms of one network on the same random inputs: every output on its own scale."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import NetworkError, SepnetError
from sepnet.core.output_row import OutputRow, output_row
from sepnet.core.ports import Port
from sepnet.runtimes.session import Session

__all__ = ["SideBySide", "side_by_side"]

Feed = dict[str, npt.NDArray[Any]]
EXAMPLES = 8
"""Along the first side where that is free."""
SIDES = (32, 64, 128, 224, 16, 512, 2048, 16_000)
"""Other free sides are so large, the first with which the network runs."""
MOST = 4_000_000
"""Numbers of an input where its sides are free."""
INTEGERS = 8
"""Random integers are below: most tables of tokens have as many rows."""


@dataclass(frozen=True)
class SideBySide:
    """What came of it.

    Attributes:
        examples: that both were run on; 0 when that could not be done.
        rows: a row an output.
        reason: why outputs were not compared, "" if all were.
    """

    examples: int
    rows: tuple[OutputRow, ...] = ()
    reason: str = ""


def side_by_side(given: Session, found: Session, inputs: Sequence[Port]) -> SideBySide:
    """Run both on normal noise, small integers and coin tosses, and compare all outputs, the two in the same order.

    Args:
        given: what the other is to be like.
        found: the other.
        inputs: of the first; its free sides are tried in several sizes, those of one name alike.

    Raises `NetworkError` where only the first can be run.
    """
    reason = "an input is of unknown shape"
    for feed in _feeds(inputs):
        try:
            wanted = given.run(feed)
        except SepnetError as error:  # sizes or numbers that do not go together
            reason = f"the network does not run on random inputs: {error}"
            continue
        by_place = dict(zip((port.name for port in found.inputs), feed.values(), strict=True))
        pairs = zip(wanted.items(), found.run(by_place).values(), strict=True)
        rows = tuple(output_row(name, exact, other) for (name, exact), other in pairs)
        examples = max(array.shape[0] if array.ndim else 1 for array in feed.values())
        return SideBySide(examples, rows, _unlike(rows))
    return SideBySide(0, (), reason)


def _unlike(rows: Sequence[OutputRow]) -> str:
    names = ", ".join(row.name for row in rows if row.largest is None and row.changed is None)
    return f"no finite numbers on random inputs: {names}" if names else ""


def _feeds(inputs: Sequence[Port]) -> Iterator[Feed]:
    if any(port.shape is None for port in inputs):
        return
    seen: list[list[tuple[int, ...]]] = []
    for side in SIDES:
        shapes = _shapes(inputs, side)
        if shapes in seen or (seen and max(map(math.prod, shapes)) > MOST):
            continue
        seen.append(shapes)
        random = np.random.default_rng(0)
        yield {port.name: _numbers(port.type, shape, random) for port, shape in zip(inputs, shapes, strict=True)}


def _shapes(inputs: Sequence[Port], side: int) -> list[tuple[int, ...]]:
    batches = {port.shape[0] for port in inputs if port.shape and isinstance(port.shape[0], str)}

    def size(at: int, own: int | str | None) -> int:
        if isinstance(own, int):
            return own
        return EXAMPLES if own in batches or (own is None and at == 0) else side

    return [tuple(size(at, own) for at, own in enumerate(port.shape or ())) for port in inputs]


def _numbers(kind: str, shape: tuple[int, ...], random: np.random.Generator) -> npt.NDArray[Any]:
    if kind == "bool":
        return random.integers(0, 2, shape).astype(bool)
    if kind.startswith(("int", "uint")):
        return np.asarray(random.integers(0, INTEGERS, shape)).astype(kind)
    if not kind.startswith("float"):
        raise NetworkError(f"found an input of type {kind or 'unknown'}")
    return np.asarray(random.standard_normal(shape)).astype(kind)
