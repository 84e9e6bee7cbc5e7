"""The training queue as it is used: started, refused, paused, stopped, and gone on with where nothing else was left."""

from __future__ import annotations

import io
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

ROOT = Path(__file__).parents[2]
BENCHMARKS = ROOT / "benchmarks"
ROW = ("--only", "lenet5-digits", "--epochs", "10", "--nice", "0")

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and file locks")


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """The queue, with everything that it writes in `folder`."""
    environment = {**os.environ, "SEPNET_RUNS": str(folder / "runs"), "SEPNET_RECORDS": str(folder / "records")}
    return subprocess.Popen(
        [sys.executable, str(BENCHMARKS / "training_queue.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def call(folder: Path, *arguments: str) -> tuple[int, str]:
    """(exit code, what it prints)."""
    process = start(folder, *arguments)
    out, _ = process.communicate(timeout=600)
    return process.returncode, out


def wait(what: Callable[[], object], seconds: float = 200) -> None:
    """Until it is true."""
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until, "it never came"
        time.sleep(0.05)


def events(text: str) -> list[tuple[Any, ...]]:
    """(stage, epoch) of each epoch, and its loss."""
    lines = [json.loads(line) for line in text.splitlines()]
    return [(line["stage"], line["epoch"], line["train_loss"]) for line in lines if line["event"] == "epoch"]


def test_a_row_from_one_machine_to_another(tmp_path: Path) -> None:
    resume, results = tmp_path / "records/resume", tmp_path / "records/results"
    checkpoint = tmp_path / "runs/digits/lenet5-digits.sepnet.checkpoint"
    queue = start(tmp_path, *ROW)
    try:
        wait(checkpoint.exists)
        queue.send_signal(signal.SIGUSR1)  # what --pause sends, sooner
        assert call(tmp_path, "--pause")[0] == 0
        written = checkpoint.stat().st_mtime_ns
        code, out = call(tmp_path, *ROW)
        assert code == 1 and f"a training queue is running: pid {queue.pid} since 20" in out, out
        assert "row lenet5-digits since 20" in out and "paused" in out
        assert checkpoint.stat().st_mtime_ns == written
        code, out = call(tmp_path, "--continue")
        assert code == 0 and "paused" not in out, out
        wait(lambda: checkpoint.stat().st_mtime_ns > written)
        queue.send_signal(signal.SIGTERM)
        assert queue.wait(60) == 0
    finally:
        queue.kill()
        queue.communicate()
    assert call(tmp_path, "--status") == (1, "no training queue is running\n")

    assert all(path.stat().st_size <= 2_000_000 for path in resume.iterdir())
    left = torch.load(io.BytesIO(lzma.decompress((resume / "lenet5-digits.compress.xz").read_bytes())))
    assert 1 <= left["at"] < 10 and "in half precision" in left["about"]
    shutil.rmtree(tmp_path / "runs")
    listed = json.loads(call(tmp_path, "--list", "--json", *ROW)[1])
    assert listed[0]["state"] == "started" and listed[0]["eta_seconds"] > 0
    assert left["at"] <= listed[0]["epochs_done"] <= left["at"] + 2  # quick float epochs may be in no resume file

    code, out = call(tmp_path, *ROW)
    assert code == 0, out
    said = (tmp_path / "runs/queue/lenet5-digits.log").read_text()
    assert f"lenet5-digits: on from epoch {left['at']} of 10" in said, said
    curve = events((results / "digits_lenet5-digits.jsonl").read_text())
    assert [epoch for _, epoch, _ in curve] == [*range(1, 8), *range(1, 4)]
    assert curve[: left["at"]] == events(left["log"])[: left["at"]]
    result = json.loads((results / "digits_lenet5-digits.json").read_text())
    assert result["command"] == "python benchmarks/digits.py lenet5-digits --epochs 10"
    assert result["result"]["epochs"] == 10 and result["result"]["top1"] > 0.9
    assert not list(resume.iterdir())
    assert "done already" in call(tmp_path, *ROW)[1]


HOLD = """
import os, subprocess, sys, time
import queue_state
from pathlib import Path
queue_state.FOLDER = Path(sys.argv[1])
lock = queue_state.take_lock()
child = subprocess.Popen(["sleep", "100"], stdout=subprocess.DEVNULL, start_new_session=True, pass_fds=(lock,))
queue_state.State(os.getpid(), "then", "a-row", "then", child.pid).write()
print(child.pid, flush=True)
time.sleep(100)
"""


@pytest.fixture
def queue_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module, its files in a new folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import queue_state

    monkeypatch.setattr(queue_state, "FOLDER", tmp_path)
    return queue_state


@pytest.mark.parametrize("with_its_row", [True, False])
def test_the_lock_of_a_killed_queue_is_taken_over(queue_state: Any, tmp_path: Path, with_its_row: bool) -> None:
    """With its row nothing holds the lock any more; without, the row that goes on does, and is ended first."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=BENCHMARKS
    )
    assert holder.stdout is not None
    row = int(holder.stdout.readline())
    try:
        assert queue_state.running().row == "a-row"
        with pytest.raises(
            SystemExit, match=rf"is running: pid {holder.pid} since then, row a-row since then; choices"
        ):
            queue_state.take_lock()
        holder.kill()
        holder.communicate()
        if with_its_row:
            os.killpg(row, signal.SIGKILL)
            wait(lambda: queue_state.running() is None)
        os.close(queue_state.take_lock())
        assert queue_state.running() is None
    finally:
        holder.kill()
        if queue_state.alive(row):
            os.killpg(row, signal.SIGKILL)
