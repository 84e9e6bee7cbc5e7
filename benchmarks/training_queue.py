"""Train the rows of the tables one after the other, on one core, at the lowest priority, for as long as it takes.

    python benchmarks/training_queue.py              train what is left of the list, row by row
    python benchmarks/training_queue.py --list       the rows, how far each is, and how long it still takes
    python benchmarks/training_queue.py --status     what is running
    python benchmarks/training_queue.py --pause      while something is timed; --continue afterwards
    python benchmarks/training_queue.py --stop       stop, and wait until the resume file is written
    python benchmarks/training_queue.py --only lenet5-digits --epochs 8

A row is trained by the command that trains it by hand, `python benchmarks/TABLE.py ROW --threads 1`.  Checkpoints, logs
and curves lie in $SEPNET_RUNS (runs/ by default; what the commands print is in queue/ROW.log there).  After every epoch
(but not more often than each 20 s) the row's newest weights and position are written to benchmarks/resume/, at most
2 MB (resume_file.py says what is in it).  Commit that file: where $SEPNET_RUNS is gone, the queue goes on from there.
It is removed when the row is done.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cifar10
import digits
import mnist
from command import ROOT
from job import INHERITED
from queue_state import (
    SECONDS_TO_END,
    State,
    alive,
    end_group,
    log_file,
    now,
    read_state,
    running,
    take_lock,
    wait_for_lock,
)
from rows import Rows, jobs, ran, shown_command


@dataclass(frozen=True)
class Entry:
    """A row of the list; `epochs` None for those of its recipe."""

    row: str
    epochs: int | None = None


QUEUE = (Entry("resnet20-signs"), Entry("lenet5-1520"), Entry("resnet56-signs", epochs=60))
"""In order.  An epoch of ResNet-20 takes 80 s on one core that has bfloat16 and 217 s on one with AVX2; of ResNet-56 450 s
on the former."""
TABLES: dict[str, Rows] = {row: table.ROWS for table in (cifar10, mnist, digits) for row in table.ROWS}
"""The table of each row that there is."""
SECONDS_TO_PAUSE = 5


class Queue:
    """The rows in order, until all are done or somebody stops it.  Signals only set what is wanted."""

    def __init__(self, entries: tuple[Entry, ...], nice: int) -> None:
        self.stop = self.pause = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup wants it
                signal.signal(number, lambda *_: setattr(self, "stop", True))
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "pause", True))
        signal.signal(signal.SIGUSR2, lambda *_: setattr(self, "pause", False))
        self.lock = take_lock()
        self.entries, self.state = entries, State(os.getpid(), now())
        self.nice = nice
        os.nice(nice)
        self.state.write()

    def run(self) -> int:
        """Train what is left; 1 if a row failed."""
        for entry in self.entries:
            while self.state.paused and not self.stop:
                self._wait()
            if self.stop:
                break
            if is_done(entry):
                say(f"{entry.row}: done already")
            else:
                self._train(entry)
        say("stopped" if self.stop else "at the end of the list")
        return 1 if self.state.failed else 0

    def _train(self, entry: Entry) -> None:
        log = log_file(entry.row)
        say(f"{entry.row}: starts, what it prints is in {log}")
        one_core = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", INHERITED: str(self.lock)}
        _, *words = shown_command(TABLES[entry.row], entry.row, entry.epochs).split()
        words = [sys.executable, *words, "--threads", "1"]
        with log.open("ab") as out:
            process = subprocess.Popen(
                words, cwd=ROOT, env=one_core, stdout=out, stderr=out, start_new_session=True, pass_fds=(self.lock,)
            )
        make_group_nice(process.pid, self.nice)
        self.state.row, self.state.row_since, self.state.group = entry.row, now(), process.pid
        self.state.write()
        while process.poll() is None and not self.stop:
            self._wait()
        if self.stop:
            end_group(process.pid)
            process.wait()
            say(f"{entry.row}: stopped")
        elif process.wait():
            say(f"{entry.row}: failed with {process.returncode}, see {log}")
            self.state.failed[entry.row] = process.returncode
        else:
            say(f"{entry.row}: done")
        self.state.row, self.state.row_since, self.state.group = "", "", 0
        self.state.write()

    def _wait(self) -> None:
        """Half a second, then do what was asked for meanwhile."""
        time.sleep(0.5)
        if self.pause != self.state.paused:
            self.state.paused = self.pause
            with contextlib.suppress(ProcessLookupError):
                if self.state.group:
                    os.killpg(self.state.group, signal.SIGSTOP if self.pause else signal.SIGCONT)
            say("paused" if self.pause else "goes on")
            self.state.write()


def make_group_nice(process: int, nice: int) -> None:
    """Lower a session's priority against other sessions, where Linux groups by session: `nice` alone counts within one."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{process}/autogroup").write_text(str(nice))


def say(line: str) -> None:
    """To the terminal and to the queue's own log."""
    line = f"{now()} {line}"
    print(line, flush=True)
    with log_file("queue").open("a") as log:
        log.write(line + "\n")


