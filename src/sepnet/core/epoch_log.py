"""The epoch noun: what a training log says of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sepnet.core.train_setup import TrainSetup

__all__ = ["EpochLog", "epoch_logs", "setups"]


@dataclass(frozen=True)
class EpochLog:
    """One line of a training log.

    Attributes:
        lr: the last step's.
        train_loss, train_top1: means over the epoch as it was trained (augmented, the network changing).
        seconds: wall time.
        top1: on the validation images, if the options leave some out of training.
        setup: how the machine computed; a run that goes on elsewhere may compute in another way.
    """

    stage: str
    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    seconds: float
    top1: float | None = None
    setup: TrainSetup | None = None


def epoch_logs(rows: Iterable[Sequence[Any]]) -> list[EpochLog]:
    """The logs that `dataclasses.astuple` made these rows of, which a checkpoint holds; older ones have no setup.

    >>> from dataclasses import astuple
    >>> log = EpochLog("a", 1, 0.1, 1.0, 0.5, 9.0, None, TrainSetup("cpu", "float32", "as asked", False, False, 1))
    >>> epoch_logs([astuple(log)]) == [log]
    True
    """
    return [EpochLog(*row[:7], *(setup and TrainSetup(*setup) for setup in row[7:])) for row in rows]


def setups(epochs: Iterable[EpochLog]) -> list[tuple[int, TrainSetup]]:
    """For how many epochs in a row the machine computed in which way.

    >>> setup = TrainSetup("cpu", "float32", "as asked", False, False, 1)
    >>> [(count, found.precision) for count, found in setups([EpochLog("a", 1, 0.1, 1.0, 0.5, 9.0, setup=setup)] * 3)]
    [(3, 'float32')]
    """
    found = ((setup, len(list(group))) for setup, group in groupby(epochs, lambda epoch: epoch.setup))
    return [(count, setup) for setup, count in found if setup is not None]
