"""The Python door: what it shows of itself, and what it refuses."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import numpy as np
import pytest

import sepnet
from sepnet.core.errors import DataError, UsageError
from sepnet.networks import build

FILE = Path(__file__).parents[1] / "zoo" / "lenet300-mnist.sepnet"


def test_the_names_are_the_public_ones() -> None:
    assert sepnet.__version__ == importlib.metadata.version("sepnet")
    assert set(sepnet.__all__) <= set(dir(sepnet)) and {"__version__", "read", "compress", "inspect"} <= set(
        dir(sepnet)
    )
    assert not {"Any", "TYPE_CHECKING", "importlib", "annotations"} & set(dir(sepnet))
    assert all(getattr(sepnet, name) is not None for name in dir(sepnet))


def test_a_packed_model_shows_itself_in_one_line() -> None:
    shown = repr(sepnet.read(FILE))
    assert shown == f"<PackedModel of lenet300: 266,610 params, 6 tensors, {FILE.stat().st_size:,} bytes>"


@pytest.mark.parametrize(
    ("batch", "words"),
    [
        (
            np.zeros((2, 1, 28, 28), np.uint8),
            r"found a batch of uint8; expected floats, normalized: \(pixels / 255 - \[0",
        ),
        ([[0, 1], [1, 2]], "found a batch of int64; expected floats"),
        (np.zeros((2, 1, 28, 28), bool), "found a batch of bool"),
        ("x", "expected floats"),
        (None, "expected floats"),
        ([[1.0], [1.0, 2.0]], "found list, no array"),
    ],
)
def test_a_batch_that_is_no_batch(batch: object, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        sepnet.read(FILE).run(batch)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(), (0,), (28, 28), (1, 28, 28, 1, 1), (2, 3, 28, 28), (2, 1, 27, 28)])
def test_a_batch_of_another_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match="cannot run on input of shape"):
        sepnet.read(FILE).run(np.zeros(shape, np.float32))


def test_float64_is_fine() -> None:
    model = sepnet.read(FILE)
    batch = np.random.default_rng(0).normal(size=(2, 1, 28, 28))
    np.testing.assert_array_equal(model.run(batch), model.run(batch.astype(np.float32)))


@pytest.mark.parametrize("seed", [-1, 2**53, 10**30, 1.5, True])
def test_seeds_that_are_refused(seed: int) -> None:
    with pytest.raises(UsageError, match="expected an integer from 0 to 9007199254740991"):
        sepnet.compress(build("lenet5"), "lenet5-digits", "digits", seed=seed)
