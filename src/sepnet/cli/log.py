"""The log of a training run: lines of JSON in a file, plain lines on a stderr that is no terminal."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO

from sepnet.cli.terminal import Progress
from sepnet.core.choices import Tried
from sepnet.core.errors import OutputError
from sepnet.core.limits import Limits
from sepnet.core.observer import Observer
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Tick, is_first
from sepnet.core.score import Score

if TYPE_CHECKING:
    from sepnet.core.epoch_log import EpochLog
    from sepnet.core.stage_row import StageRow
    from sepnet.core.train_setup import TrainSetup

__all__ = ["CompressingLog", "TrainingLog", "check_log"]

_KEYS = ("event", "stage", "epoch", "option")
"""What tells the lines of one run apart."""


def check_log(path: Path | None) -> None:
    """Raise `OutputError` if there is a file that is not such a log; a new run would start it anew."""
    if path is None or not path.is_file():
        return
    with _said(path), path.open("rb") as file:
        first = file.readline(1 << 16)
    if first and _read(first) is None:
        raise OutputError(
            f"cannot write {path}: it holds something else (its first line is no JSON of a log); expected a new file, or a log to start anew"
        )


class TrainingLog(Observer):
    """A JSON line an epoch, a stage, a choice and a score.

    Args:
        path: the file; None for none.
        progress: draws how far it is, and shows the plain lines.
        resume: go on with the file of the interrupted run.  A line that is written again takes the place of the old one
            and of all after it, so that no epoch is there twice.  Otherwise the file starts anew.
    """

    def __init__(self, path: Path | None, progress: Progress, resume: bool = False) -> None:
        self._progress, self._path, self._resume = progress, path, resume
        self._file: BinaryIO | None = None
        self._setup: TrainSetup | None = None
        self._old: dict[tuple[Any, ...], tuple[int, bytes]] = {}

    def __enter__(self) -> TrainingLog:
        if self._path is not None and is_first():
            check_log(self._path)
            with _said(self._path):
                go_on = self._resume and self._path.is_file()
                self._file = self._path.open("r+b" if go_on else "wb")
                if go_on:
                    self._read_old(self._file)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):  # what could not be written was said already
                self._file.close()

    def _read_old(self, file: BinaryIO) -> None:
        """Note where each line is; a line that was cut goes."""
        at = 0
        for line in file.readlines():
            found = _read(line)
            if found is None or not line.endswith(b"\n"):
                break
            self._old[_key(found)] = (at, line)
            at += len(line)
        file.seek(at)
        file.truncate()

    def _write(self, event: str, value: Any) -> None:
        if self._file is None or self._path is None:
            return
        found = {"event": event, **dataclasses.asdict(value)}
        line = (json.dumps(found) + "\n").encode()
        at, old = self._old.get(_key(found), (-1, b""))
        if line == old:
            return
        with _said(self._path):
            if old:
                self._old = {key: place for key, place in self._old.items() if place[0] < at}
                self._file.seek(at)
                self._file.truncate()
            self._file.write(line)
            self._file.flush()

    def tick(self, tick: Tick) -> None:
        """How far the work is."""
        self._progress.tick(tick)

    def warning(self, text: str) -> None:
        """Before the work."""
        self._progress.line(f"warning: {text}")

    def setup(self, setup: TrainSetup) -> None:
        """Before a stage, if it is computed otherwise than the one before; the lines of its epochs say so, too."""
        if setup != self._setup:
            self._progress.line(str(setup))
        self._setup = setup

    def epoch(self, log: EpochLog) -> None:
        """After an epoch."""
        self._write("epoch", log)
        if not self._progress.live:
            self._progress.line(f"{log.stage}: epoch {log.epoch}, loss {log.train_loss:.4f}, {log.seconds:.1f} s")

    def row(self, row: StageRow) -> None:
        """After a stage."""
        self._write("stage", row)
        self._progress.line(f"{row.stage}: {row.kept:.2%} kept, {row.bytes:,} bytes, top-1 {row.top1:.2%}")

    def choice(self, tried: Tried) -> None:
        """After an option's values were tried."""
        self._write("choice", tried)
        scores = ", ".join(f"{value} {top1:.2%}" for value, top1 in tried.top1.items())
        self._progress.line(f"{tried.option} = {tried.value}, of {scores} on held-out training images")

    def score(self, score: Score) -> None:
        """After training."""
        self._write("score", score)


class CompressingLog(TrainingLog):
    """A training log that writes the packed file of each stage, too: `files` are their paths, none if no one wants them."""

    def __init__(
        self,
        path: Path | None,
        progress: Progress,
        resume: bool = False,
        *,
        files: Mapping[str, Path],
        limits: Limits,
    ) -> None:
        super().__init__(path, progress, resume)
        self._files, self._limits = files, limits

    def stage(self, name: str, packed: PackedModel) -> None:
        """After a stage that has run."""
        if self._files and is_first():
            self._files[name].parent.mkdir(exist_ok=True)
            packed.write(self._files[name], limits=self._limits)


def _read(line: bytes) -> dict[str, Any] | None:
    """The event of a line, or None if it holds none."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and "event" in found else None


def _key(found: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(str(found.get(key)) for key in _KEYS)


@contextlib.contextmanager
def _said(path: Path) -> Iterator[None]:
    """Turn what the disk says into an `OutputError`."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
