"""The child's end of a `Worker`.  It imports little, so that what it takes in memory is the runtime's."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sepnet.core.errors import SepnetError, UsageError
from sepnet.core.runtime import Run
from sepnet.runtimes import RUNTIMES

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["serve"]

_PACKED, _LIBRARY = ".sepnet", ".so"


def serve() -> None:
    """Answer until the input ends.  What libraries print goes to stderr."""
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
    loaders: dict[str, Callable[..., tuple[Run, float]]] = {_PACKED: _load_packed, _LIBRARY: _load_library}
    run, started = loaders.get(path.suffix, _load_other)(path, name, threads, images)
    return run, {"seconds": time.perf_counter() - started}


def _load_packed(path: Path, name: str, threads: int, images: npt.NDArray[np.float32]) -> tuple[Run, float]:
    from sepnet.core.limits import UNLIMITED
    from sepnet.core.packed_model import PackedModel

    runtime = RUNTIMES[name]
    started = time.perf_counter()
    return runtime.calibrated(PackedModel.read(path, UNLIMITED), [np.array(images)], threads).first, started


def _load_library(path: Path, *_: object) -> tuple[Run, float]:
    from sepnet.c99.library import Library

    started = time.perf_counter()
    return Library(path).first, started


def _load_other(path: Path, name: str, threads: int, _: object) -> tuple[Run, float]:
    runtime = RUNTIMES[name]
    started = time.perf_counter()
    return runtime.of_file(path, threads), started


def _times(run: Run, batch: npt.NDArray[np.float32], runs: int) -> list[float]:
    seconds = []
    for _ in range(runs):
        started = time.perf_counter()
        run(batch)
        seconds.append(time.perf_counter() - started)
    return seconds
