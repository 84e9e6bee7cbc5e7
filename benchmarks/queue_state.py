"""Which training queue is running: a lock that ends with its processes, and what it says of itself."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from command import RUNS

from sepnet.core.files import write_bytes

FOLDER = RUNS / "queue"
SECONDS_TO_END = 60


@dataclass
class State:
    """What the running queue says; times are in local time.

    Attributes:
        group: the process group of the row that trains, 0 for none.
        failed: the exit code of each row that failed.
    """

    pid: int = 0
    since: str = ""
    row: str = ""
    row_since: str = ""
    group: int = 0
    paused: bool = False
    failed: dict[str, int] = field(default_factory=dict)

    def write(self) -> None:
        """For who asks."""
        write_bytes(FOLDER / "state.json", json.dumps(asdict(self)).encode())

    def __str__(self) -> str:
        row = f", row {self.row} since {self.row_since}" if self.row else ""
        return f"pid {self.pid} since {self.since}{row}{', paused' if self.paused else ''}"


def read_state() -> State:
    """What the queue that is running, or ran last, says."""
    try:
        return State(**json.loads((FOLDER / "state.json").read_text()))
    except (OSError, ValueError, TypeError):
        return State()


def now() -> str:
    """The time as the state and the log say it."""
    return time.strftime("%Y-%m-%d %H:%M:%S")


def running() -> State | None:
    """The queue that is running, if one is."""
    if not FOLDER.is_dir():
        return None
    descriptor = try_lock()
    if descriptor is None:
        return read_state()
    os.close(descriptor)
    return None


def try_lock() -> int | None:
    """A descriptor that holds the lock until it is closed here and in the processes that inherited it; None if another has it."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(FOLDER / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def take_lock() -> int:
    """The lock, or the end of the program if a queue is running.

    The row that trains inherits the lock.  Where the queue itself was killed, that row is ended first.
    """
    descriptor = wait_for_lock(1)  # who looks whether a queue is running has it for a moment
    state = read_state()
    if descriptor is None and not alive(state.pid):
        print(f"{now()} the queue of {state} was killed; ending the row that it left", flush=True)
        end_group(state.group)
        descriptor = wait_for_lock(SECONDS_TO_END)
    if descriptor is None:
        raise SystemExit(f"a training queue is running: {state}; choices: --status, --pause, --stop")
    return descriptor


def wait_for_lock(seconds: float) -> int | None:
    """The lock as soon as nobody has it; None if that takes too long."""
    until = time.monotonic() + seconds
    while (descriptor := try_lock()) is None and time.monotonic() < until:
        time.sleep(0.2)
    return descriptor


def end_group(group: int) -> None:
    """End the row that trains: its command writes the resume file when it is asked; a paused one must go on for that."""
    if not group:
        return
    for send, number in ((os.kill, signal.SIGTERM), (os.killpg, signal.SIGCONT)):
        with contextlib.suppress(ProcessLookupError):
            send(group, number)
    if not alive(group):  # the command is gone, what it started may not be
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGTERM)


def alive(pid: int) -> bool:
    """Whether there is such a process."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def log_file(row: str) -> Path:
    """What the commands of a row print."""
    return FOLDER / f"{row}.log"
