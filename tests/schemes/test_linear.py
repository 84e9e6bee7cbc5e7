"""linear: symmetric codes, errors of at most half a step, and the step of least squared error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sepnet.core.coded_tensor import CodedTensor
from sepnet.schemes.linear import FakeQuantize, Linear, best_step


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def quantize(weight: torch.Tensor, **options: Any) -> tuple[FakeQuantize, torch.Tensor, CodedTensor]:
    scheme = Linear(**options)
    state = scheme.attach(weight, [])
    assert isinstance(state, FakeQuantize)
    value = state(weight)
    return state, value, scheme.code("w", value, state, ("linear",))


@pytest.mark.parametrize("per", ["tensor", "filter"])
@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("shape", [(12, 50), (12, 4, 3), (12, 4, 3, 3), (12, 1, 5, 5)], ids=str)
def test_error_is_at_most_half_a_step_where_not_clipped(bits: int, per: Any, shape: tuple[int, ...]) -> None:
    weight = normal(*shape)
    state, value, tensor = quantize(weight, bits=bits, per=per)
    largest = 2 ** (bits - 1) - 1
    assert np.abs(tensor.codes).max() <= largest
    clipped = weight.abs() > (largest + 0.5) * state.step
    error = (value - weight).abs()
    assert (error[~clipped] <= (state.step.expand_as(weight)[~clipped] / 2) * (1 + 1e-5)).all()
    assert torch.equal(value[clipped], (weight.sign() * largest * state.step)[clipped])
    assert tensor.bits <= bits and (tensor.scale is not None and tensor.scale.bits.ndim == (per == "filter"))


@settings(deadline=None)
@given(st.integers(2, 8), st.integers(0, 20), st.floats(-6, 6))
def test_symmetric_and_zero_is_exact(bits: int, seed: int, power: float) -> None:
    weight = normal(30, seed=seed) * 10**power
    weight[::7] = 0.0
    state, value, _ = quantize(weight, bits=bits)
    assert torch.equal(state(-weight), -value)
    assert (value[::7] == 0).all()


@pytest.mark.parametrize("bits", range(2, 9))
@pytest.mark.parametrize("magnitude", [1e-37, 1e-25, 1.0, 1e25, 1e37])
def test_step_is_not_worse_than_the_one_without_clipping(bits: int, magnitude: float) -> None:
    weight = normal(2000).double().clamp(-4, 4).mul(magnitude / 4).float()
    largest = 2 ** (bits - 1) - 1
    plain = float(weight.abs().max()) / largest

    def error(step: float) -> float:
        numbers = weight.double() / magnitude
        codes = torch.clamp(torch.round(numbers / (step / magnitude)), -largest, largest)
        return float((codes * (step / magnitude) - numbers).square().sum())

    chosen = float(best_step(weight, largest))
    assert error(chosen) <= error(plain) * 1.003  # a stored step is a binary16 number
    if bits <= 4:
        assert error(chosen) < 0.9 * error(plain)
        assert chosen / magnitude == pytest.approx(float(best_step(weight / magnitude, largest)), rel=2e-3)


def test_zeros_do_not_move_the_step() -> None:
    weight = normal(500)
    assert best_step(torch.cat([weight, torch.zeros(100_000)]), 7) == best_step(weight, 7)


def test_a_step_a_filter_fits_filters_of_any_size() -> None:
    weight = normal(4, 100) * torch.tensor([1.0, 1e-2, 10.0, 0.0]).reshape(4, 1)
    _, value, tensor = quantize(weight, bits=6, per="filter")
    error = (value - weight).square().sum(1)[:3] / weight.square().sum(1)[:3]
    assert error.max() < 0.01 and tensor.scale is not None and tensor.scale.bits.shape == (4,)
    _, coarse, _ = quantize(weight, bits=6)
    assert (coarse - weight).square().sum(1)[1] > (value - weight).square().sum(1)[1]


def test_gradient_passes_straight_through() -> None:
    weight = torch.tensor([-9.0, -0.26, 0.0, 0.1, 0.8, 9.0], requires_grad=True)
    FakeQuantize(torch.tensor(0.25), 3)(weight).backward(torch.arange(1.0, 7.0))
    assert weight.grad is not None and weight.grad.tolist() == [1, 2, 3, 4, 5, 6]


def test_trained_codes_stay_in_range() -> None:
    weight = normal(300)
    scheme = Linear(bits=3)
    state = scheme.attach(weight, [])
    tensor = scheme.code("w", state(weight * 50), state, ("linear",))
    assert set(np.unique(tensor.codes)) == {-3, -2, -1, 0, 1, 2, 3} or np.abs(tensor.codes).max() == 3


@pytest.mark.parametrize("bits", [-1, 0, 1, 9, 33])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(ValueError, match=f"bits = {bits}; expected 2 to 8"):
        Linear(bits=bits)
