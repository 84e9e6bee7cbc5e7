"""bench: how fast, how large and how heavy a packed network is on runtimes, beside other forms of it."""

from __future__ import annotations

import contextlib
import math
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sepnet.core.bench_report import BenchReport, BenchRow, Entrant
from sepnet.core.dataset import Dataset, normalize
from sepnet.core.errors import DataError, FormatError, UsageError
from sepnet.core.files import write_bytes
from sepnet.core.header import InputSpec
from sepnet.core.limits import UNLIMITED
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Progress, Tick, silent
from sepnet.exporters.onnx.model import OPSET, OnnxNetwork
from sepnet.graphs.ports import check_graph
from sepnet.runtimes import REFERENCE, RUNTIMES
from sepnet.runtimes.activation_ranges import activation_ranges
from sepnet.runtimes.energy import processor_joules
from sepnet.runtimes.worker import Worker

__all__ = ["FORMS", "bench"]

Array = npt.NDArray[np.float32]
ROUNDS = 12
CALIBRATED = 64

_ONNX = ".onnx"
_RUN_BY = {_ONNX: REFERENCE, ".tflite": "litert"}
"""What runs other files, by how their names end, unless something else is asked for."""

FORMS: dict[str, Callable[[PackedModel, Array], bytes]] = {
    "float": lambda model, _: OnnxNetwork.of(model).encode(packed=False)[0],
    "int8": lambda model, images: _exported(model, images, packed=False),
    "onnx": lambda model, _: _exported(model, None, packed=True),
    "onnx-uint8": lambda model, images: _exported(model, images, packed=True),
}
"""Forms to measure against: the .onnx file that ONNX Runtime is given, from the model and images to calibrate by."""


def bench(
    model: PackedModel,
    runtimes: Sequence[str] = (REFERENCE,),
    against: Sequence[str] = ("float",),
    *,
    batches: Sequence[int] = (1, 32),
    threads: int = 1,
    seconds: float = 2.0,
    data: Dataset | None = None,
    progress: Progress = silent,
) -> BenchReport:
    """Measure load time, latency, memory and energy; every entrant in a process of its own, in turns, in one run.

    Args:
        model: the packed network.
        runtimes: what runs it.
        against: forms of the same network in ONNX Runtime, names in `FORMS`, or paths of .onnx and .tflite files that take the
            same images; "int8@openvino" is the form in another runtime that takes such files.
        batches: images a run.
        threads: for each runtime.
        seconds: to measure each entrant at each batch size, at least.
        data: whose test images to run on, and whose training images to calibrate int8 forms by; None for random ones.

    Raises:
        UsageError: unknown names, or numbers out of range.
        FormatError: the file does not say which images it takes, or cannot be run.
        DataError: the images of `data` do not fit.
    """
    _check(runtimes, against, batches=batches, threads=threads, seconds=seconds)
    images, others, about = _images(model, max(batches), data)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        np.save(folder / "images.npy", images)
        entrants = _entrants(model, runtimes, against, images=others, folder=folder)
        lanes = []
        for at, entrant in enumerate(entrants):
            progress(Tick("load", at, len(entrants), f"{entrant.form} by {entrant.runtime}"))
            path, compile_ms = _compiled(model, entrant, images, folder)
            worker = stack.enter_context(Worker(path, entrant.runtime, folder / "images.npy", threads))
            lanes.append(_Lane(entrant, worker, compile_ms))
        _measure(lanes, sorted(set(batches)), seconds, progress)
        expected = RUNTIMES[REFERENCE](model, threads).first(images)
        for lane in lanes:
            lane.compare(expected)
        rows = [lane.row(batch) for lane in lanes for batch in sorted(set(batches))]
    gains = {name: RUNTIMES[name].gains for name in dict.fromkeys([entrant.runtime for entrant in entrants])}
    return BenchReport(model.header.network, threads, about, tuple(rows), gains)


def _exported(model: PackedModel, images: Array | None, packed: bool) -> bytes:
    """As `export --to onnx --weights int8` writes it, activations uint8 by the least and the largest number where there are images."""
    ranges = None if images is None else activation_ranges(model, [images], "min-max")
    return OnnxNetwork.of(model, OPSET).encode(packed, ranges)[0]


def _check(
    runtimes: Sequence[str], against: Sequence[str], *, batches: Sequence[int], threads: int, seconds: float
) -> None:
    for name in runtimes:
        _ = RUNTIMES[name]
    for form, runtime in map(_form_and_runtime, against):
        suffix = _ONNX if form in FORMS else Path(form).suffix.lower()
        if form not in FORMS and suffix not in _RUN_BY:
            raise UsageError(
                f"found {form!r} to measure against; expected {', '.join(FORMS)}, or a file that ends like {', '.join(_RUN_BY)}"
            )
        if form not in FORMS and not Path(form).is_file():
            raise UsageError(f"found no file {form} to measure against")
        if suffix != RUNTIMES[runtime].takes:
            raise UsageError(f"found {form}@{runtime}; {form} is run by {_RUN_BY[suffix]}")
    if not runtimes:
        raise UsageError("found no runtime to measure; expected one or more")
    if not batches or min(batches) < 1:
        raise UsageError(f"found batches of {list(batches)} images; expected one size or more, each of 1 or more")
    if threads < 1:
        raise UsageError(f"found {threads} threads; expected 1 or more")
    if not 0 < seconds < math.inf:
        raise UsageError(f"found {seconds} seconds; expected a number above 0")


