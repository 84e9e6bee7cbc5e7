"""Ranges of activations from training images: by several methods, each tried on images that it was not made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sepnet.core.calibrate import Calibrate
from sepnet.core.dataset import normalize
from sepnet.core.errors import DataError, NetworkError
from sepnet.core.exporter import MethodRow
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Progress, Tick, silent
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.runtimes.activation_ranges import METHODS, Method, Range, activation_histograms
from sepnet.runtimes.onnxruntime import OnnxRuntime

__all__ = ["ActivationCalibration"]

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]
NUMBERS_A_BATCH, IMAGES_A_BATCH = 500_000, 64


class ActivationCalibration:
    """Histograms of a packed network's values on some training images, and as many other images to compare on.

    Args:
        model: the packed network.
        given: the data set, and how many images of its train split.
        progress: callback.

    Raises:
        DataError: images of another shape than the network takes, or too few.
        NetworkError: NaN or Inf.
    """

    def __init__(self, model: PackedModel, given: Calibrate, progress: Progress = silent) -> None:
        data, wanted = given.data, model.header.input
        graph = OnnxGraph.decode(model.graph)
        shape = tuple(wanted.shape) if wanted else graph.input_shape[1:]
        if len(shape) == 3 and None not in shape and shape != data.input_shape:
            raise DataError(
                f"the packed network takes images of shape {list(shape)}; those of {data.name} are {list(data.input_shape)}"
            )
        self._data, self._progress = data, progress
        self._mean, self._std = data.normalization(wanted)
        self._fixed = graph.batch
        rows = np.random.default_rng(given.seed).permutation(len(data.train))[: 2 * given.images]
        halves, batch = [np.sort(half) for half in np.array_split(rows, 2)], self._fixed or 1
        self._seen, self._unseen = (half[: len(half) - len(half) % batch] for half in halves)
        if not len(self._unseen):
            raise DataError(f"{data.name} has {len(data.train)} training images; too few to calibrate on")
        self._runtime = OnnxRuntime(model)
        self._histograms = activation_histograms(model, self.batches())
        self._wanted = self._outputs(self._runtime.first, "run packed network", self._unseen)

    def batches(self) -> Iterator[Floats]:
        """The images that ranges are made from, normalized as the network wants them."""
        yield from self._batches(self._seen, "look at activations")

    def ranges(self, method: Method = "min-max") -> dict[str, Range]:
        """(low, high) by name, see `sepnet.runtimes.activation_ranges`."""
        return {name: histogram.range(method) for name, histogram in self._histograms.items()}

    def choose(
        self, build: Callable[[dict[str, Range]], Callable[[Floats], Floats]], method: Method | None = None
    ) -> tuple[dict[str, Range], tuple[MethodRow, ...]]:
        """The ranges whose outputs are nearest to those of the packed network, and what each method gave.

        Args:
            build: from ranges to a function from a batch to outputs.
            method: None tries all.
        """
        tried = [(each, self.compare(each, build(self.ranges(each)))) for each in ([method] if method else METHODS)]
        best, row = max(tried, key=lambda pair: pair[1].noise)
        return self.ranges(best), tuple(replace(each, chosen=each is row) for _, each in tried)

    def compare(self, method: str, run: Callable[[Floats], Floats]) -> MethodRow:
        """A network with quantized activations beside the packed one."""
        found = self._outputs(run, f"try {method}", self._unseen)
        return MethodRow(
            method, len(self._seen), len(self._unseen), self._ratio(found), self._top1(found), chosen=False
        )

    def noise(self, method: str, run: Callable[[Floats], Floats], images: int) -> float:
        """The `noise` of `compare` on the first `images` of the same images, see `few`."""
        return self._ratio(self._outputs(run, f"try {method}", self._unseen[:images]))

    def few(self, images: int) -> int:
        """The number of images to compare on: about so many, in whole batches."""
        size = self._fixed or 1
        return min(len(self._unseen), -(-images // size) * size)

    def _ratio(self, found: Floats) -> float:
        """Signal to noise of the first outputs, in dB."""
        wanted = self._wanted[: len(found)].astype(np.float64)
        noise = float(np.square(found - wanted).sum())
        return float(10 * np.log10(max(float(np.square(wanted).sum()), 1e-30) / max(noise, 1e-30)))

    @property
    def top1(self) -> float | None:
        """Of the packed network on the images that methods are compared on."""
        return self._top1(self._wanted)

    def _top1(self, outputs: Floats) -> float | None:
        if outputs.ndim != 2 or outputs.shape[1] != len(self._data.classes):
            return None
        labels = self._data.train.labels[self._unseen]
        return float(np.mean(outputs.argmax(axis=1) == labels))

    def _outputs(self, run: Callable[[Floats], Floats], task: str, rows: Rows) -> Floats:
        outputs = np.concatenate([run(batch) for batch in self._batches(rows, task)])
        if not np.isfinite(outputs).all():
            raise NetworkError(f"{int((~np.isfinite(outputs)).sum())} outputs on calibration images are NaN or Inf")
        return outputs

    def _batches(self, rows: Rows, task: str) -> Iterator[Floats]:
        numbers = int(np.prod(self._data.input_shape))
        size = self._fixed or max(1, min(IMAGES_A_BATCH, NUMBERS_A_BATCH // max(1, numbers)))
        for start in range(0, len(rows), size):
            images = self._data.train.images[rows[start : start + size]]
            yield normalize(images, self._mean, self._std)
            self._progress(Tick(task, min(len(rows), start + size), len(rows)))
