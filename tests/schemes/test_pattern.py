"""pattern: one bit a weight, a magnitude for each granularity, frozen or straight-through."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sepnet.core.scheme import Site
from sepnet.schemes.pattern import Pattern

SCALES = ("global", "layer", "filter", "kernel")
TRAINS = ("frozen", "straight-through")


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def apply(weight: torch.Tensor, peers: list[torch.Tensor] | None = None, **options: Any) -> torch.Tensor:
    return Pattern(**options).attach(weight, peers or [weight])(weight).detach()  # type: ignore[no-any-return]


@pytest.mark.parametrize("train", TRAINS)
@pytest.mark.parametrize("scale", SCALES)
def test_magnitude_is_the_mean_over_what_shares_it(scale: Any, train: Any) -> None:
    weight, other = normal(6, 4, 3, 3), normal(2, 5, 5, 5, seed=1) * 3
    found = apply(weight, [weight, other], scale=scale, train=train)
    magnitude = weight.abs()
    wanted = {
        "global": torch.cat([weight.flatten(), other.flatten()]).abs().mean(),
        "layer": magnitude.mean(),
        "filter": magnitude.mean((1, 2, 3), keepdim=True),
        "kernel": magnitude.mean((2, 3), keepdim=True),
    }[scale]
    assert torch.allclose(found.abs(), wanted.expand_as(weight), rtol=1e-5)
    assert torch.equal(found > 0, weight > 0)


@pytest.mark.parametrize("train", TRAINS)
def test_a_zero_weight_is_negative(train: Any) -> None:
    weight = torch.tensor([0.0, -0.0, 1.0, -1.0]).reshape(1, 1, 2, 2)
    assert apply(weight, scale="layer", train=train).flatten().tolist() == [-0.5, -0.5, 0.5, -0.5]


@pytest.mark.parametrize("train", TRAINS)
def test_the_authors_global_offset(train: Any) -> None:
    weight = normal(4, 3, 3, 3)
    assert apply(weight, scale="global", offset=0.09, train=train).unique().tolist() == pytest.approx([-0.09, 0.09])


@pytest.mark.parametrize("train", TRAINS)
def test_finer_granularity_is_never_worse(train: Any) -> None:
    layers = [normal(16, 8, 3, 3, seed=seed) * (0.05 + 0.1 * seed) for seed in range(4)]
    layers = [layer * (1 + torch.rand(16, 8, 1, 1, generator=torch.Generator().manual_seed(9))) for layer in layers]
    errors = {
        scale: sum(
            float((apply(layer, layers, scale=scale, train=train) - layer).square().sum() / layer.square().sum())
            for layer in layers
        )
        / len(layers)
        for scale in SCALES
    }
    assert errors["kernel"] < errors["filter"] < errors["layer"] < errors["global"]
    assert 0.25 < errors["kernel"] < 0.4  # 1 - 2 / pi = 0.363 of many gaussian weights, less for nine


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("train", TRAINS)
def test_frozen_signs_never_change_and_straight_through_ones_can(scale: Any, train: Any) -> None:
    scheme = Pattern(scale=scale, train=train)
    module = nn.Conv2d(3, 4, 3)
    start = normal(4, 3, 3, 3) * 0.1
    with torch.no_grad():
        module.weight.copy_(start)
    state = scheme.attach(start, [start])
    parametrize.register_parametrization(module, "weight", state, unsafe=True)
    before = module.weight.detach().clone()
    images, target = normal(8, 3, 6, 6, seed=1), normal(8, 4, 4, 4, seed=2) * 3
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=1e-3)
    for _ in range(40):
        optimizer.zero_grad()
        (module(images) - target).square().mean().backward()
        optimizer.step()
    after = module.weight.detach()
    tensor = scheme.code("w", after.clone(), state, ("pattern",))
    assert set(np.unique(tensor.codes)) <= {0, 1} and tensor.bits == 1
    if train == "frozen":
        assert np.array_equal(tensor.codes, (start > 0).numpy())
        moved = not torch.allclose(before.abs(), after.abs())
        assert moved == (scale != "global")
    else:
        assert not np.array_equal(tensor.codes, (start > 0).numpy())
        assert np.allclose(tensor.restore(), after.numpy(), rtol=2**-10)


def test_straight_through_gradient_is_the_one_of_the_binary_weight() -> None:
    weight = normal(2, 2, 3, 3).requires_grad_(True)
    state = Pattern(train="straight-through").attach(weight.detach(), [])
    upstream = normal(2, 2, 3, 3, seed=5)
    state(weight).backward(upstream)
    assert weight.grad is not None and torch.equal(weight.grad, upstream)


def test_gradient_of_a_frozen_magnitude_is_the_signed_sum() -> None:
    weight = normal(3, 2, 3, 3)
    state = Pattern(scale="filter").attach(weight, [])
    upstream = normal(3, 2, 3, 3, seed=5)
    state(weight).backward(upstream)
    (scale,) = state.parameters()
    assert scale.grad is not None
    wanted = (upstream * torch.where(weight > 0, 1.0, -1.0)).sum((1, 2, 3), keepdim=True)
    assert torch.allclose(scale.grad, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("scale", SCALES)
def test_scales_in_the_file_have_the_granularity_asked_for(scale: Any) -> None:
    weight = normal(5, 4, 3, 3)
    scheme = Pattern(scale=scale)
    state = scheme.attach(weight, [weight])
    tensor = scheme.code("w", state(weight).detach(), state, ("pattern",))
    assert tensor.scale is not None
    assert tensor.scale.bits.shape == {"global": (), "layer": (), "filter": (5,), "kernel": (5, 4)}[scale]


@pytest.mark.parametrize(
    "shape, kind", [((10, 20), "fc"), ((8, 4, 1, 1), "conv 1x1"), ((8, 4, 1), "conv 1x1"), ((8,), "norm")]
)
def test_refuses_what_has_no_kernel_and_says_why(shape: tuple[int, ...], kind: str) -> None:
    reason = Pattern().refuse(Site("layer", "weight", kind, shape))
    assert str(list(shape)) in reason and kind in reason and "k x k" in reason
    assert Pattern().refuse(Site("layer", "weight", "conv kxk", (8, 4, 1, 3))) == ""


@pytest.mark.parametrize(
    "options", [{"offset": 0.1}, {"scale": "global", "offset": 0.0}, {"scale": "global", "offset": -1.0}], ids=str
)
def test_options_out_of_range(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="offset needs"):
        Pattern(**options)


def trained_state(weight: torch.Tensor, **options: Any) -> tuple[nn.Module, Any]:
    """A layer under a straight-through pattern, in training mode."""
    layer = nn.Conv2d(weight.shape[1], weight.shape[0], 3, bias=False)
    layer.weight.data.copy_(weight)
    state: Any = Pattern(train="straight-through", **options).attach(weight, [weight])
    parametrize.register_parametrization(layer, "weight", state, unsafe=True)
    return layer.train(), state


def is_binary(value: torch.Tensor) -> bool:
    magnitude = value.detach().abs().reshape(value.shape[0], -1)
    return bool(torch.allclose(magnitude, magnitude[:, :1].expand_as(magnitude)))


@pytest.mark.parametrize("gradual", ["blend", "temperature"])
def test_gradual_comes_from_real_weights_to_signs(gradual: Any) -> None:
    weight = normal(6, 4, 3, 3)
    layer, state = trained_state(weight, gradual=gradual, ramp=0.5)
    signs = torch.sign(weight) * weight.abs().mean((1, 2, 3), keepdim=True)
    distances = []
    for time in (0.0, 0.2, 0.4, 0.49):
        state.advance(weight, time)
        distances.append(float((layer.weight - signs).detach().abs().mean()))
        assert not is_binary(layer.weight)  # type: ignore[arg-type]
        layer.weight.square().sum().backward()  # type: ignore[operator, union-attr]
    assert distances == sorted(distances, reverse=True)
    state.advance(weight, 0.5)
    assert torch.allclose(layer.weight, signs)  # type: ignore[arg-type]


def test_layers_follow_each_other() -> None:
    peers = [normal(4, 4, 3, 3, seed=seed) for seed in range(4)]
    states: list[Any] = [Pattern(train="straight-through", gradual="layers", ramp=0.8).attach(p, peers) for p in peers]
    binary = []
    for time in (0.0, 0.1, 0.3, 0.5, 0.7, 1.0):
        for state, peer in zip(states, peers, strict=True):
            state.advance(peer, time)
        binary.append([is_binary(state(peer)) for state, peer in zip(states, peers, strict=True)])
    assert [sum(row) for row in binary] == [1, 1, 2, 3, 4, 4]
    assert all(row == sorted(row, reverse=True) for row in binary)


def test_frozen_signs_stay_while_magnitudes_adapt() -> None:
    weight = normal(6, 4, 3, 3)
    layer, state = trained_state(weight, freeze=0.5)
    original = layer.parametrizations.weight.original  # type: ignore[union-attr]
    state.advance(original, 0.4)
    with torch.no_grad():
        original.neg_()  # type: ignore[operator, union-attr]
    assert torch.equal(layer.weight > 0, weight < 0)  # type: ignore[operator, arg-type]
    state.advance(original, 0.6)
    with torch.no_grad():
        original.mul_(-3.0)  # type: ignore[operator, union-attr]
    assert torch.equal(layer.weight > 0, weight < 0)  # type: ignore[operator, arg-type]
    assert torch.allclose(layer.weight.abs(), 3 * weight.abs().mean((1, 2, 3), keepdim=True).expand_as(weight))  # type: ignore[operator, union-attr]
    layer.weight.square().sum().backward()  # type: ignore[operator, union-attr]
    assert float(original.grad.abs().min()) > 0  # type: ignore[union-attr, operator, arg-type]


def test_a_loaded_state_is_as_hard_and_as_frozen_as_the_saved_one() -> None:
    weight = normal(6, 4, 3, 3)
    options: Any = {"gradual": "blend", "ramp": 0.5, "freeze": 0.7}
    for time in (0.0, 0.3, 0.6, 0.9):
        layer, state = trained_state(weight, **options)
        state.advance(weight, time)
        other, _ = trained_state(normal(6, 4, 3, 3, seed=5), **options)
        other.load_state_dict(layer.state_dict())
        assert torch.equal(other.weight, layer.weight)  # type: ignore[arg-type]


def entropy(signs: torch.Tensor) -> float:
    """Bits a kernel, of the patterns' frequencies."""
    _, counts = np.unique(signs.reshape(-1, 9).numpy() > 0, axis=0, return_counts=True)
    share = counts / counts.sum()
    return float(-(share * np.log2(share)).sum())


