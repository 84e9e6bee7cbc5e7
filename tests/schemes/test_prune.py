"""prune: exact sparsity, Han's threshold, schedules, and that what is pruned stays pruned."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils import parametrize

from sepnet.schemes.prune import Prune, PruneMask


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mask_of(weight: torch.Tensor, **options: Any) -> PruneMask:
    state = Prune(**options).attach(weight, [weight])
    assert isinstance(state, PruneMask)
    return state


def zeros(state: PruneMask) -> int:
    return int((state.mask == 0).sum())


@settings(deadline=None)
@given(st.floats(0, 0.999), st.integers(1, 300), st.integers(0, 3))
def test_exactly_the_asked_number_of_the_least_weights_goes(sparsity: float, size: int, seed: int) -> None:
    weight = normal(size, seed=seed)
    state = mask_of(weight, sparsity=sparsity)
    assert zeros(state) == round(sparsity * size)
    kept, gone = weight[state.mask > 0].abs(), weight[state.mask == 0].abs()
    assert not len(kept) or not len(gone) or kept.min() >= gone.max()
    assert set(state.mask.unique().tolist()) <= {0.0, 1.0}


@pytest.mark.parametrize("quality", [0.0, 0.3, 1.0, 2.5, 100.0])
@pytest.mark.parametrize("size", [1, 7, 4096, 300_001])
def test_quality_keeps_what_exceeds_the_threshold(quality: float, size: int) -> None:
    weight = normal(size) + 0.2
    state = mask_of(weight, quality=quality)
    threshold = quality * float(np.std(weight.double().numpy()))
    assert torch.equal(state.mask > 0, weight.double().abs() > threshold)


def test_large_negative_weights_are_kept() -> None:
    weight = torch.tensor([-3.0, 0.1, 2.0, -0.2])
    assert mask_of(weight, sparsity=0.5).mask.tolist() == [1, 0, 1, 0]


def test_ties_are_cut_to_the_exact_number_the_first_go() -> None:
    assert mask_of(torch.full((2, 3), 0.5), sparsity=0.5).mask.tolist() == [[0, 0, 0], [1, 1, 1]]
    assert zeros(mask_of(torch.zeros(8), sparsity=0.25)) == 2


def test_one_shot_is_there_at_once_and_never_moves() -> None:
    weight = normal(40)
    state = mask_of(weight, sparsity=0.6)
    before = state.mask.clone()
    assert zeros(state) == 24
    for time in (0.0, 0.3, 0.7, 1.0):
        state.advance(weight.flip(0), time)
    assert torch.equal(state.mask, before)


def test_iterative_prunes_in_equal_steps_of_the_kept_fraction() -> None:
    weight = normal(10_000)
    state = mask_of(weight, sparsity=0.99, schedule="iterative", rounds=4, ramp=0.8)
    kept = []
    for step in range(101):
        state.advance(weight, step / 100)
        kept.append(10_000 - zeros(state))
    assert sorted(set(kept), reverse=True) == [round(10_000 * 0.01 ** (k / 4)) for k in (1, 2, 3, 4)]
    assert kept[0] == 3162 and kept[59] > 100 and kept[61:] == [100] * 40


@pytest.mark.parametrize("ramp", [0.2, 0.7, 1.0])
def test_cubic_follows_its_formula_and_ends_with_the_ramp(ramp: float) -> None:
    weight = normal(20_000)
    state = mask_of(weight, sparsity=0.9, schedule="cubic", ramp=ramp)
    assert zeros(state) == 0
    for step in range(1, 101):
        state.advance(weight, step / 100)
        time = min(1.0, step / 100 / ramp)
        assert zeros(state) / 20_000 == pytest.approx(0.9 * (1 - (1 - time) ** 3), abs=0.015)
    assert zeros(state) == 18_000


@pytest.mark.parametrize("schedule", ["iterative", "cubic"])
def test_sparsity_never_falls(schedule: Any) -> None:
    scheme = Prune(sparsity=0.95, schedule=schedule, rounds=7)
    line = [scheme.sparsity_at(0.95, time) for time in np.linspace(0, 1, 500)]
    assert line == sorted(line) and line[-1] == pytest.approx(0.95, abs=1e-12)


def test_the_mask_stands_still_after_the_ramp() -> None:
    weight = normal(200)
    state = mask_of(weight, sparsity=0.5, schedule="cubic", ramp=0.5)
    state.advance(weight, 0.5)
    before = state.mask.clone()
    state.advance(weight.flip(0), 0.8)
    assert torch.equal(state.mask, before)


def test_a_stage_that_ends_early_is_finished_by_its_end() -> None:
    weight = normal(200)
    state = mask_of(weight, sparsity=0.9, schedule="cubic", ramp=1.0)
    state.advance(weight, 0.4)
    state.advance(weight, 1.0)
    assert zeros(state) == 180


def train(schedule: Any, zero_start: bool) -> tuple[nn.Module, PruneMask, list[Any]]:
    module = nn.Linear(30, 20, bias=False)
    with torch.no_grad():
        module.weight.copy_(torch.zeros(20, 30) if zero_start else normal(20, 30))
    state = mask_of(module.weight.detach().clone(), sparsity=0.8, schedule=schedule)
    parametrize.register_parametrization(module, "weight", state, unsafe=True)
    target = normal(20, 30, seed=9)
    optimizer = torch.optim.SGD(module.parameters(), lr=2.0, momentum=0.9, weight_decay=1e-3)
    masks = []
    for step in range(60):
        state.advance(module.parametrizations.weight.original, step / 60)
        masks.append(state.mask.clone())
        optimizer.zero_grad()
        (module.weight - target).square().mean().backward()
        optimizer.step()
    state.advance(module.parametrizations.weight.original, 1.0)
    return module, state, [*masks, state.mask.clone()]


@pytest.mark.parametrize("zero_start", [False, True])
@pytest.mark.parametrize("schedule", ["one-shot", "iterative", "cubic"])
def test_pruned_weights_stay_zero_while_training_goes_on(schedule: Any, zero_start: bool) -> None:
    module, state, masks = train(schedule, zero_start)
    for before, after in itertools.pairwise(masks):
        assert not ((before == 0) & (after > 0)).any()
    assert int((module.weight == 0).sum()) >= zeros(state) == 480


def test_weights_that_are_zero_by_themselves_do_not_bring_pruned_ones_back() -> None:
    weight = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.4, 0.3])
    state = mask_of(weight, sparsity=2 / 3, schedule="iterative", rounds=2, ramp=1.0)
    assert state.mask.tolist() == [1, 1, 1, 0, 0, 0]
    state.advance(torch.tensor([0.0, 0.0, 0.0, 9.0, 9.0, 9.0]), 1.0)
    assert state.mask[3:].tolist() == [0, 0, 0] and zeros(state) == 4


def test_gradient_reaches_only_what_is_kept() -> None:
    weight = normal(10).requires_grad_(True)
    state = mask_of(weight.detach(), sparsity=0.5)
    state(weight).sum().backward()
    assert weight.grad is not None and torch.equal(weight.grad, state.mask)


def test_sparsity_in_the_file_is_the_one_asked_for() -> None:
    weight = normal(50, 40)
    scheme = Prune(sparsity=0.93)
    state = scheme.attach(weight, [weight])
    tensor = scheme.code("w", state(weight), state, ("prune",))
    assert tensor.kept == 2000 - 1860 and (tensor.codes == 0).sum() == 1860


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"sparsity": 0.5, "quality": 1.0},
        {"sparsity": 1.0},
        {"sparsity": -0.1},
        {"sparsity": math.nan},
        {"quality": -1.0},
        {"quality": math.nan},
        {"quality": math.inf},
        {"sparsity": 0.5, "rounds": 0},
        {"sparsity": 0.5, "ramp": 0.0},
        {"sparsity": 0.5, "ramp": 1.5},
        {"sparsity": 0.5, "ramp": math.nan},
    ],
    ids=str,
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"expected|exactly one"):
        Prune(**options)


def test_a_mask_whose_channels_are_last_goes_on() -> None:
    weight = torch.randn(6, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    scheme = Prune(sparsity=0.5, schedule="cubic", ramp=1.0)
    masks = []
    for form in (torch.contiguous_format, torch.channels_last):
        mask = scheme.attach(weight, []).to(memory_format=form)
        mask.advance(weight.to(memory_format=form), 0.5)
        mask.advance(weight.to(memory_format=form), 1.0)
        masks.append(mask(weight))
    assert torch.equal(*masks) and int((masks[0] == 0).sum()) == weight.numel() // 2
