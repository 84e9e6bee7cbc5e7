"""What a quantized network loses in its outputs, beside what it may lose.

A classifier may lose some divergence, any other network some signal to noise of each output.

Networks are sure of the examples that they learned: behind a Sigmoid these have outputs of 0 and 1 whatever goes into it, and tell
nothing of others.  So decisions, (n, k) numbers behind a Sigmoid, keep their signal to noise as if all lay at 1/2, where the
slope is 1/4.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import NetworkError
from sepnet.core.output_row import OutputRow, output_row
from sepnet.core.pack_report import Agreement
from sepnet.quantizing.agreement import agreement

__all__ = ["Answers", "Loss", "joined"]

Array = npt.NDArray[Any]
Answers = Mapping[str, Sequence[Array]]
"""Outputs by their names, batch after batch."""
MOST_CHANGED = 0.05
"""Of integers and booleans."""
ONE_OF_TWENTY = 0.05
"""The least variance that decisions are taken to have: about that of one of twenty that is unlike the others."""


@dataclass(frozen=True)
class Loss:
    """The outputs that are wanted, and how far others may be from them.

    Attributes:
        wanted: of the float network.
        max_divergence: in nats; None where outputs are not measured as classes.
        min_snr: in dB, of each output on its own scale; None where that does not count.
        decisions: names of what goes into a final Sigmoid, with that of its output.
    """

    wanted: Answers
    max_divergence: float | None = None
    min_snr: float | None = None
    decisions: Mapping[str, str] = field(default_factory=dict)

    @property
    def most(self) -> float:
        """What `of` may be: nats, or noise to signal where there is no divergence."""
        return self.max_divergence or _ratio(self.min_snr or 0.0)

    def of(self, found: Answers) -> float:
        """Of what counts, that which is furthest from what it may be, on the scale of `most`."""
        return max(self._parts(found), default=0.0)

    def sum(self, found: Answers) -> float:
        """Of all that counts, each on the scale of `most`."""
        return sum(self._parts(found))

    def beside(self, wanted: Answers) -> Loss:
        """The same for the outputs of other examples."""
        return replace(self, wanted=wanted)

    def agreement(self, found: Answers) -> Agreement | None:
        """Of a classifier."""
        if self.max_divergence is None:
            return None
        (name,) = self._outputs()
        return agreement(np.concatenate(self.wanted[name]), np.concatenate(found[name]))

    def rows(self, found: Answers) -> tuple[OutputRow, ...]:
        """A row an output."""
        return tuple(output_row(name, joined(self.wanted[name]), joined(found[name])) for name in self._outputs())

    def _parts(self, found: Answers) -> list[float]:
        parts = []
        if self.max_divergence is not None:
            got = self.agreement(found)
            parts.append(math.inf if got is None or math.isnan(got.divergence) else got.divergence)
        if self.min_snr is not None:
            scale = self.most / _ratio(self.min_snr)
            parts += [scale * _noise(name, self.wanted[name], found[name]) for name in self._outputs()]
            parts += [scale * self._at_half(inner, found) for inner in self._half()]
        return parts

    def _outputs(self) -> list[str]:
        return [name for name in self.wanted if name not in self.decisions]

    def _half(self) -> list[str]:
        """What goes into decisions: not into maps, of which most may be nothing."""
        return [inner for inner, name in self.decisions.items() if self.wanted[name][0].ndim == 2]

    def _at_half(self, inner: str, found: Answers) -> float:
        """Noise to signal of decisions."""
        lost = joined(found[inner]).astype(np.float64) - joined(self.wanted[inner])
        signal = float(np.var(joined(self.wanted[self.decisions[inner]])))
        return float(np.mean(np.square(lost / 4))) / max(signal, ONE_OF_TWENTY)


def joined(parts: Sequence[Array]) -> Array:
    """All numbers of an output in one row, wherever its examples lie."""
    return np.concatenate([np.ravel(part) for part in parts])


def _ratio(decibels: float) -> float:
    return float(10 ** (-decibels / 10))


def _noise(name: str, wanted: Sequence[Array], found: Sequence[Array]) -> float:
    """Noise to signal of an output, 1 for another shape; of integers `MOST_CHANGED` are as bad as noise of a tenth."""
    try:
        row = output_row(name, joined(wanted), joined(found))
    except NetworkError:  # as many numbers as there are things in a picture, say
        return 1.0
    if row.changed is not None:
        return 0.1 * row.changed / MOST_CHANGED
    return 0.0 if row.snr_db is None else _ratio(row.snr_db)
