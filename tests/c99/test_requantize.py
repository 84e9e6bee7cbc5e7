"""Fixed-point rules are near the real ones, and their products fit the integers they are computed in."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sepnet.core.errors import NetworkError
from sepnet.integer.requantize import requantize, requantized
from sepnet.integer.value import Value

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
    rule = requantize(ratio, zeros, bias, bounds=(low, high), target=TARGET)
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


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.integers(-45, 14), min_size=3, max_size=3),
    st.lists(st.floats(-1e12, 1e12) | st.floats(-300, 300), min_size=3, max_size=3),
    st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40))
    | st.tuples(st.integers(0, 1 << 20), st.integers(0, 99)),
    st.booleans(),
)
@example([0, 11, 0], [0.0, -1073831578.0, 0.0], (0, 3133012), False)  # sums of more steps than 2^30, and such a bias
@example([0, 3, -9], [0.0, 0.0, 5081882.0], (581082507, 0), False)  # a bias beyond the sum, but not beyond its rounding
@example([0, 0, 5], [0.0, 0.0, 5777101496.0], (406862299, 0), False)
@example([0, -12, 0], [0.0, -1116775109.0, 0.0], (0, 628292354926), False)
def test_every_step_fits_its_integers(
    powers: list[int], biases: list[float], bounds: tuple[int, int], wide: bool
) -> None:
    ratio, bias = 1.7 ** np.array(powers, float), np.array(biases)
    ends = -np.full(3, bounds[0]), np.full(3, bounds[1])
    target = Value("y", (3, 1, 1), 0.1, 0 if wide else 7, wide)
    rule = requantize(ratio, np.zeros(3, np.int64), bias, bounds=ends, target=target)
    assert rule.long_sum == (max(bounds) >= 1 << 31) and rule.long >= rule.long_sum
    found = requantized(rule, np.array([ends[0], ends[1]])[..., None, None])[..., 0, 0]
    most = 1 << (63 if rule.long else 31)
    for at, (multiplier, offset) in enumerate(zip(rule.multipliers.tolist(), rule.offsets.tolist(), strict=True)):
        for place, total in enumerate((-bounds[0], bounds[1])):
            steps = (
                total * multiplier,
                offset << rule.offset_shift,
                total * multiplier + (offset << rule.offset_shift),
            )
            assert max(map(abs, steps)) < most
            assert found[place, at] == min(max(steps[2] >> rule.shift, rule.low), rule.high)
            exact = total * ratio[at] + bias[at]
            if abs(exact) > 40_000 + max(bounds) / (1 << rule.shift):
                assert found[place, at] == (rule.high if exact > 0 else rule.low)


def test_what_offsets_are_rounded_to_is_counted() -> None:
    """The largest sum and the offset make 2^31 - 1, before the offset is rounded; and an offset of 2^n - 1 is 2^31 times 2^k."""
    none, one = np.zeros(1, np.int64), np.ones(1)
    bias = np.array([300 - 0.5 - TARGET.zero - 2.0**-14])
    rule = requantize(one, none, bias, bounds=(none, none + 130_772), target=TARGET)
    assert 130_772 * int(rule.multipliers[0]) + (int(rule.offsets[0]) << rule.offset_shift) < 1 << 31
    bias = np.array([1024 - 0.5 - TARGET.zero - 1e-8])
    rule = requantize(one * 1e-12, none, bias, bounds=(none, none + (1 << 32)), target=TARGET)
    assert rule.offsets[0] > 0


def test_numbers_that_are_not_finite_are_refused() -> None:
    one = np.ones(3)
    with pytest.raises(NetworkError, match="'y' are not finite"):
        requantize(
            one * np.inf, one.astype(np.int64), one, bounds=(-one.astype(np.int64), one.astype(np.int64)), target=TARGET
        )