def _images(model: PackedModel, count: int, data: Dataset | None) -> tuple[Array, Array, str]:
    """To run on, to calibrate by, and what they are."""
    check_graph(model)
    wanted = model.header.input
    if wanted is None and data is not None:
        wanted = InputSpec(data.input_shape, data.mean, data.std)
    if wanted is None:
        raise FormatError(
            "the packed file does not say which images it takes (header key `input`); expected a data set that has such, as --data"
        )
    if data is None:
        images = np.random.default_rng(0).standard_normal((count, *wanted.shape), np.float32)
        return images, images, "random images (normal)"
    if tuple(wanted.shape) != data.input_shape:
        raise DataError(
            f"the packed network takes images of shape {list(wanted.shape)}; those of {data.name} are {list(data.input_shape)}"
        )
    mean, std = data.normalization(wanted)
    images = normalize(data.test.images[np.arange(count) % len(data.test)], mean, std)
    return images, normalize(data.train.images[:CALIBRATED], mean, std), f"test images of {data.name}"


def _entrants(
    model: PackedModel, runtimes: Sequence[str], against: Sequence[str], *, images: Array, folder: Path
) -> list[Entrant]:
    packed = folder / "packed.sepnet"
    model.write(packed, limits=UNLIMITED)
    found = [Entrant("packed", runtime, str(packed), model.bytes) for runtime in runtimes]
    for form, runtime in map(_form_and_runtime, against):
        path = folder / f"{form}.onnx" if form in FORMS else Path(form)
        if form in FORMS:
            write_bytes(path, FORMS[form](model, images))
        name = path.name if [Path(other).name for other in against].count(path.name) == 1 else str(path)
        found.append(Entrant(form if form in FORMS else name, runtime, str(path), path.stat().st_size))
    return found


def _form_and_runtime(name: str) -> tuple[str, str]:
    """What follows the last @ is the runtime, but in the name of a file."""
    form, _, runtime = name.rpartition("@")
    return (
        (form, runtime)
        if form and not Path(name).is_file()
        else (name, _RUN_BY.get(Path(name).suffix.lower(), REFERENCE))
    )


def _compiled(model: PackedModel, entrant: Entrant, images: Array, folder: Path) -> tuple[Path, float]:
    """What the entrant's process loads, and the milliseconds that it took this one to compile it."""
    started = time.perf_counter()
    library = RUNTIMES[entrant.runtime].compiled(model, [images], folder) if entrant.form == "packed" else None
    return (library, 1000 * (time.perf_counter() - started)) if library else (Path(entrant.path), 0.0)


@dataclass
class _Lane:
    """What an entrant has run so far, by batch size."""

    entrant: Entrant
    worker: Worker
    compile_ms: float
    difference: float = 0.0
    turn: dict[int, int] = field(default_factory=dict)
    seconds: dict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    joules: dict[int, float | None] = field(default_factory=lambda: defaultdict(float))
    peak: dict[int, int | None] = field(default_factory=dict)

    def compare(self, expected: Array) -> None:
        found = self.worker.outputs(len(expected))
        if found.shape != expected.shape:
            raise FormatError(
                f"{self.worker.name}: outputs of shape {list(found.shape)}; expected {list(expected.shape)} as the packed file's"
            )
        self.difference = float(np.abs(found - expected).max() / (np.abs(expected).max() or 1))

    def warm(self, batch: int, seconds: float) -> None:
        """Runs that do not count, which tell how many fit a turn."""
        self.worker.times(batch, 2)
        once = min(self.worker.times(batch, 3))
        self.turn[batch] = max(1, min(10_000, math.ceil(seconds / ROUNDS / once)))

    def take(self, batch: int) -> None:
        before = processor_joules()
        self.seconds[batch] += self.worker.times(batch, self.turn[batch])
        after, so_far = processor_joules(), self.joules[batch]
        told = before is not None and after is not None and after >= before and so_far is not None
        self.joules[batch] = so_far + after - before if told else None  # type: ignore[operator]
        self.peak[batch] = self.worker.peak_bytes()

    def row(self, batch: int) -> BenchRow:
        seconds, joules = self.seconds[batch], self.joules[batch]
        fast, ms, slow = (1000 * float(value) for value in np.percentile(seconds, (10, 50, 90)))
        each = None if joules is None else joules / (batch * len(seconds))
        return BenchRow(
            *(self.entrant, batch, self.compile_ms + self.worker.load_ms, ms, fast, slow, len(seconds)),
            *(self.peak[batch], each, self.difference),
        )


def _measure(lanes: Sequence[_Lane], batches: Sequence[int], seconds: float, progress: Progress) -> None:
    total = len(batches) * ROUNDS
    for at, batch in enumerate(batches):
        for lane in lanes:
            lane.warm(batch, seconds)
        for turn in range(ROUNDS):
            progress(Tick("bench", at * ROUNDS + turn, total, f"batch {batch}"))
            for lane in lanes if turn % 2 else reversed(lanes):
                lane.take(batch)
    progress(Tick("bench", total, total))