def is_done(entry: Entry) -> bool:
    """Whether the result of this command has been written down."""
    return ran(TABLES[entry.row], entry.row) == shown_command(TABLES[entry.row], entry.row, entry.epochs)


def row_state(entry: Entry, state: State | None) -> dict[str, Any]:
    """One row of `--list`.

    Its seconds an epoch are the median of the last ten, of the machine they ran on; the ETA in seconds is for what is left.
    """
    from resume_file import so_far  # needs torch

    done, work = is_done(entry), jobs(TABLES[entry.row], entry.row, entry.epochs)
    far = [so_far(job) for job in work]
    at = [job.epochs if done else epochs for job, (epochs, _) in zip(work, far, strict=True)]
    paces = [_pace(log) for _, log in far]
    known = [pace for pace in paces if pace is not None]
    left = sum((job.epochs - n) * (pace or max(known, default=0)) for job, n, pace in zip(work, at, paces, strict=True))
    if done:
        what = "done"
    elif state is not None and state.row == entry.row:
        what = "paused" if state.paused else "running"
    elif entry.row in read_state().failed:
        what = "failed"
    else:
        what = "started" if any(at) else "waiting"
    return {
        "row": entry.row,
        "command": shown_command(TABLES[entry.row], entry.row, entry.epochs),
        "state": what,
        "epochs_done": sum(at),
        "epochs": sum(job.epochs for job in work),
        "seconds_an_epoch": paces[-1],
        "eta_seconds": left if done or known else None,
        "resume_files": [str(job.resume_file) for job in work if job.resume_file.exists()],
    }


def _pace(log: str) -> float | None:
    lines = [json.loads(line) for line in log.splitlines()]
    seconds = [line["seconds"] for line in lines if line["event"] == "epoch"]
    return statistics.median(seconds[-10:]) if seconds else None


def show_list(entries: tuple[Entry, ...], as_json: bool) -> None:
    """A line a row."""
    state = running()
    rows = [row_state(entry, state) for entry in entries]
    if as_json:
        print(json.dumps(rows, indent=1))
        return
    print(f"{'row':24} {'state':8} {'epochs':>9} {'s/epoch':>8} {'hours left':>10}")
    for row in rows:
        pace = "–" if row["seconds_an_epoch"] is None else f"{row['seconds_an_epoch']:.1f}"
        left = "–" if row["eta_seconds"] is None else f"{row['eta_seconds'] / 3600:.1f}"
        print(f"{row['row']:24} {row['state']:8} {row['epochs_done']:4}/{row['epochs']:4} {pace:>8} {left:>10}")


def ask(word: str) -> int:
    """`--status`, `--stop`, `--pause` or `--continue`; 1 if no queue is running."""
    state = running()
    if state is None:
        print("no training queue is running")
        return 1
    if not alive(state.pid):
        print(f"the queue of {state} was killed, its row goes on; choices: --stop, or a new start, which ends the row")
        if word != "stop":
            return 1
        end_group(state.group)
    elif word == "stop":
        os.kill(state.pid, signal.SIGTERM)
    if word == "stop":
        lock = wait_for_lock(SECONDS_TO_END)
        print(f"{'still stopping' if lock is None else 'stopped'}: {state}")
        return 0 if lock is not None else 1
    if word in ("pause", "continue"):
        os.kill(state.pid, signal.SIGUSR1 if word == "pause" else signal.SIGUSR2)
        until = time.monotonic() + SECONDS_TO_PAUSE
        while read_state().paused != (word == "pause"):
            if time.monotonic() > until:
                print(f"no answer in {SECONDS_TO_PAUSE} s: {state}")
                return 1
            time.sleep(0.1)
    print(f"running: {read_state()}")
    return 0


def main() -> int:
    """Parse, and do the one thing that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked = parser.add_mutually_exclusive_group()
    asked.add_argument("--list", action="store_true", help="the rows, how far each is, and how long it still takes")
    for word, text in (
        ("status", "what is running; exits with 1 if nothing is"),
        ("stop", "stop it, and wait until the resume file is written"),
        ("pause", "stop the training row in its tracks"),
        ("continue", "let it go on"),
    ):
        asked.add_argument(f"--{word}", dest="word", action="store_const", const=word, help=text)
    parser.add_argument("--only", metavar="ROW", help="this row instead of the list; any row of any table")
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs in all of the row of --only")
    parser.add_argument("--nice", type=int, default=19, metavar="N", help="priority, 0 to 19; default 19, the lowest")
    parser.add_argument("--json", action="store_true", help="--list for machines")
    given = parser.parse_args()
    if given.only and given.only not in TABLES:
        parser.error(f"found --only {given.only}; choices: {', '.join(sorted(TABLES))}")
    if given.epochs is not None and not given.only:
        parser.error("found --epochs without --only; expected both: the list says how many epochs its rows have")
    if given.json and not given.list:
        parser.error("found --json without --list")
    if given.word:
        return ask(given.word)
    entries = (Entry(given.only, given.epochs),) if given.only else QUEUE
    if given.list:
        show_list(entries, given.json)
        return 0
    return Queue(entries, given.nice).run()


if __name__ == "__main__":
    sys.exit(main())
