"""Who watches training and compressing: one object that the steps tell what happened.  The door writes and draws it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, Unpack

from sepnet.core.choices import Tried
from sepnet.core.epoch_log import EpochLog
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Tick
from sepnet.core.stage_row import StageRow
from sepnet.core.train_setup import TrainSetup

__all__ = ["UNWATCHED", "Callbacks", "Observer"]


class Observer:
    """Is told of each event and does nothing with it; a subclass overrides the methods of the events that it wants."""

    def tick(self, tick: Tick) -> None:
        """How far the work is."""

    def warning(self, text: str) -> None:
        """One line about the network that its user should know."""

    def choice(self, tried: Tried) -> None:
        """The values of an open option were tried."""

    def setup(self, setup: TrainSetup) -> None:
        """How this machine computes, before each stage that trains."""

    def epoch(self, log: EpochLog) -> None:
        """An epoch is over; its checkpoint is not written yet."""

    def stage(self, name: str, packed: PackedModel) -> None:
        """A stage is over, and its packed model has run; not called for the last one, "packed"."""

    def row(self, row: StageRow) -> None:
        """A line of the table is known.  A resumed run tells those of the interrupted one again."""


class _Functions(TypedDict, total=False):
    tick: Callable[[Tick], None]
    warning: Callable[[str], None]
    choice: Callable[[Tried], None]
    setup: Callable[[TrainSetup], None]
    epoch: Callable[[EpochLog], None]
    stage: Callable[[str, PackedModel], None]
    row: Callable[[StageRow], None]


class Callbacks(Observer):
    """An observer made of functions, each by the name of its event.

    >>> seen = []
    >>> watching = Callbacks(tick=seen.append)
    >>> watching.tick(Tick("pack", 0, 1))
    >>> seen
    [Tick(task='pack', done=0, total=1, note='')]
    """

    def __init__(self, **functions: Unpack[_Functions]) -> None:
        vars(self).update(functions)


UNWATCHED = Observer()
"""For work that nobody watches."""
