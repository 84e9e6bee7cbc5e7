"""Whether outputs of a quantized network are bad, told on random inputs, where there are no examples.

These say little: numbers of another scale than a network is used to may drive it
to where its outputs are constant, or hang on the last bits.  So an output is bad only if every kind of random inputs says so, and a
kind says nothing of an output that does not vary, or that 16 bits spoil as well.  A network that listens to a signal is an
exception: it has to work whether that is loud or faint, so that any kind may tell.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sepnet.core.output_row import OutputRow
from sepnet.core.ports import Port
from sepnet.quantizing.layer_effects import Rounded
from sepnet.runtimes.session import Session
from sepnet.runtimes.side_by_side import Trial, random_trials, scale_of

__all__ = ["Judge", "Low"]

STEADY = 1e-3
"""An output varies if its standard deviation is above so much of its largest number."""
TOLD = 25.0
"""A kind of inputs tells of an output that 16 bits keep so near, in dB."""
PICTURES = (
    "numbers from -1 to 1",
    "numbers from 0 to 1",
    "smooth noise",
    "smooth pixels",
    "loud noise",
    "normal noise",
)
SIGNALS = ("normal noise", "faint noise", "smooth noise", "faint smooth noise")
TOKENS = ("normal noise",)
"""Kinds of inputs: of networks that take a signal, that take no floats, and of all others, what decides soonest first."""


@dataclass(frozen=True)
class Low:
    """An output of `snr_db` on `trial`, the `at`-th."""

    at: int
    name: str
    snr_db: float
    trial: Trial


class _Case:
    """Trials that are made when they are first asked for."""

    def __init__(self, source: Iterator[Trial]) -> None:
        self._source, self._made = source, list[Trial]()

    def __iter__(self) -> Iterator[Trial]:
        yield from self._made
        for trial in self._source:
            self._made.append(trial)
            yield trial


class Judge:
    """Looks for bad outputs.

    Args:
        rounded: the network.
        given: the float network as it came.
        inputs: of it.
        firsts: trials, one for each case that the graph knows.
        listens: whether it takes a signal.
    """

    def __init__(
        self,
        rounded: Rounded,
        given: Session,
        inputs: Sequence[Port],
        firsts: Sequence[Trial],
        *,
        listens: bool = False,
    ) -> None:
        self.rounded, self._given, self._inputs = rounded, given, inputs
        self.listens = listens
        self._cases = [_Case(self._kinds(first)) for first in firsts]
        self._told: dict[int, list[bool]] = {}

    def low(self, found: Session, least: float) -> list[Low]:
        """The outputs below `least` dB; the number is that of the kind that says most of it, or least where any may tell."""
        return self._of_any(found, least) if self.listens else self.ruined(found, least)

    def ruined(self, found: Session, least: float) -> list[Low]:
        """The outputs that are below `least` dB whatever goes in, in one of the cases that the graph knows."""
        lows: list[Low] = []
        for case in self._cases:
            lows += self._of_every(case, found, least)
        return lows

    def _of_every(self, case: _Case, found: Session, least: float) -> list[Low]:
        lows: dict[str, Low] | None = None
        for trial in case:
            here = {low.name: low for low in self._lows(trial, found, least)}
            before = here if lows is None else lows
            lows = {name: max(before[name], here[name], key=lambda low: low.snr_db) for name in before if name in here}
            if not lows:
                return []
        return list((lows or {}).values())

    def _of_any(self, found: Session, least: float) -> list[Low]:
        lows: dict[str, Low] = {}
        for trial in (trial for case in self._cases for trial in case):
            for low in self._lows(trial, found, least):
                lows[low.name] = min(lows.get(low.name, low), low, key=lambda low: low.snr_db)
        return list(lows.values())

    def _kinds(self, first: Trial) -> Iterator[Trial]:
        floats = any(port.of_floats for port in self._inputs)
        kinds = (SIGNALS if self.listens else PICTURES) if floats else TOKENS
        yield from random_trials(self._given, self._inputs, first, kinds)

    def _lows(self, trial: Trial, found: Session, least: float) -> list[Low]:
        rows = trial.rows(found)
        low = [at for at, row in enumerate(rows) if row.snr_db is not None and row.snr_db < least]
        if not low:
            return []
        told = self._tells(trial)
        return [Low(at, rows[at].name, float(rows[at].snr_db or 0.0), trial) for at in low if told[at]]

    def _tells(self, trial: Trial) -> list[bool]:
        if id(trial) not in self._told:
            rows = trial.rows(self._halves)
            self._told[id(trial)] = [_tells(trial, row) for row in rows]
        return self._told[id(trial)]

    @functools.cached_property
    def _halves(self) -> Session:
        return self.rounded.in_sixteen_bits()


def _tells(trial: Trial, row: OutputRow) -> bool:
    varies, largest = scale_of(trial.wanted[row.name])
    return varies > STEADY * largest and (row.snr_db is None or row.snr_db >= TOLD)
