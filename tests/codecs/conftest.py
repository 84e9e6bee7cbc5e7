"""The arrays that every codec on the shelf is tried with."""

from __future__ import annotations

import numpy as np
import pytest

from sepnet.codecs import CODECS
from sepnet.core.codec import IntArray


def _laplace(shape: tuple[int, ...], spread: float, kept: float, seed: int) -> IntArray:
    generator = np.random.default_rng(seed)
    codes = np.rint(generator.laplace(0, spread, shape)).astype(np.int64)
    codes[generator.random(shape) > kept] = 0
    return codes


def _talk_row() -> IntArray:
    row = np.zeros(16, dtype=np.int64)
    row[[1, 4, 15]] = 34, 9, 17
    return row


SAMPLES: dict[str, IntArray] = {
    "empty": np.zeros((3, 0, 2), dtype=np.int64),
    "scalar": np.array(-7),
    "one zero": np.array([0]),
    "one code": np.array([[5]]),
    "all zero": np.zeros((4, 9), dtype=np.int64),
    "all equal": np.full(33, -3),
    "talk": _talk_row(),
    "signs": np.where(_laplace((6, 5), 3, 1, 0) > 0, 1, -1),
    "bits": (_laplace((7, 9), 3, 1, 1) > 0).astype(np.int64),
    "sparse": _laplace((40, 50), 5, 0.05, 2),
    "very sparse": _laplace((20_000,), 9, 0.0005, 3),
    "dense": _laplace((8, 3, 3, 3), 4, 1, 4),
    "trailing zeros": np.concatenate([[1, 0, 2], np.zeros(5000, dtype=np.int64)]),
    "last only": np.concatenate([np.zeros(9000, dtype=np.int64), [1]]),
    "extremes": np.array([-(2**31), 2**32 - 1, 0, 1, -1, 2**31]),
    "float patterns": np.random.default_rng(5).normal(size=300).astype(np.float32).view(np.uint32).astype(np.int64),
    "over many symbols": np.arange(5000) * 3 - 20,
    "fibonacci": np.repeat(np.arange(20), np.round(1.618 ** np.arange(20)).astype(np.int64)),
    "over a block": _laplace((70_001,), 2, 0.7, 6),
    "patterns": (_laplace((9, 5, 3, 3), 3, 1, 7) > 0).astype(np.int64),
    "few patterns": np.tile((_laplace((4, 1, 5, 5), 3, 1, 8) > 0).astype(np.int64), (6, 3, 1, 1)),
    "ternary patterns": np.sign(_laplace((12, 4, 3, 3), 3, 0.8, 9)),
}
SMALL = ["one code", "all equal", "all zero", "talk", "signs", "dense", "extremes", "patterns"]


@pytest.fixture(params=list(CODECS))
def name(request: pytest.FixtureRequest) -> str:
    """The name of each codec."""
    return str(request.param)


@pytest.fixture(params=list(SAMPLES))
def sample(request: pytest.FixtureRequest) -> IntArray:
    """Each array."""
    return SAMPLES[request.param]


@pytest.fixture(params=SMALL)
def small(request: pytest.FixtureRequest) -> IntArray:
    """Each of the arrays that are small enough for every single damage."""
    return SAMPLES[request.param]
