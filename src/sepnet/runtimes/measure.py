"""What a runtime reaches on a data set: accuracy and time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from sepnet.core.dataset import Dataset, normalize
from sepnet.core.header import InputSpec
from sepnet.core.progress import Progress, Tick, silent
from sepnet.core.runtime import Runtime
from sepnet.core.score import Score, score_batches

__all__ = ["milliseconds_an_image", "score_function", "score_runtime"]

Floats = npt.NDArray[np.float32]


def score_runtime(
    runtime: Runtime, data: Dataset, wanted: InputSpec | None = None, progress: Progress = silent
) -> Score:
    """Score on the test split, images normalized as `wanted` says (by default as the data set says)."""
    return score_function(runtime.first, data, wanted, progress)


def score_function(
    run: Callable[[Floats], Floats], data: Dataset, wanted: InputSpec | None = None, progress: Progress = silent
) -> Score:
    """The same of a function from a batch to outputs."""
    mean, std = data.normalization(wanted)

    def outputs() -> Iterator[tuple[Floats, npt.NDArray[np.int64]]]:
        done = 0
        for images, labels in data.test.batches():
            yield run(normalize(images, mean, std)), labels
            done += len(labels)
            progress(Tick("evaluate", done, len(data.test)))

    return score_batches(outputs())


def milliseconds_an_image(runtime: Runtime, data: Dataset, runs: int = 100) -> float:
    """Median milliseconds for one image at batch size 1, after ten runs that do not count."""
    batch = data.batch(data.test.images[:1])
    times = []
    for _ in range(runs + 10):
        started = time.perf_counter()
        runtime.first(batch)
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times[10:]))
