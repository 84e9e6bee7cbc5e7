"""Ranges of activations: what a whole look at the numbers gives, within what a histogram knows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sepnet.core.errors import DataError, NetworkError, UnknownNameError
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.packing.restore import onnx_model
from sepnet.runtimes.activation_ranges import METHODS, Histogram, activation_ranges
from sepnet.runtimes.probe import Probe

LENET5 = "zoo/lenet5-mnist.sepnet"
random = np.random.default_rng(0)
BATCHES = [random.standard_normal((5, 1, 28, 28)).astype(np.float32) * size for size in (1, 3, 0.1)]


@pytest.fixture(scope="module")
def lenet5() -> PackedModel:
    return PackedModel.read(LENET5)


def test_min_max_is_that_of_all_values(lenet5: PackedModel) -> None:
    found = activation_ranges(lenet5, BATCHES)
    assert found == activation_ranges(onnx_model(lenet5), iter(BATCHES))
    graph = OnnxGraph.decode(lenet5.graph)
    floats = [node.outputs[0] for node in graph.nodes if node.op not in ("Shape", "Concat")]
    assert next(iter(found)) == "input" and set(found) == {"input", *floats}
    values = np.concatenate([Probe(onnx_model(lenet5)).run(batch)[0] for batch in BATCHES])
    assert found["output"] == (float(values.min()), float(values.max()))
    assert all(low <= 0 <= high for low, high in found.values())
    assert found["input"] == (float(min(b.min() for b in BATCHES)), float(max(b.max() for b in BATCHES)))


@pytest.mark.parametrize("method", METHODS)
def test_clipping_methods_stay_within_min_max(lenet5: PackedModel, method: str) -> None:
    whole, clipped = activation_ranges(lenet5, BATCHES), activation_ranges(lenet5, BATCHES, method)  # type: ignore[arg-type]
    for name, (low, high) in clipped.items():
        assert whole[name][0] <= low <= 0 <= high <= whole[name][1]


def histogram(numbers: np.ndarray, parts: int = 4) -> Histogram:
    seen = Histogram()
    for part in np.array_split(numbers.astype(np.float32), parts):
        seen.add(part)
    return seen


@settings(max_examples=30)
@given(st.integers(0, 99), st.sampled_from([90.0, 99.0, 99.99]), st.booleans())
def test_percentile(seed: int, percentile: float, positive: bool) -> None:
    numbers = np.random.default_rng(seed).standard_t(3, 20_000) * 10.0 ** (seed % 7 - 3)
    numbers = np.maximum(numbers, 0) if positive else numbers
    low, high = histogram(numbers).range("percentile", percentile)
    outside, near = (100 - percentile) / 200, 2 * np.abs(numbers).max() / 1024
    for beyond, beyond_near in (
        (np.mean(numbers < low - near), np.mean(numbers <= low + near)),
        (np.mean(numbers > high + near), np.mean(numbers >= high - near)),
    ):
        assert beyond <= outside + 1e-9 and beyond_near >= min(outside, 0.5)


def error(numbers: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    zero = round(-low / step)
    codes = np.clip(np.round(numbers / step) + zero, 0, 255)
    return float(np.mean((step * (codes - zero) - numbers) ** 2))


@pytest.mark.parametrize("positive", [False, True])
def test_mse_is_as_good_as_the_best_of_a_grid(positive: bool) -> None:
    numbers = np.random.default_rng(3).standard_t(3, 20_000)
    numbers = np.maximum(numbers, 0) if positive else numbers
    seen = histogram(numbers)
    low, high = seen.range("mse")
    tried = np.linspace(0.1, 1, 19)
    best = min(error(numbers, a, b) for a in (tried * seen.low if seen.low else [0.0]) for b in tried * seen.high)
    assert error(numbers, low, high) < 1.03 * best


def test_nothing_but_zeros() -> None:
    seen = histogram(np.zeros(100))
    assert [seen.range(method) for method in METHODS] == [(0.0, 0.0)] * 3


def test_numbers_that_grow_are_counted_all() -> None:
    seen = Histogram()
    for power in range(-30, 30, 5):
        seen.add(np.float32([2.0**power, -(2.0**power)]))
    assert seen._counts.sum() == 24 and seen.range() == (-(2.0**25), 2.0**25)


def test_what_is_refused(lenet5: PackedModel) -> None:
    with pytest.raises(UnknownNameError, match="min-max"):
        activation_ranges(lenet5, BATCHES, "entropy")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="nothing to calibrate on"):
        activation_ranges(lenet5, [])
    with pytest.raises(NetworkError, match="NaN"):
        activation_ranges(lenet5, [np.full((1, 1, 28, 28), np.nan, np.float32)])
    with pytest.raises(DataError, match="expected"):
        activation_ranges(lenet5, [np.zeros((1, 3, 28, 28), np.float32)])
