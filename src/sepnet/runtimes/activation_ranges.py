"""The ranges of a network's inner values on examples: what uint8 activations are to span.  No torch.

Every float32 value that an operator gives is watched in a running histogram, so memory does not grow with the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError, NetworkError, UnknownNameError
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.packing.restore import onnx_model
from sepnet.runtimes.probe import Probe

__all__ = ["METHODS", "Histogram", "Method", "Range", "activation_histograms", "activation_ranges"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Range = tuple[float, float]
Method = Literal["min-max", "percentile", "mse"]
METHODS: tuple[Method, ...] = get_args(Method)
PERCENTILE = 99.99
BINS = 8192
CLIPPINGS = 50
"""Ends that "mse" tries on either side of zero."""
LEVELS = 256


def activation_ranges(
    model: bytes | PackedModel,
    batches: Iterable[Floats | Mapping[str, npt.NDArray[Any]]],
    method: Method = "min-max",
    percentile: float = PERCENTILE,
) -> dict[str, Range]:
    """(low, high) of the graph's inputs of floats, and of every float32 value that an operator gives; low <= 0 <= high.

    Values that hold an infinite number, as masks do, have no range.

    Args:
        model: a packed model, or a serialized ONNX model with its weights.
        batches: an array for the one input, or a mapping of the inputs' names and arrays; the values of one batch are held in
            memory at a time.
        method: "min-max" spans all numbers; "percentile" leaves out (100 - percentile) % of them, half on either side;
            "mse" has the least squared error once numbers are clipped and rounded to 256 levels.
        percentile: of the method of that name.

    Raises:
        DataError: no batch, or one that the network cannot run on.  NetworkError: a value is NaN, or what goes in or comes out
            is infinite.  UnknownNameError: method.
    """
    if method not in METHODS:
        raise UnknownNameError("method", method, METHODS)
    found = activation_histograms(model, batches)
    return {name: histogram.range(method, percentile) for name, histogram in found.items()}


def activation_histograms(
    model: bytes | PackedModel, batches: Iterable[Floats | Mapping[str, npt.NDArray[Any]]]
) -> dict[str, Histogram]:
    """A histogram of each value, from which the ranges of all methods follow; see `activation_ranges`."""
    data = model if isinstance(model, bytes) else onnx_model(model)
    graph = OnnxGraph.decode(data)
    names = (name for node in graph.nodes for name in node.outputs if name and name not in graph.outputs)
    probe = Probe(data, list(names), floats_only=True)
    inputs = probe.session.inputs
    ends = [port.name for port in (*inputs, *probe.session.outputs) if port.type == "float32"]
    found = {name: Histogram() for name in (*ends, *probe.values)}
    infinite: set[str] = set()
    count = 0
    for batch in batches:
        feed = batch if isinstance(batch, Mapping) else {inputs[0].name: batch}
        count += 1
        for name, numbers in {**feed, **probe.answers(feed)}.items():
            if name not in found:
                continue
            if np.isnan(numbers).any() or (name in ends and not np.isfinite(numbers).all()):
                raise NetworkError(f"value {name!r} of the network is NaN or Inf on what was given to calibrate by")
            if np.isinf(numbers).any():
                infinite.add(name)
            elif name not in infinite:
                found[name].add(np.asarray(numbers, np.float32))
    if not count:
        raise DataError("found nothing to calibrate on; expected one or more")
    return {name: histogram for name, histogram in found.items() if name not in infinite}


class Histogram:
    """Counts of numbers in equal bins over [-reach, reach), where reach is a power of two that grows as needed.

    >>> seen = Histogram()
    >>> seen.add(np.float32([0.0, 1.0, 2.0]))
    >>> seen.add(np.float32([-0.5]))
    >>> seen.range("min-max")
    (-0.5, 2.0)
    """

    def __init__(self) -> None:
        self.low = self.high = 0.0
        self._reach = 0.0
        self._counts = np.zeros(BINS, np.int64)
        self._zeros = 0

    def add(self, numbers: Floats) -> None:
        """Count finite numbers."""
        self.low, self.high = (
            min(self.low, float(numbers.min(initial=0))),
            max(self.high, float(numbers.max(initial=0))),
        )
        most = max(-self.low, self.high)
        self._zeros += int(numbers.size - np.count_nonzero(numbers))
        if most == 0:
            return
        if not self._reach:
            self._reach = float(2.0 ** np.floor(np.log2(most)))
        while self._reach <= most:
            self._counts = np.pad(self._counts.reshape(-1, 2).sum(axis=1), BINS // 4)
            self._reach *= 2
        at = (numbers[numbers != 0] * np.float32(BINS / 2 / self._reach)).astype(np.float64) + BINS / 2
        self._counts += np.bincount(np.floor(at).astype(np.int64).clip(0, BINS - 1), minlength=BINS)

    def range(self, method: Method = "min-max", percentile: float = PERCENTILE) -> Range:
        """(low, high), see `activation_ranges`; always within those of "min-max"."""
        if method == "min-max" or not self._reach:
            return self.low, self.high
        low, high = self._percentile(percentile) if method == "percentile" else self._least_error()
        return max(low, self.low), min(high, self.high)

    def _percentile(self, percentile: float) -> Range:
        """Edges of bins, the zeros counted in the first bin above 0; never with 0 outside."""
        counts, edges = self._counts.copy(), np.linspace(-self._reach, self._reach, BINS + 1)
        counts[BINS // 2] += self._zeros
        outside = (100 - percentile) / 200 * counts.sum()
        low = int(np.searchsorted(np.cumsum(counts), outside, "right"))
        high = BINS - int(np.searchsorted(np.cumsum(counts[::-1]), outside, "right"))
        return min(0.0, float(edges[min(low, BINS)])), max(0.0, float(edges[max(high, 0)]))

    def _least_error(self) -> Range:
        """Of a grid of ends: the sum of squared distances of what is clipped, and step^2 / 12 for each number within that is not 0."""
        width = 2 * self._reach / BINS
        centres: Doubles = -self._reach + width * np.arange(0.5, BINS)
        sums: Doubles = np.stack(
            [np.concatenate([[0.0], np.cumsum(self._counts * centres**power)]) for power in range(3)]
        )
        shares = np.arange(1, CLIPPINGS + 1) / CLIPPINGS
        lows: Doubles = shares * self.low if self.low < 0 else np.zeros(1)
        highs: Doubles = shares * self.high if self.high > 0 else np.zeros(1)
        below, under = _clipped(sums, centres, lows, True)
        above, over = _clipped(sums, centres, highs, False)
        within = sums[0, -1] - under[:, None] - over
        step = (highs - lows[:, None]) / (LEVELS - 1)
        errors = below[:, None] + above + within * step**2 / 12
        low, high = np.unravel_index(int(errors.argmin()), errors.shape)
        return float(lows[low]), float(highs[high])


def _clipped(sums: Doubles, centres: Doubles, ends: Doubles, left: bool) -> tuple[Doubles, Doubles]:
    """Squared error of the numbers beyond each end, and how many they are."""
    at = np.searchsorted(centres, ends)
    count, first, second = sums[:, at] if left else sums[:, -1:] - sums[:, at]
    return np.maximum(0, second - 2 * ends * first + ends**2 * count), count
