"""Run a job so that it can go on elsewhere: its resume file is renewed after every epoch."""

from __future__ import annotations

import contextlib
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from command import ROOT
from job import INHERITED, Job
from resume_file import keep, put_back

SECONDS_TO_STOP = 30
SECONDS_BETWEEN = 20
"""Of epochs that are shorter not each renews the resume file, which takes up to five seconds."""


def run_job(job: Job) -> dict[str, Any]:
    """Run the command, or go on where it was, here or elsewhere; return what it prints as JSON.

    SIGTERM and SIGINT stop it; then, as after an epoch, the resume file becomes what the checkpoint is.
    """
    job.output.parent.mkdir(parents=True, exist_ok=True)
    put_back(job)
    words = (job.verb, *job.arguments, "-o", str(job.output), "--log", str(job.log), "--resume")
    print("$ sepnet", *words, flush=True)
    held = [int(os.environ[INHERITED])] if INHERITED in os.environ else []
    with _signals() as caught:
        process = subprocess.Popen(
            [sys.executable, "-m", "sepnet", *words, "--json"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=held,
        )
        try:
            out = _finish(process, job, caught)
        finally:
            process.kill()
    if process.returncode == 0 and not (caught and job.verb == "train"):  # after compress there is only a file to write
        result: dict[str, Any] = json.loads(out)
        return result
    keep(job)
    raise SystemExit(128 + caught[0] if caught else f"{job.row}: sepnet {job.verb} ended with {process.returncode}")


def _finish(process: subprocess.Popen[str], job: Job, caught: list[int]) -> str:
    """What the process writes, until it ends by itself or because of a signal."""
    asked, kept, seen = 0.0, -math.inf, None
    while True:
        try:
            return process.communicate(timeout=0.5)[0]
        except subprocess.TimeoutExpired:
            now = time.monotonic()
        if caught and not asked:
            process.send_signal(signal.SIGINT)
            asked = now
        elif caught and now - asked > SECONDS_TO_STOP:
            process.kill()
        with contextlib.suppress(FileNotFoundError):
            written = job.checkpoint.stat().st_mtime
            if written != seen and now - kept > SECONDS_BETWEEN:
                keep(job)
                seen, kept = written, now


@contextlib.contextmanager
def _signals() -> Iterator[list[int]]:
    """The numbers of the signals to stop that came."""
    caught: list[int] = []
    before = {number: signal.signal(number, lambda got, _: caught.append(got)) for number in _TO_STOP}
    try:
        yield caught
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_TO_STOP = (signal.SIGTERM, signal.SIGINT)
