"""What every scheme promises: codes and dequantizer give back what the network computed with, and nothing else changes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from sepnet.core.coded_tensor import VALUES, CodedTensor
from sepnet.core.scheme import Advancing, Scheme, Site, make_scheme
from sepnet.schemes import SCHEMES
from sepnet.schemes.keep import Keep

OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "keep": ({"dtype": "float16"}, {"dtype": "float32"}),
    "prune": (
        {"sparsity": 0.0},
        {"sparsity": 0.7},
        {"quality": 1.0},
        {"sparsity": 0.7, "schedule": "iterative", "rounds": 3},
        {"sparsity": 0.7, "schedule": "cubic"},
    ),
    "linear": (
        {"bits": 2},
        {"bits": 3},
        {"bits": 5},
        {"bits": 8},
        {"bits": 4, "per": "filter"},
        {"bits": 8, "per": "filter"},
    ),
    "rate": (
        {"price": 0.0},
        {"price": 1.0},
        {"price": 0.01, "bits": 2},
        {"price": 0.01, "bits": 8, "dead_zone": 0.05, "ramp": 0.5},
    ),
    "share": ({"bits": 1}, {"bits": 2}, {"bits": 5}, {"bits": 8}, {"bits": 3, "rounds": 0}),
    "pattern": (
        {"scale": "global"},
        {"scale": "global", "offset": 0.09},
        {"scale": "layer"},
        {"scale": "filter"},
        {"scale": "kernel"},
        {"scale": "global", "train": "straight-through"},
        {"scale": "layer", "train": "straight-through"},
        {"scale": "filter", "train": "straight-through"},
        {"scale": "kernel", "train": "straight-through"},
        {"scale": "filter", "train": "straight-through", "gradual": "blend", "ramp": 1.0},
        {"scale": "layer", "train": "straight-through", "gradual": "temperature", "freeze": 0.8},
        {"scale": "filter", "train": "straight-through", "gradual": "layers", "freeze": 0.5},
        {"scale": "filter", "train": "straight-through", "patterns": 3, "freeze": 0.9},
        {"scale": "kernel", "train": "straight-through", "patterns": 4, "rate": 0.2},
        {"scale": "filter", "patterns": 2},
        {"scale": "global", "patterns": 3, "rate": 0.1},
    ),
}
assert set(OPTIONS) == set(SCHEMES), "a new scheme on the shelf must be listed here"
VARIANTS = [{"scheme": name, **options} for name, tables in OPTIONS.items() for options in tables]


def _normal(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))) * 0.1


WEIGHTS: dict[str, torch.Tensor] = {
    "fc": _normal(6, 40),
    "conv1d": _normal(5, 4, 3),
    "conv2d": _normal(8, 3, 3, 3),
    "depthwise": _normal(7, 1, 5, 5),
    "1x1": _normal(6, 8, 1, 1),
    "all zero": torch.zeros(4, 3, 3, 3),
    "one filter zero": _normal(4, 3, 3, 3) * torch.tensor([1.0, 0.0, 1.0, 1.0]).reshape(4, 1, 1, 1),
    "single": torch.full((1, 1, 1, 1), -0.3),
    "one kernel": _normal(1, 1, 3, 3),
    "constant": torch.full((3, 2, 3, 3), 0.25),
    "constant negative": torch.full((3, 2, 3, 3), -0.25),
    "huge": _normal(4, 3, 3, 3) * 1e30,
    "small": _normal(4, 3, 3, 3) * 1e-30,
    "one outlier": torch.cat([_normal(1, 2, 3, 3), torch.full((1, 2, 3, 3), 100.0)]),
    "channels last": _normal(8, 3, 3, 3).to(memory_format=torch.channels_last),
    "no gradient wanted": _normal(3, 9).requires_grad_(True),
}


def make(table: dict[str, Any]) -> Scheme:
    """A scheme from its recipe table."""
    return make_scheme(table, SCHEMES, "test")


def site(weight: torch.Tensor, kind: str = "conv kxk") -> Site:
    """Where `weight` would be."""
    return Site("layer", "weight", kind, tuple(weight.shape))


@pytest.fixture(params=VARIANTS, ids=lambda table: " ".join(map(str, table.values())))
def scheme(request: pytest.FixtureRequest) -> Scheme:
    """Each scheme with each of its options."""
    return make(request.param)


@pytest.fixture(params=list(WEIGHTS))
def weight(request: pytest.FixtureRequest) -> torch.Tensor:
    """A copy of each weight."""
    return WEIGHTS[request.param].detach().clone()


def skip_refused(scheme: Scheme, weight: torch.Tensor) -> None:
    reason = scheme.refuse(site(weight))
    if reason:
        pytest.skip(reason)


def attach(scheme: Scheme, weight: torch.Tensor) -> nn.Module:
    state = scheme.attach(weight.detach(), [weight.detach()])
    if isinstance(state, Advancing):
        state.advance(weight.detach(), 1.0)
    return state


def coded(scheme: Scheme, value: torch.Tensor, state: nn.Module) -> CodedTensor:
    return scheme.code("layer.weight", value.detach(), state, (scheme.name,))


def assert_same(restored: np.ndarray, value: torch.Tensor) -> None:
    """Equal within the rounding of what is stored in binary16."""
    wanted = value.detach().numpy()
    room = 2.0**-10 * np.abs(wanted) + 2.0**-18 * np.abs(wanted).max(initial=0.0)
    assert restored.dtype == np.float32 and restored.shape == wanted.shape
    assert np.all(np.abs(restored.astype(np.float64) - wanted) <= room)


def test_what_the_network_computes_with_is_what_the_codes_restore(scheme: Scheme, weight: torch.Tensor) -> None:
    skip_refused(scheme, weight)
    state = attach(scheme, weight)
    value = state(weight)
    assert value.shape == weight.shape and torch.isfinite(value).all()
    assert_same(coded(scheme, value, state).restore(), value)


def test_attach_leaves_the_weight_untouched(scheme: Scheme, weight: torch.Tensor) -> None:
    skip_refused(scheme, weight)
    before, version = weight.detach().clone(), weight._version
    state = attach(scheme, weight)
    coded(scheme, state(weight), state)
    assert torch.equal(weight, before) and weight._version == version


def test_codes_fit_their_bits_and_their_kind(scheme: Scheme, weight: torch.Tensor) -> None:
    skip_refused(scheme, weight)
    state = attach(scheme, weight)
    tensor = coded(scheme, state(weight), state)
    assert tensor.values in VALUES and tensor.codes.dtype == np.int64 and tensor.shape == tuple(weight.shape)
    low, high = int(tensor.codes.min()), int(tensor.codes.max())
    if tensor.values == "integer":
        assert -(2 ** (tensor.bits - 1)) < low and high < 2 ** (tensor.bits - 1)
    else:
        assert low >= 0 and high < 2**tensor.bits
    wanted = getattr(scheme, "bits", None)
    assert wanted is None or tensor.bits <= wanted
    for half in (tensor.scale, tensor.codebook):
        assert half is None or np.isfinite(half.numbers()).all()


def test_the_same_weight_gives_the_same_codes(scheme: Scheme, weight: torch.Tensor) -> None:
    skip_refused(scheme, weight)
    tensors = []
    for _ in range(2):
        state = attach(scheme, weight.clone())
        tensors.append(coded(scheme, state(weight), state))
    assert np.array_equal(tensors[0].codes, tensors[1].codes)
    assert np.array_equal(tensors[0].restore(), tensors[1].restore())


@pytest.mark.parametrize("shape", [(6, 10), (5, 4, 3), (6, 3, 3, 3), (6, 1, 5, 5)], ids=str)
@pytest.mark.parametrize("channels_last", [False, True])
def test_still_equal_after_training(scheme: Scheme, shape: tuple[int, ...], channels_last: bool) -> None:
    if channels_last and len(shape) != 4:
        pytest.skip("channels last is for images")
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(shape, generator=generator) * 0.2
    skip_refused(scheme, start)
    module = nn.Module()
    module.weight = nn.Parameter(start.to(memory_format=torch.channels_last) if channels_last else start)
    module.bias = nn.Parameter(torch.zeros(1))
    state = scheme.attach(module.weight.detach().clone(), [start])
    parametrize.register_parametrization(module, "weight", state, unsafe=True)
    target = torch.randn(shape, generator=generator)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9)
    losses = []
    for step in range(12):
        if isinstance(state, Advancing):
            state.advance(module.parametrizations.weight.original, step / 12)
        loss = (module.weight + module.bias - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    if isinstance(state, Advancing):
        state.advance(module.parametrizations.weight.original, 1.0)
    value = module.weight.detach().clone()
    assert_same(coded(scheme, value, state).restore(), value)
    assert scheme.settles or losses[-1] < losses[0]


def test_a_copy_and_a_reloaded_state_compute_the_same(scheme: Scheme) -> None:
    weight = torch.randn(6, 3, 3, 3, generator=torch.Generator().manual_seed(3))
    state = attach(scheme, weight)
    value = state(weight)
    twin = copy.deepcopy(state)
    assert torch.equal(twin(weight), value)
    other = attach(scheme, weight.flip(0) * 2)
    other(weight)
    if {name: tensor.shape for name, tensor in other.state_dict().items()} == {
        name: tensor.shape for name, tensor in state.state_dict().items()
    }:
        other.load_state_dict(state.state_dict())
        assert torch.equal(other(weight), value)


def test_codes_without_training(scheme: Scheme) -> None:
    """A bias that a fold changed is coded anew, without a state."""
    if scheme.name == "pattern":
        pytest.skip("no pattern in a bias")
    numbers = torch.linspace(-1, 1, 9)
    if scheme.refuse(site(numbers, "norm")):
        pytest.skip("needs filters")
    tensor = scheme.code("layer.bias", numbers, None, (scheme.name,))
    assert tensor.shape == (9,) and np.abs(tensor.restore() - numbers.numpy()).max() <= 1.01


def test_keep_is_the_last_resort() -> None:
    assert [name for name in SCHEMES if not SCHEMES[name].codes] == ["prune"]
    assert isinstance(Keep().attach(torch.ones(2), []), nn.Identity)