@pytest.mark.parametrize("train", TRAINS)
def test_a_dictionary_holds_so_many_patterns_and_more_are_nearer(train: Any) -> None:
    weight = normal(32, 32, 3, 3)
    errors = []
    for patterns in (2, 16, 128, 512):
        found = apply(weight, train=train, patterns=patterns)
        assert len(np.unique(found.reshape(-1, 9).numpy() > 0, axis=0)) <= patterns
        errors.append(float(((found - weight) ** 2).sum()))
    assert errors == sorted(errors, reverse=True)
    assert torch.equal(apply(weight, train=train, patterns=512), apply(weight, train=train))


@pytest.mark.parametrize("train", TRAINS)
def test_rate_makes_patterns_shorter_by_flipping_small_weights(train: Any) -> None:
    smooth = nn.functional.avg_pool2d(normal(64, 64, 5, 5), 3, stride=1)  # neighbours alike, as in trained kernels
    free = apply(smooth, train=train)
    bits = [entropy(apply(smooth, train=train, rate=rate)) for rate in (0.0, 0.05, 0.2)]
    assert bits[0] == entropy(free) and bits == sorted(bits, reverse=True) and bits[2] < 0.93 * bits[0]
    flipped = (apply(smooth, train=train, rate=0.1) > 0) != (free > 0)
    assert 0.001 < float(flipped.float().mean()) < 0.12
    assert float(smooth[flipped].abs().mean()) < 0.3 * float(smooth.abs().mean())


