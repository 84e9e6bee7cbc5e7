"""In which order rows are made.  Operators of one segment take turns row by row, so that maps between them need few rows.

The C program decides the same way: a segment's last operator makes its next row as soon as what it reads is there; before
that whatever it lacks is made, one row at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sepnet.core.errors import NetworkError
from sepnet.integer.model import AveragePool, Conv, IntegerModel, MaxPool, Operator, Pad, Slice, sources_of

__all__ = ["Event", "Reach", "reach_of", "schedule"]


@dataclass(frozen=True)
class Reach:
    """Row r of an operator reads the rows r * stride - top to r * stride - top + reach of its sources, as far as they exist."""

    stride: int
    top: int
    reach: int


@dataclass(frozen=True)
class Event:
    """Operator number `operator` makes `row`."""

    operator: int
    row: int


def reach_of(operator: Operator) -> Reach:
    """Which rows an operator reads."""
    if isinstance(operator, Conv):
        height = (operator.weight.shape[2] - 1) * operator.dilations[0]
        found = Reach(operator.strides[0], operator.pads[0], height)
    elif isinstance(operator, MaxPool | AveragePool):
        found = Reach(operator.strides[0], operator.pads[0], operator.kernel[0] - 1)
    elif isinstance(operator, Slice):
        found = Reach(operator.steps[1], 0, operator.starts[1])
    else:
        found = Reach(1, operator.before[1] if isinstance(operator, Pad) else 0, 0)
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
        [(maker[name], model.values[name].shape[1] - 1) for name in sources_of(operator) if name in maker]
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
