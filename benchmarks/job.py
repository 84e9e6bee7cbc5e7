"""The job noun: a command that trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from command import RECORDS

INHERITED = "SEPNET_QUEUE_LOCK"
"""The variable that names the descriptor of the training queue's lock, which all that trains for it holds."""


@dataclass(frozen=True)
class Job:
    """`sepnet train` or `sepnet compress` for a row.

    Attributes:
        row: the row's name.
        verb: train or compress.
        arguments: of the verb, without output, log and `--resume`.
        output: what it writes; its checkpoint lies beside.
        log: a line of JSON an epoch.
        epochs: in all.
        run: what a checkpoint must have been made with.
        weights: the file that compress starts from.
    """

    row: str
    verb: str
    arguments: tuple[str, ...]
    output: Path
    log: Path
    epochs: int
    run: dict[str, str | int]
    weights: Path | None = None

    @property
    def resume_file(self) -> Path:
        """What a machine without the checkpoint goes on from."""
        return RECORDS / "resume" / f"{self.row}.{self.verb}.xz"

    @property
    def checkpoint(self) -> Path:
        """What sepnet writes after every epoch and goes on from."""
        return self.output.with_name(self.output.name + ".checkpoint")
