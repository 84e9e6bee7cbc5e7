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
