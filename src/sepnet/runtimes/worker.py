"""A process with one runtime in it: what it takes to load, to run and in memory is its own.

The child reads requests and writes answers, a JSON object a line.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import SepnetError, UsageError

__all__ = ["Worker", "serve"]

_START = "import numpy, sys; print('{}', flush=True); sys.stdin.readline(); from sepnet.runtimes.worker import serve; serve()"
_SUFFIX = ".sepnet"

Run = Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]]


class Worker:
    """The parent's end.  Use it as a context: the process ends with it.

    Args:
        path: a packed file, or an .onnx file, which only the runtime onnxruntime takes.
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
            [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
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
        assert self._child.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._child.stdin.write(line + "\n")
            self._child.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        assert self._child.stdout is not None
        line = self._child.stdout.readline()
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


def serve() -> None:
    """The child's end: answer until the input ends.  What libraries print goes to stderr."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    run: Run | None = None
    images = np.zeros(0, np.float32)
    for line in sys.stdin:
        request = json.loads(line)
        try:
            if run is None:
                images = np.load(request["inputs"], mmap_mode="r")
                run, answer = _load(Path(request["path"]), request["runtime"], request["threads"], images)
            elif "runs" in request:
                answer = {"seconds": _times(run, np.array(images[: request["batch"]]), request["runs"])}
            else:
                answer = {"outputs": run(np.array(images[: request["batch"]])).tolist()}
        except SepnetError as error:
            answer = {"error": str(error), "usage": isinstance(error, UsageError)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def _load(path: Path, name: str, threads: int, images: npt.NDArray[np.float32]) -> tuple[Run, dict[str, Any]]:
    from sepnet.core.packed_model import PackedModel
    from sepnet.runtimes import RUNTIMES
    from sepnet.runtimes.probe import Probe

    runtime = RUNTIMES[name]
    started = time.perf_counter()
    if path.suffix == _SUFFIX:
        run = runtime.calibrated(PackedModel.read(path), [np.array(images)], threads).run
    else:
        probe = Probe(path, threads=threads)

        def run(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
            return probe.run(batch)[0]

    return run, {"seconds": time.perf_counter() - started}


def _times(run: Run, batch: npt.NDArray[np.float32], runs: int) -> list[float]:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - started)
    return seconds
