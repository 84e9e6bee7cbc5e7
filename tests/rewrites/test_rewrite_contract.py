"""What every rewrite promises: shapes stay, the error told is the one there is, nothing else changes, and it packs."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sepnet.core.errors import NetworkError
from sepnet.core.header import InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.core.plan import make_plan
from sepnet.core.recipe import Recipe, Rest
from sepnet.core.rewrite import LayerRewrite, make_rewrite
from sepnet.packing.export import export_graph
from sepnet.packing.pack import PackInput, pack
from sepnet.packing.restore import state_dict
from sepnet.rewrites import REWRITES
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import ParametrizedNetwork, sites

OPTIONS: dict[str, tuple[dict[str, Any], ...]] = {
    "group": ({"groups": 2}, {"groups": 4}, {"groups": 2, "permute": True}),
    "depthwise_separable": ({}, {"multiplier": 2}),
    "low_rank": ({"rank": 1}, {"rank": 5}, {"energy": 0.7}, {"energy": 1.0}),
    "pattern_residual": ({}, {"groups": 2}),
    "global_pool": ({"positions": 9}, {"positions": 1}),
}
OF_NETWORKS = {name for name in REWRITES if not issubclass(REWRITES[name], LayerRewrite)}
assert set(OPTIONS) == set(REWRITES) - OF_NETWORKS, "a new rewrite on the shelf must be listed here"
VARIANTS = [{"rewrite": name, **options} for name, tables in OPTIONS.items() for options in tables]
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv": (lambda: nn.Conv2d(8, 12, 3, padding=1), (8, 7, 6)),
    "no bias, /2": (lambda: nn.Conv2d(8, 8, 3, stride=2, padding=1, bias=False), (8, 7, 6)),
    "groups": (lambda: nn.Conv2d(8, 12, (1, 3), padding=(0, 1), groups=2), (8, 5, 6)),
    "no padding": (lambda: nn.Conv2d(4, 8, 5), (4, 9, 8)),
    "dilated": (lambda: nn.Conv2d(4, 8, 3, padding=2, dilation=2), (4, 9, 8)),
    "all zero": (lambda: nn.init.zeros_((conv := nn.Conv2d(8, 8, 3, padding=1)).weight) is None or conv, (8, 5, 5)),
    "fc": (lambda: nn.Linear(4 * 9, 5), (36,)),
    "fc without bias": (lambda: nn.Linear(4 * 9, 5, bias=False), (36,)),
    "fc stack": (lambda: nn.Sequential(nn.Linear(36, 8), nn.ReLU(), nn.Dropout(), nn.Linear(8, 5)), (36,)),
}


@pytest.fixture(params=VARIANTS, ids=lambda table: " ".join(map(str, table.values())))
def rewrite(request: pytest.FixtureRequest) -> LayerRewrite:
    """Each rewrite with each of its options."""
    return made_of(request.param)


def made_of(table: dict[str, Any]) -> LayerRewrite:
    rewrite = make_rewrite({**table, "layers": ["*"]}, REWRITES, "test").rewrite
    assert isinstance(rewrite, LayerRewrite)
    return rewrite


@pytest.fixture(params=list(LAYERS))
def layer(request: pytest.FixtureRequest) -> tuple[nn.Module, torch.Tensor]:
    """Each layer, and inputs of it."""
    torch.manual_seed(3)
    make, shape = LAYERS[request.param]
    return make().eval(), torch.randn(4, *shape)


def skip_refused(rewrite: LayerRewrite, module: nn.Module) -> None:
    reason = rewrite.refuse(module)
    if reason:
        with pytest.raises(NetworkError) as caught:
            rewrite.rewrite(module)
        assert reason in str(caught.value)
        pytest.skip(reason)


@torch.no_grad()
def operator(module: nn.Module, shape: tuple[int, ...]) -> torch.Tensor:
    """The linear map at one output whose window lies inside the input: (inputs, outputs)."""
    if len(shape) == 1:
        ones, zero = torch.eye(shape[0]), torch.zeros(1, shape[0])
        return (module(ones) - module(zero)).double()
    side = 13
    ones = torch.eye(shape[0] * side * side).reshape(-1, shape[0], side, side)
    out = module(ones) - module(torch.zeros_like(ones[:1]))
    return out[:, :, out.shape[2] // 2, out.shape[3] // 2].double()


def test_shapes_stay_and_the_error_is_the_one_measured(
    rewrite: LayerRewrite, layer: tuple[nn.Module, torch.Tensor]
) -> None:
    module, x = layer
    skip_refused(rewrite, module)
    before = copy.deepcopy(module.state_dict())
    made = rewrite.rewrite(module)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    with torch.no_grad():
        old, new = module(x), made.module(x)
    assert new.shape == old.shape and new.dtype == old.dtype and torch.isfinite(new).all()
    assert not made.module.training and 0 <= made.error <= 1 + 1e-9
    if isinstance(module, nn.Sequential):
        return  # the error is of the line that stands for the stack
    wanted, found = (operator(part, tuple(x.shape[1:])) for part in (module, made.module))
    whole = wanted.square().sum()
    error = float((wanted - found).square().sum() / whole) if whole > 0 else float(found.square().sum())
    assert made.error == pytest.approx(error, abs=2e-6)
    if made.error < 1e-12:
        torch.testing.assert_close(new, old, atol=1e-5, rtol=1e-4)


def test_it_learns(rewrite: LayerRewrite, layer: tuple[nn.Module, torch.Tensor]) -> None:
    module, x = layer
    skip_refused(rewrite, module)
    made = rewrite.rewrite(module.train()).module
    assert made.training and made is not module
    made(x).square().sum().backward()
    assert all(p.requires_grad and p.grad is not None and torch.isfinite(p.grad).all() for p in made.parameters())
    frozen = rewrite.rewrite(copy.deepcopy(module).requires_grad_(False)).module
    assert not any(p.requires_grad for p in frozen.parameters())


def whole_network() -> tuple[nn.Module, tuple[int, ...]]:
    """A layer of each rewrite, with a batch normalization after each convolution."""
    torch.manual_seed(1)
    layers: list[nn.Module] = []
    for name, tables in OPTIONS.items():
        rewrite = made_of({"rewrite": name, **tables[-1]})
        if name == "global_pool":
            continue
        norm = nn.BatchNorm2d(8)
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.running_mean)  # type: ignore[arg-type]
        nn.init.uniform_(norm.running_var, 0.5, 2)  # type: ignore[arg-type]
        layers += [rewrite.rewrite(nn.Conv2d(8, 8, 3, padding=1)).module, norm, nn.ReLU()]
    stack = nn.Sequential(nn.Linear(8 * 30, 8), nn.ReLU(), nn.Linear(8, 5))
    pool = made_of({"rewrite": "global_pool", "positions": 30})
    return nn.Sequential(*layers, nn.Flatten(), pool.rewrite(stack).module).eval(), (8, 6, 5)


FLOAT = ({"scheme": "keep", "dtype": "float32"},)


def test_a_rewritten_network_packs_and_reads_back() -> None:
    model, shape = whole_network()
    report = inspect(model, shape)
    plan = make_plan(Recipe("floats", rest=Rest(FLOAT, FLOAT)), sites(model, report), SCHEMES)
    network = ParametrizedNetwork(model, plan)
    network.start_rest()
    about = PackInput("test", report.params, InputSpec(shape))
    made = pack(
        about, export_graph(model, shape), network.state(), network.coded(), code=network.code_anew, codecs=("dense",)
    )
    file = PackedModel.from_bytes(made.to_bytes())
    x = torch.randn(6, *shape)
    with torch.no_grad():
        wanted = model(x).numpy()
    room = 1e-4 * np.abs(wanted).max()
    np.testing.assert_allclose(OnnxRuntime(file).run(x.numpy()), wanted, rtol=0, atol=room)
    fresh, _ = whole_network()
    with torch.no_grad():
        for parameter in fresh.parameters():
            parameter.fill_(1)
    fresh.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in state_dict(file).items()})
    with torch.no_grad():
        np.testing.assert_allclose(fresh(x).numpy(), wanted, rtol=0, atol=room)


@pytest.mark.parametrize("name", ["depthwise_separable", "group", "low_rank", "pattern_residual"])
def test_a_layer_that_is_no_convolution_is_named(name: str) -> None:
    with pytest.raises(NetworkError, match=r"found a Linear; expected a torch.nn.Conv2d"):
        made_of({"rewrite": name, **OPTIONS[name][0]}).replace(nn.Linear(4, 4), None)
