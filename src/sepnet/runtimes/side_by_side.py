"""Two forms of one network on the same inputs: every output on its own scale."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import SepnetError
from sepnet.core.output_row import OutputRow, output_row
from sepnet.core.ports import Port
from sepnet.runtimes.random_inputs import EXAMPLES, Feed, random_feeds, with_examples
from sepnet.runtimes.session import Session

__all__ = ["SideBySide", "Trial", "compared", "first_trial", "random_trials", "scale_of", "side_by_side"]

ENOUGH = 256
"""Numbers of an output that tell how near it is."""


@dataclass(frozen=True)
class Trial:
    """A network on some inputs.

    Attributes:
        kind: what the inputs are called, in the plural.
        feed: an array for each input.
        wanted: what came out, by name.
    """

    kind: str
    feed: Feed
    wanted: dict[str, npt.NDArray[Any]]

    @property
    def examples(self) -> int:
        """How many."""
        return max(array.shape[0] if array.ndim else 1 for array in self.feed.values())

    def rows(self, found: Session) -> tuple[OutputRow, ...]:
        """How near each output of another form is, whose inputs and outputs are in the same order."""
        by_place = dict(zip((port.name for port in found.inputs), self.feed.values(), strict=True))
        pairs = zip(self.wanted.items(), found.run(by_place).values(), strict=True)
        return tuple(output_row(name, exact, other) for (name, exact), other in pairs)


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
    trial = first_trial(given, inputs)
    return SideBySide(0, (), trial) if isinstance(trial, str) else compared(trial, found)


def compared(trial: Trial, found: Session) -> SideBySide:
    """The rows of a trial, and which outputs say nothing."""
    rows = trial.rows(found)
    names = ", ".join(row.name for row in rows if row.largest is None and row.changed is None)
    return SideBySide(trial.examples, rows, f"no finite numbers on random inputs: {names}" if names else "")


def first_trial(given: Session, inputs: Sequence[Port], integers: Mapping[str, int] | None = None) -> Trial | str:
    """A network on the first random inputs with which it runs; or why there are none.

    Args:
        given: the network.
        inputs: of it.
        integers: for inputs that are one number.
    """
    reason = "an input is of unknown shape"
    for feed in random_feeds(inputs, given=integers):
        try:
            return Trial("random examples", feed, given.run(feed))
        except SepnetError as error:  # sizes or numbers that do not go together
            reason = f"the network does not run on random inputs: {error}"
    return reason


def random_trials(given: Session, inputs: Sequence[Port], first: Trial, kinds: Sequence[str]) -> Iterator[Trial]:
    """The network on inputs of these kinds, of the size of the first trial but for the number of examples.

    There are two to eight, so many that the outputs have `ENOUGH` numbers, also where the graph is fixed to one.
    """
    numbers = min((array.size for array in first.wanted.values() if array.dtype.kind == "f"), default=0)
    count = max(2, min(EXAMPLES, -(-ENOUGH * first.examples // max(1, numbers))))
    for kind in kinds:
        for examples in (count, 1):
            feed = with_examples(first.feed, inputs, kind, examples)
            try:
                yield Trial(kind, feed, given.run(feed))
                break
            except SepnetError:  # examples that cannot be put together again, or numbers that it does not take
                continue


def scale_of(array: npt.NDArray[Any]) -> tuple[float, float]:
    """Standard deviation, and largest magnitude, of the finite numbers."""
    finite = array[np.isfinite(array)].astype(np.float64)
    return (float(finite.std()), float(np.abs(finite).max())) if finite.size else (0.0, 0.0)
