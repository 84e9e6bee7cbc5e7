"""Stored numbers and codes: how close `Half` comes, and what every kind of value restores to."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepnet.core.coded_tensor import CodedTensor, Half, float_codes, scale_per, scale_shape
from sepnet.core.errors import FormatError
from sepnet.packing.pack import encode_tensor, fold_scale
from sepnet.packing.restore import TensorReader

magnitudes = st.floats(1e-30, 1e30) | st.sampled_from([65504.0, 65519.9, 65520.0, 2.0**-6, 2.0**-14, 1e-30, 1e30])
signs = st.sampled_from([-1.0, 1.0])


@given(magnitudes, signs)
def test_half_is_close_at_every_magnitude(magnitude: float, sign: float) -> None:
    number = np.float32(sign * magnitude)
    half = Half.of(np.array([number]))
    (back,) = half.numbers()
    assert abs(float(back) - float(number)) <= 2.0**-11 * abs(float(number))
    assert -149 <= half.exponent <= 127


@given(st.lists(st.tuples(magnitudes, signs), min_size=1, max_size=20))
def test_half_is_close_to_a_share_of_the_largest(pairs: list[tuple[float, float]]) -> None:
    numbers = np.float32([magnitude * sign for magnitude, sign in pairs])
    back = Half.of(numbers).numbers().astype(np.float64)
    largest = float(np.abs(numbers).max())
    # Down to 2**-14 of the largest numbers keep 11 bits; below that, the step is 2**-25 of it.
    bound = np.maximum(2.0**-11 * np.abs(numbers.astype(np.float64)), 2.0**-24 * largest)
    assert (np.abs(back - numbers) <= bound).all()


@pytest.mark.parametrize("largest", [1.0, 2.0**-5, 65504.0])
def test_half_needs_no_exponent_in_the_usual_range(largest: float) -> None:
    assert Half.of(np.float32([largest, largest / 8, 0.0])).exponent == 0


def test_half_of_zeros_and_nothing() -> None:
    for numbers in (np.zeros(3, np.float32), np.zeros((0, 2), np.float32), np.float32(0.0)):
        half = Half.of(numbers)
        assert half.exponent == 0
        assert half.numbers().shape == numbers.shape and not half.numbers().any()


@given(st.floats(1e-38, 3e38), signs)
def test_half_twice_is_half_once(magnitude: float, sign: float) -> None:
    once = Half.of(np.float32([sign * magnitude]))
    twice = Half.of(once.numbers())
    assert twice.numbers() == once.numbers()


CODES = np.arange(24).reshape(2, 3, 4)
SCALES = {
    "none": None,
    "tensor": np.float32(0.5),
    "filter": np.float32([0.5, -2.0]),
    "kernel": np.float32([[0.5, -2.0, 1.0], [0.25, 4.0, 0.125]]),
}
BOOK = np.float32(np.arange(24)[::-1] * 0.25)
HALVES = np.float32(np.arange(24).reshape(2, 3, 4) * 0.5 - 3)
KINDS = {
    "integer": (CodedTensor("w", CODES - 9, "integer"), np.float32(CODES - 9)),
    "sign": (CodedTensor("w", CODES % 2, "sign"), np.float32(CODES % 2 * 2 - 1)),
    "codebook": (CodedTensor("w", CODES, "codebook", codebook=Half.of(BOOK)), BOOK[CODES]),
    "float16": (float_codes("w", HALVES * 1e-6, "float16", ("keep",)), None),
    "float32": (float_codes("w", HALVES / 3, "float32", ("keep",)), HALVES / 3),
}


@pytest.mark.parametrize("per", SCALES)
@pytest.mark.parametrize("kind", KINDS)
def test_restore_and_the_way_through_bytes(kind: str, per: str) -> None:
    plain, expected = KINDS[kind]
    expected = plain.restore() if expected is None else expected
    scale = SCALES[per]
    tensor = CodedTensor(
        "w",
        plain.codes,
        plain.values,
        ("x",),
        None if scale is None else Half.of(scale),
        plain.codebook,
        plain.value_exponent,
    )
    factor = np.float32(1.0) if scale is None else scale.reshape(scale.shape + (1,) * (3 - scale.ndim))
    found = tensor.restore()
    assert found.dtype == np.float32 and found.shape == (2, 3, 4)
    np.testing.assert_array_equal(found, expected * factor)
    assert scale_per(tensor.scale) == per
    assert scale_shape(scale_per(tensor.scale), tensor.shape) == (() if scale is None else scale.shape)
    again = TensorReader().decode(*encode_tensor(tensor))
    np.testing.assert_array_equal(again.codes, tensor.codes)
    np.testing.assert_array_equal(again.restore(), found)
    assert (again.values, again.schemes, again.shape) == (tensor.values, tensor.schemes, tensor.shape)
    factors = np.float32([3.0, -0.5])
    folded = fold_scale(tensor, factors).restore()
    np.testing.assert_allclose(folded, found * factors[:, None, None], rtol=2**-10, atol=1e-7)


def test_float16_keeps_eleven_bits_and_small_numbers() -> None:
    wanted = HALVES.astype(np.float64) * 1e-6
    np.testing.assert_allclose(KINDS["float16"][0].restore(), wanted, rtol=2**-11, atol=0)


def test_int64_is_left_alone() -> None:
    tensor = CodedTensor("n", np.array([[-5, 2**31]]), "int64")
    assert tensor.restore().dtype == np.int64
    assert TensorReader().decode(*encode_tensor(tensor)).restore().tolist() == [[-5, 2**31]]


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_a_pruned_float_is_code_zero(dtype: str) -> None:
    tensor = float_codes("w", np.float32([0.0, -0.0, 1.0, -1e-30]), dtype, ("prune",))
    assert tensor.codes[:2].tolist() == [0, 0]
    assert tensor.kept == (1 if dtype == "float16" else 2)


@pytest.mark.parametrize(
    ("tensor", "bits"),
    [
        (CodedTensor("w", np.array([0]), "integer"), 1),
        (CodedTensor("w", np.array([-7, 7]), "integer"), 4),
        (CodedTensor("w", np.array([-127, 3]), "integer"), 8),
        (CodedTensor("w", np.array([1, 0]), "sign"), 1),
        (CodedTensor("w", np.array([0]), "codebook", codebook=Half.of(np.float32([1.0]))), 1),
        (CodedTensor("w", np.array([0]), "codebook", codebook=Half.of(np.zeros(16))), 4),
        (CodedTensor("w", np.array([0]), "codebook", codebook=Half.of(np.zeros(17))), 5),
        (CodedTensor("w", np.zeros((0, 2), np.int64), "integer"), 1),
        (float_codes("w", np.float32([1]), "float16", ("keep",)), 16),
        (float_codes("w", np.float32([1]), "float32", ("keep",)), 32),
    ],
)
def test_bits(tensor: CodedTensor, bits: int) -> None:
    assert tensor.bits == bits


def test_codes_of_a_codebook_that_is_not_there_are_refused() -> None:
    with pytest.raises(FormatError, match=r"tensor 'w': found no codebook; values 'codebook' need one"):
        CodedTensor("w", np.array([0]), "codebook").restore()
