"""Ranges of activations from examples: by several methods, each tried on examples that it was not made from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.calibrate import Calibrate, examples_of
from sepnet.core.errors import NetworkError
from sepnet.core.examples import Feed
from sepnet.core.exporter import MethodRow
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Progress, Tick, silent
from sepnet.runtimes.activation_ranges import METHODS, Method, Range, activation_histograms
from sepnet.runtimes.onnxruntime import OnnxRuntime

__all__ = ["ActivationCalibration", "Run"]

Array = npt.NDArray[Any]
Rows = npt.NDArray[np.int64]
Run = Callable[[Feed], Mapping[str, Array]]
"""From an array for each input to the outputs by name."""
NUMBERS_A_BATCH = 500_000


class ActivationCalibration:
    """Histograms of a packed network's values on some examples, and others to compare outputs on.

    Args:
        model: the packed network.
        given: training images of a data set, or arrays; and how many.
        progress: callback.

    Raises:
        DataError: examples that do not fit the network's inputs, or too few.
        NetworkError: NaN or Inf.
    """

    def __init__(self, model: PackedModel, given: Calibrate, progress: Progress = silent) -> None:
        self._runtime, self._progress = OnnxRuntime(model), progress
        self._examples = examples_of(given.data, self._runtime.inputs, model.header.input)
        self._seen, self._unseen = self._examples.halves(given.images, given.seed)
        self._histograms = activation_histograms(model, self.batches())
        self._references: dict[int, list[dict[str, Array]]] = {}
        self._reference(self._unseen)

    @property
    def remark(self) -> str:
        """That examples were too few to measure on others; "" where they were enough."""
        if self._others:
            return ""
        count = len(self._seen)
        return (
            f"calibrated and measured on the same {count} example{'s' * (count > 1)}: {self._examples.name} has no more"
        )

    def batches(self) -> Iterator[Feed]:
        """The examples that ranges are made from."""
        return self._batches(self._seen, "look at activations")

    def ranges(self, method: Method = "min-max") -> dict[str, Range]:
        """(low, high) by name, see `sepnet.runtimes.activation_ranges`."""
        return {name: histogram.range(method) for name, histogram in self._histograms.items()}

    def choose(
        self, build: Callable[[dict[str, Range]], Run], method: Method | None = None
    ) -> tuple[dict[str, Range], tuple[MethodRow, ...]]:
        """The ranges whose outputs are nearest to those of the packed network, and what each method gave.

        Args:
            build: from ranges to what computes the outputs.
            method: None tries all.
        """
        tried = [(each, self.compare(each, build(self.ranges(each)))) for each in ([method] if method else METHODS)]
        best, row = max(tried, key=lambda pair: pair[1].noise)
        return self.ranges(best), tuple(replace(each, chosen=each is row) for _, each in tried)

    def compare(self, method: str, run: Run) -> MethodRow:
        """A network with quantized activations beside the packed one."""
        found = self._outputs(run, f"try {method}", self._unseen)
        noise, top1 = self._ratio(found, self._unseen), self._top1(found)
        return MethodRow(method, len(self._seen), len(self._unseen), noise, top1, chosen=False, others=self._others)

    @property
    def _others(self) -> bool:
        """Whether outputs are compared on other examples than the ranges were made from."""
        return not np.array_equal(self._seen, self._unseen)

    def noise(self, method: str, run: Run, images: int) -> float:
        """The `noise` of `compare` on the first `images` of the same examples, see `few`."""
        rows = self._unseen[:images]
        return self._ratio(self._outputs(run, f"try {method}", rows), rows)

    def few(self, images: int) -> int:
        """The number of examples to compare on: about so many, in whole batches."""
        size = self._examples.batch or 1
        return min(len(self._unseen), -(-images // size) * size)

    def _ratio(self, found: list[dict[str, Array]], rows: Rows) -> float:
        """Signal to noise in dB, of the output that has the least."""
        wanted = self._reference(rows)
        return min((_ratio(name, wanted, found) for name in found[0]), default=0.0)

    @property
    def top1(self) -> float | None:
        """Of the packed network on the examples that methods are compared on; None for what is no classifier of them."""
        return self._top1(self._reference(self._unseen))

    def _top1(self, outputs: list[dict[str, Array]]) -> float | None:
        labels, first = self._examples.labels(self._unseen), next(iter(outputs[0].values()), None)
        if labels is None or first is None or first.ndim != 2 or first.shape[1] != len(self._examples.classes):
            return None
        classes = np.concatenate([next(iter(part.values())).argmax(axis=1) for part in outputs])
        return float(np.mean(classes == labels))

    def _reference(self, rows: Rows) -> list[dict[str, Array]]:
        """Of the packed network, which is run once for as many examples."""
        if len(rows) not in self._references:
            self._references[len(rows)] = self._outputs(self._runtime.answers, "run packed network", rows)
        return self._references[len(rows)]

    def _outputs(self, run: Run, task: str, rows: Rows) -> list[dict[str, Array]]:
        """Outputs of floats, batch by batch."""
        outputs, broken = [], 0
        for feed in self._batches(rows, task):
            found = {name: array for name, array in run(feed).items() if array.dtype.kind == "f"}
            broken += sum(int((~np.isfinite(array)).sum()) for array in found.values())
            outputs.append(found)
        if broken:
            raise NetworkError(f"{broken} outputs on what was given to calibrate by are NaN or Inf")
        return outputs

    def _batches(self, rows: Rows, task: str) -> Iterator[Feed]:
        for feed, done in self._examples.batches(rows, NUMBERS_A_BATCH):
            yield feed
            self._progress(Tick(task, done, len(rows)))


def _ratio(name: str, wanted: list[dict[str, Array]], found: list[dict[str, Array]]) -> float:
    """10 log10(|y|^2 / |y' - y|^2) of one output."""
    signal = noise = 0.0
    for right, other in zip(wanted, found, strict=True):
        exact = right[name].astype(np.float64)
        signal += float(np.square(exact).sum())
        noise += float(np.square(other[name] - exact).sum())
    return float(10 * np.log10(max(signal, 1e-30) / max(noise, 1e-30)))
