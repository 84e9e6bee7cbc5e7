"""A process with one runtime in it: what it takes to load, to run and in memory is its own.

This is the parent's end, `serve.py` the child's, which reads requests and writes answers, a JSON object a line.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Self, cast

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import SepnetError, UsageError

__all__ = ["Worker"]

_START = (
    "import numpy, sys; print('{}', flush=True); sys.stdin.readline(); from sepnet.runtimes.serve import serve; serve()"
)


class Worker:
    """The parent's end.  Use it as a context: the process ends with it.

    Args:
        path: a packed file, a library (.so) that `Runtime.compiled` made of one, or another file that
            the runtime takes.
        runtime: a name on the shelf.
        inputs: path of an .npy file of images, normalized, float32 (n, ...); runtimes that calibrate do so by them.
        threads: for the runtime.

    Attributes:
        load_ms: milliseconds from the file to a runtime that is ready.

    Raises `SepnetError` with the child's reason when it cannot load or run.
    """

    def __init__(self, path: Path, runtime: str, inputs: Path, threads: int) -> None:
        self.name = f"{path.name} by {runtime}"
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-c", _START],  # -P: nothing is imported from the current folder
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            self._answer()
            self._before = _memory(self._child.pid, "VmRSS")
            self._send("")
            answer = self._ask(path=str(path), runtime=runtime, inputs=str(inputs), threads=threads)
        except BaseException:
            self._stop()
            raise
        self.load_ms = 1000 * float(answer["seconds"])

    def times(self, batch: int, runs: int) -> list[float]:
        """Seconds of each of so many runs of the first `batch` images."""
        return list(self._ask(batch=batch, runs=runs)["seconds"])

    def outputs(self, batch: int) -> npt.NDArray[np.float32]:
        """What it computes of them."""
        return np.array(self._ask(batch=batch)["outputs"], np.float32)

    def peak_bytes(self) -> int | None:
        """Most resident memory so far, less what Python with numpy took before; None where /proc does not tell."""
        peak = _memory(self._child.pid, "VmHWM")
        return None if peak is None or self._before is None else peak - self._before

    def _ask(self, **request: object) -> dict[str, Any]:
        self._send(json.dumps(request))
        answer = self._answer()
        if "error" in answer:
            raise (UsageError if answer["usage"] else SepnetError)(f"{self.name}: {answer['error']}")
        return answer

    def _send(self, line: str) -> None:
        pipe = cast(IO[str], self._child.stdin)
        with contextlib.suppress(BrokenPipeError):
            pipe.write(line + "\n")
            pipe.flush()

    def _answer(self) -> dict[str, Any]:
        line = cast(IO[str], self._child.stdout).readline()
        if not line:
            raise SepnetError(f"{self.name}: its process ended with status {self._child.wait()}; see above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _stop(self) -> None:
        self._child.kill()
        self._child.communicate()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()


def _memory(process: int, what: str) -> int | None:
    """Bytes of resident memory, now (VmRSS) or at most (VmHWM); None where there is no /proc."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process}/status").read_text().splitlines():
            if line.startswith(f"{what}:"):
                return 1024 * int(line.split()[1])
    return None
