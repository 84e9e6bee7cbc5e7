"""How long work tells how far it is: one small callback.  The door draws it, steps only call it."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "Tick", "is_first", "silent"]


@dataclass(frozen=True, slots=True)
class Tick:
    """One report.  `task` names the bar, `done` of `total` units are finished, `note` is a short text beside it."""

    task: str
    done: int
    total: int
    note: str = ""


Progress = Callable[[Tick], None]


def silent(_: Tick) -> None:
    """The callback that draws nothing."""


def is_first() -> bool:
    """Whether this process is the one that shows and writes: the only one, or under torchrun the one whose RANK is 0.

    >>> is_first()
    True
    """
    return int(os.environ.get("RANK", "0")) == 0
