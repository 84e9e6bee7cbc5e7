"""Fixed-point rules are near the real ones, and their products fit the integers they are computed in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sepnet.core.errors import NetworkError
from sepnet.integer.model import Value
from sepnet.integer.reference import requantized
from sepnet.integer.requantize import requantize

TARGET = Value("y", (3, 1, 1), 0.1, 7)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(1e-6, 30.0), min_size=3, max_size=3),
    st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3),
    st.lists(st.floats(-300, 300), min_size=3, max_size=3),
    st.integers(1, 1 << 24),
    st.integers(0, 255),
)
def test_near_and_within_32_bits(
    ratios: list[float], signs: list[float], biases: list[float], bound: int, zero: int
) -> None:
    ratio, bias = np.array(ratios) * signs, np.array(biases)
    low, high = np.full(3, -bound), np.full(3, bound)
    zeros = np.full(3, zero * min(3, bound))
    rule = requantize(ratio, zeros, bias, (low, high), TARGET)
    sums = np.random.default_rng(0).integers(-bound, bound + 1, (50, 3, 1, 1))
    found = requantized(rule, sums)
    if not rule.long:
        product = np.abs(sums[..., 0, 0] * rule.multipliers.astype(np.int64)) + np.abs(
            rule.offsets.astype(np.int64) << rule.offset_shift
        )
        assert product.max() < 1 << 31
    exact = np.clip((sums[..., 0, 0] - zeros) * ratio + bias + TARGET.zero, 0, 255)
    slack = 0.51 + 2 / 64 + 0.5 * (bound + zeros.max()) / (1 << rule.shift)
    assert np.abs(found[..., 0, 0] - exact).max() <= slack


def test_numbers_that_are_not_finite_are_refused() -> None:
    one = np.ones(3)
    with pytest.raises(NetworkError, match="'y' are not finite"):
        requantize(one * np.inf, one.astype(np.int64), one, (-one.astype(np.int64), one.astype(np.int64)), TARGET)