def test_rate_follows_the_patterns_in_training_only() -> None:
    layer, state = trained_state(normal(16, 16, 3, 3), rate=0.1)
    counts = state.choice.counts.clone()
    layer.eval()
    assert layer.weight.shape == (16, 16, 3, 3) and torch.equal(state.choice.counts, counts)
    layer.parametrizations.weight.original.data.neg_()  # type: ignore[union-attr, operator]
    layer.train()
    assert layer.weight.shape == (16, 16, 3, 3) and not torch.equal(state.choice.counts, counts)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gradual": "blend"}, "gradual = blend needs train"),
        ({"freeze": 0.5}, "freeze = 0.5 needs train"),
        ({"train": "straight-through", "ramp": 0.0}, "ramp = 0.0; expected above 0 to 1"),
        ({"train": "straight-through", "freeze": 1.5}, "freeze = 1.5; expected 0 to 1"),
        ({"patterns": 1}, "patterns = 1; expected 0, or at least 2"),
        ({"patterns": -3}, "patterns = -3; expected 0, or at least 2"),
        ({"rate": -0.1}, "rate = -0.1; expected 0 or more"),
    ],
    ids=str,
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    """The message names the one that is wrong, and no other."""
    with pytest.raises(ValueError, match=f"^{words}"):
        Pattern(**options)


def test_more_patterns_than_a_kernel_has() -> None:
    site = Site("conv", "weight", "conv kxk", (2, 2, 3, 3))
    assert "patterns = 513 are more" in Pattern(patterns=513).refuse(site)
    assert not Pattern(patterns=512).refuse(site), "4 kernels have 4 patterns at most, which all are kept"
    weight = normal(2, 2, 3, 3)
    assert torch.equal(apply(weight, patterns=512) > 0, weight > 0)


def test_rate_needs_a_dictionary_for_large_kernels() -> None:
    site = Site("conv", "weight", "conv kxk", (8, 3, 5, 5))
    assert "patterns = 256" in Pattern(rate=0.1).refuse(site)
    assert not Pattern(rate=0.1, patterns=16).refuse(site)
