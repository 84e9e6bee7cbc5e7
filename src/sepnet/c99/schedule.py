"""In which order rows are made.  Operators of one segment take turns row by row, so that maps between them need few rows.

The C program decides the same way: a segment's last operator makes its next row as soon as what it reads is there; before
that whatever it lacks is made, one row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sepnet.core.errors import NetworkError
from sepnet.integer.model import IntegerModel
from sepnet.integer.operator import Operator, Reach

__all__ = ["Event", "reach_of", "schedule"]


@dataclass(frozen=True)
class Event:
    """Operator number `operator` makes `row`."""

    operator: int
    row: int


def reach_of(operator: Operator) -> Reach:
    """Which rows an operator reads.  Raises `NetworkError` for numbers that tables cannot hold."""
    found = operator.reach
    if max(found.stride, found.top) > 255 or found.reach > 65535:
        raise NetworkError(
            f"the layer that makes {operator.target!r} has a stride of {found.stride} and {found.top} rows of zeros; expected 255 at most"
        )
    return found


def schedule(model: IntegerModel, segments: Sequence[int]) -> list[Event]:
    """All rows in the order in which they are made; `segments` are numbers of operators that follow one another."""
    maker = {operator.target: at for at, operator in enumerate(model.operators)}
    heights = [model.values[operator.target].shape[1] for operator in model.operators]
    reaches = [reach_of(operator) for operator in model.operators]
    reads = [
        [(maker[name], model.values[name].shape[1] - 1) for name in operator.sources if name in maker]
        for operator in model.operators
    ]
    done = [0] * len(model.operators)
    events: list[Event] = []

    def lacking(at: int, first: int) -> int:
        """An operator of the segment that has to make a row before operator `at` can make its next one; -1 if none has to."""
        last = done[at] * reaches[at].stride - reaches[at].top + reaches[at].reach
        return next((source for source, end in reads[at] if source >= first and done[source] <= min(last, end)), -1)

    first = 0
    for count in segments:
        for wanted in reversed(range(first, first + count)):
            while done[wanted] < heights[wanted]:
                at = wanted
                while (source := lacking(at, first)) >= 0:
                    at = source
                events.append(Event(at, done[at]))
                done[at] += 1
        first += count
    return events
