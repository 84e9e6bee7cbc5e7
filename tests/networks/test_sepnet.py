"""SEP-Net: the published totals of the reconstruction, what blocks and modules compute, and the recipes R, B and BQ."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import sepnet
from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import NetworkError
from sepnet.core.plan import make_plan
from sepnet.core.recipe import load_recipe
from sepnet.networks import build, outline
from sepnet.networks.sepnet import PatternResidualBlock, SepNetModule
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import sites

NETWORKS = ("sepnet_small", "sepnet_large", "sepnet_cifar")


@pytest.mark.parametrize(
    ("name", "params", "macs", "pattern_weights", "as_b"),
    [("sepnet_small", 1_303_848, 205_230_080, 290_304, 1_054_872), ("sepnet_large", 1_677_096, None, None, None)],
)
def test_the_published_totals(name: str, params: int, macs: int, pattern_weights: int, as_b: int) -> None:
    """B: 9 bits and one float32 a 3x3 kernel of the pattern residual blocks, counted in float32 numbers."""
    model = outline(name)
    report = inspect(model, model.input_shape)  # type: ignore[arg-type]
    assert report.params == params
    if as_b:
        kernels = [layer for layer in report.layers if layer.name.endswith(".kxk")]
        weights = sum(layer.params for layer in kernels)
        scales = sum(layer.weight_shape[0] * layer.weight_shape[1] for layer in kernels)
        assert (report.macs, weights) == (macs, pattern_weights)
        assert report.params - weights + weights // 32 + scales == as_b


def test_groups_of_the_reconstruction() -> None:
    convs = {name: m for name, m in outline("sepnet_large").named_modules() if isinstance(m, nn.Conv2d)}
    assert {m.groups for name, m in convs.items() if name != "stem"} == {4} and convs["stem"].groups == 1
    assert all(m.bias is None for m in convs.values())
    assert sum(name.endswith("reduce") for name in convs) == 5


def test_a_block_adds_both_branches() -> None:
    torch.manual_seed(0)
    block = PatternResidualBlock(8, 12, kernel_size=5, stride=2, groups=4).eval()
    x = torch.randn(2, 8, 7, 7)
    with torch.no_grad():
        expected = torch.relu(block.kxk_bn(block.kxk(x)) + block.pointwise_bn(block.pointwise(x)))
        assert torch.equal(block(x), expected) and expected.shape == (2, 12, 4, 4)
    plain = PatternResidualBlock(8, 12, norm=False, activation=False)
    with torch.no_grad():
        assert torch.equal(plain(x), plain.kxk(x) + plain.pointwise(x)) and plain(x).min() < 0
    assert PatternResidualBlock(8, 12, groups=4, pointwise_groups=1).pointwise.groups == 1


def test_a_module_adds_its_input() -> None:
    module = SepNetModule(16, groups=2, pattern_groups=1).eval()
    nn.init.zeros_(module.recover_bn.weight)
    x = torch.rand(2, 16, 5, 6)
    with torch.no_grad():
        assert torch.equal(module(x), x)
    assert (module.prb1.kxk.groups, module.prb1.pointwise.groups, module.prb2.kxk.out_channels) == (1, 2, 4)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PatternResidualBlock(8, 8, kernel_size=2), "kernel_size=2; expected an odd number"),
        (lambda: PatternResidualBlock(8, 9, groups=2), "groups=2 for 8 to 9 channels"),
        (lambda: SepNetModule(24, groups=4), "groups=4 with 24 channels"),
        (lambda: build("sepnet_cifar?width=40"), "groups=4 with width=40"),
        (lambda: build("sepnet_cifar?width=0"), "width=0; expected"),
        (lambda: build("sepnet_cifar?blocks=3"), "blocks=3; expected three integers"),
        (lambda: build("sepnet_cifar?blocks=(1,1)"), "expected three integers"),
        (lambda: build("sepnet_cifar?groups=0"), "groups=0"),
        (lambda: build("sepnet_small?num_classes=0"), "num_classes=0; expected"),
        (lambda: build("sepnet_small?in_channels=0"), "in_channels=0; expected"),
    ],
)
def test_what_cannot_be(make: object, words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("spec", ["sepnet_small", "sepnet_cifar?blocks=(0,2,0)&width=16"])
@pytest.mark.parametrize("side", [1, 33])
def test_any_size(spec: str, side: int) -> None:
    model = build(spec, num_classes=5, in_channels=2, image_size=side).eval()
    with torch.no_grad():
        out = model(torch.randn(2, 2, side, side))
    assert out.shape == (2, 5) and torch.isfinite(out).all() and not torch.equal(out[0], out[1])


@pytest.mark.parametrize("recipe", ["sepnet-r", "sepnet-b", "sepnet-bq"])
@pytest.mark.parametrize("name", NETWORKS)
def test_recipes_fit(name: str, recipe: str) -> None:
    model = outline(name)
    plan = make_plan(load_recipe(recipe), sites(model, inspect(model, model.input_shape)), SCHEMES)  # type: ignore[arg-type]
    signs = {w.site.layer for w in plan.weights if w.schemes[-1].name == "pattern"}
    wanted = {layer for layer, _ in model.named_modules() if layer.endswith(".kxk")}
    assert signs == (set() if recipe == "sepnet-r" else wanted) and wanted
    eight = {w.site.layer for w in plan.weights if w.schemes[-1].name == "linear"}
    assert ("fc" in eight) == (recipe == "sepnet-bq")


@pytest.mark.slow
def test_a_small_form_packs_as_b_and_bq() -> None:
    model = build("sepnet_cifar?width=32&blocks=(1,1,1)&groups=2")
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 255, (8, 3, 32, 32)).astype(np.uint8), np.arange(8))
    data = Dataset("noise", tuple(map(str, range(10))), split, split, (0.5,) * 3, (0.3,) * 3)
    sizes = {name: sepnet.compress(model, name, data, epochs=0).bytes for name in ("sepnet-b", "sepnet-bq")}
    assert sizes["sepnet-bq"] < 0.5 * sizes["sepnet-b"] < 0.5 * 4 * sum(p.numel() for p in model.parameters())
