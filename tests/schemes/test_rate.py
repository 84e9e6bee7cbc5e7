"""Rate-distortion training: what a price does to codes, and how near the estimate comes to real bytes."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sepnet.codecs import smallest
from sepnet.core.scheme import Penalizing
from sepnet.schemes.prune import Prune
from sepnet.schemes.rate import Rate, RateQuantizer
from sepnet.schemes.rate_model import CodeModel


def quantizer(scheme: Rate, weight: torch.Tensor) -> RateQuantizer:
    """The scheme attached, its price in full."""
    state = scheme.attach(weight, [weight])
    assert isinstance(state, RateQuantizer) and isinstance(state, Penalizing)
    state.advance(weight, 1.0)
    return state


def sparse(rows: int, columns: int, kept: float, seed: int = 0) -> torch.Tensor:
    """Laplacian weights, as many kept in a row as its own random density says."""
    random = torch.Generator().manual_seed(seed)
    density = torch.rand(rows, 1, generator=random) ** 4 * 5 * kept
    there = torch.rand(rows, columns, generator=random) < density
    return there * torch.randn(rows, columns, generator=random).abs().add(0.3) * torch.randn(rows, columns).sign()


@pytest.mark.parametrize(("kept", "room"), [(0.02, 0.25), (0.1, 0.15), (0.5, 0.15)])
def test_the_estimate_is_near_to_the_bytes_of_the_codecs(kept: float, room: float) -> None:
    torch.manual_seed(0)
    weight = sparse(200, 300, kept)
    codes = Rate(bits=4).code("w", weight, None, ("rate",)).codes
    model = CodeModel(tuple(weight.shape))
    model.observe(torch.from_numpy(codes).float())
    estimate = model.bits(torch.from_numpy(codes).float()) / 8
    assert (1 - room) * len(smallest(codes)[1]) < estimate < (1 + room) * len(smallest(codes)[1])


def test_bits_without_codes_and_of_an_empty_row() -> None:
    model = CodeModel((4, 50))
    model.observe(torch.zeros(4, 50))
    assert model.bits(torch.zeros(4, 50)) < 4
    codes = torch.zeros(4, 50)
    codes[0, :20] = 1.0
    model.observe(codes)
    one = model.bits_of_a_one()
    assert one[1, 40] > one[1, 3] > one[0, 3] and one[1, 40] > one[0, 40]


def test_the_gradient_of_the_penalty_is_the_price_of_the_bits() -> None:
    scheme = Rate(price=2.0, bits=4)
    weight = sparse(20, 30, 0.3).requires_grad_(True)
    state = quantizer(scheme, weight.detach())
    state.penalty(weight).backward()
    step, model = float(state.step().detach()), state.model
    assert weight.grad is not None and state.growth.grad is not None
    units = weight.detach() / step
    far = units.abs().clamp_min(1)
    bits = model.bits_of_a_one().clamp_min(0) / far + model.bits_of_one_more() * (1 - 1 / far)
    expected = 2.0 / 8000 * bits / step * units.sign()
    assert torch.allclose(weight.grad[units != 0], expected[units != 0], rtol=1e-3)
    assert float(state.growth.grad) < 0  # a larger step is cheaper


def fitted(scheme: Rate, weight: torch.Tensor, before: nn.Module | None = None, steps: int = 100) -> RateQuantizer:
    """A quantizer after descent on |w^ - target|^2 + price of the codes; the weight is left in `state.fitted`."""
    module = nn.Module()
    module.weight = nn.Parameter(weight.clone())
    state = quantizer(scheme, weight if before is None else before(weight))
    for part in filter(None, (before, state)):
        parametrize.register_parametrization(module, "weight", part, unsafe=True)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02)
    original = module.parametrizations.weight.original
    for _ in range(steps):
        given = original if before is None else before(original)
        loss = (module.weight - weight).square().sum() + state.penalty(given)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    state.fitted = module.weight.detach().clone()
    return state


def test_a_higher_price_buys_fewer_bits_and_a_price_of_nothing_the_least_error() -> None:
    torch.manual_seed(0)
    weight = torch.randn(20, 20) * 0.1
    bits, errors = [], []
    for price in (0.0, 20.0, 50.0):
        state = fitted(Rate(price=price, bits=5), weight)
        codes = state.fitted / state.step().detach()
        state.model.observe(codes.round())
        bits.append(state.model.bits(codes.round()))
        errors.append(float((state.fitted - weight).square().sum()))
    assert bits == sorted(bits, reverse=True) and bits[-1] < 0.4 * bits[0]
    assert errors == sorted(errors)


def test_after_prune_the_pruned_stay_zero() -> None:
    torch.manual_seed(0)
    weight = torch.randn(20, 20)
    mask = Prune(sparsity=0.6).attach(weight, [])
    state = fitted(Rate(price=1.0), weight, mask, 20)
    assert not state.fitted[mask(torch.ones_like(weight)) == 0].any() and state.fitted.any()


def test_a_dead_zone_leaves_fewer_codes_and_grows_with_the_time() -> None:
    torch.manual_seed(0)
    weight = torch.randn(20, 20) * 0.1
    state = Rate(bits=4, dead_zone=0.2, ramp=0.5).attach(weight, [])
    assert isinstance(state, RateQuantizer)
    kept = []
    for time in (0.0, 0.25, 0.5, 1.0):
        state.advance(weight, time)
        kept.append(int(state(weight).count_nonzero()))
    assert kept[0] > kept[1] > kept[2] == kept[3] > 0
    step = state.step().detach()
    assert torch.equal(state(step * weight.sign()).abs(), step.expand_as(weight))  # a whole step is never rounded away


@pytest.mark.parametrize(
    "options",
    [{"price": -1.0}, {"price": math.inf}, {"bits": 1}, {"bits": 9}, {"dead_zone": 1.5}, {"ramp": 0.0}],
    ids=str,
)
def test_options_out_of_range(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Rate(**options)  # type: ignore[arg-type]
