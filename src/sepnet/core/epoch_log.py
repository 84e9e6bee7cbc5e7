"""The epoch noun: what a training log says of each."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["EpochLog"]


@dataclass(frozen=True)
class EpochLog:
    """One line of a training log.

    Attributes:
        lr: the last step's.
        train_loss, train_top1: means over the epoch as it was trained (augmented, the network changing).
        seconds: wall time.
        top1: on the validation images, if the options leave some out of training.
    """

    stage: str
    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    seconds: float
    top1: float | None = None
