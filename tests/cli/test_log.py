"""The log of a run: started anew, or gone on with so that nothing is in it twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sepnet.cli.log import TrainingLog, check_log
from sepnet.cli.terminal import Progress
from sepnet.core.epoch_log import EpochLog
from sepnet.core.errors import OutputError
from sepnet.core.stage_row import StageRow


def epoch(at: int, seconds: float = 1.0) -> EpochLog:
    return EpochLog("a", at, 0.1, 1.0, 0.5, seconds)


FLOAT = StageRow("float", 1.0, 100, 1.0, 0.9, 0.1)


def write(path: Path, *epochs: EpochLog, resume: bool = False, rows: tuple[StageRow, ...] = (FLOAT,)) -> None:
    """A run that ends, or is killed, after these."""
    with TrainingLog(path, Progress(), resume) as log:
        for row in rows:
            log.row(row)
        for one in epochs:
            log.epoch(one)


def found(path: Path) -> list[tuple[int | None, float | None]]:
    """(epoch, seconds) of each line."""
    events = [json.loads(line) for line in path.read_text().splitlines()]
    return [(event.get("epoch"), event.get("seconds")) for event in events]


def test_a_new_run_starts_the_file_anew(tmp_path: Path) -> None:
    path = tmp_path / "log"
    write(path, epoch(1), epoch(2))
    write(path, epoch(1, 3.0))
    assert found(path) == [(None, None), (1, 3.0)]


@pytest.mark.parametrize("tail", ["", '{"event": "epo', "garbage\n"])
def test_a_resumed_run_repeats_no_epoch(tmp_path: Path, tail: str) -> None:
    """The second epoch was written, its checkpoint was not; or the line was cut."""
    path = tmp_path / "log"
    write(path, epoch(1), epoch(2))
    with path.open("a") as file:
        file.write(tail)
    write(path, epoch(2, 5.0), epoch(3, 6.0), resume=True)
    assert found(path) == [(None, None), (1, 1.0), (2, 5.0), (3, 6.0)]
    write(path, resume=True)
    assert found(path) == [(None, None), (1, 1.0), (2, 5.0), (3, 6.0)]


def test_resuming_with_a_new_file(tmp_path: Path) -> None:
    write(tmp_path / "log", epoch(2), resume=True)
    assert found(tmp_path / "log") == [(None, None), (2, 1.0)]


def test_only_a_log_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "log"
    check_log(path)
    for content in (b"", b'{"event": "epoch"}\n'):
        path.write_bytes(content)
        check_log(path)
    path.write_bytes(b"\x00" * 100_000)
    for resume in (False, True):
        with pytest.raises(OutputError, match="it holds something else"):
            write(path, resume=resume)
    assert path.read_bytes() == b"\x00" * 100_000


def test_a_warning_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress() as progress, TrainingLog(None, progress) as log:
        log.warning("the outputs depend on [others]")
    assert capsys.readouterr().err == "warning: the outputs depend on [others]\n"
