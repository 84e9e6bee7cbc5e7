"""Where the parameters and multiply-accumulates of the catalogue's networks are, as published."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sepnet.core.network import NetworkReport
from sepnet.networks import build
from sepnet.steps.inspect import inspect


def counted(spec: str) -> NetworkReport:
    with torch.device("meta"):
        model = build(spec)
    return inspect(model, model.input_shape)


def weights_of(spec: str) -> dict[str, int]:
    """Layer -> numbers of its weight, biases and norms left out."""
    with torch.device("meta"):
        model = build(spec)
    return {n: m.weight.numel() for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))}


@pytest.mark.parametrize(
    ("spec", "params"),
    [
        ("alexnet?variant=one_weird_trick", 61_100_840),
        ("googlenet_bn?aux=True", 13_004_888),
        ("mobilenet_v1?width=0.25", 470_072),
        ("mobilenet_v1?width=0.5", 1_331_592),
        ("mobilenet_v1?width=0.75", 2_585_560),
        ("mobilenet_v2?width=0.5", 1_968_680),
        ("mobilenet_v2?width=0.75", 2_636_424),
        ("mobilenet_v2?width=1.4", 6_108_776),
        ("squeezenet1_0?bypass=simple", 1_248_424),
        ("vgg11?batch_norm=True", 132_868_840),
        ("vgg13?batch_norm=True", 133_053_736),
        ("vgg16?batch_norm=True", 138_365_992),
        ("vgg19?batch_norm=True", 143_678_248),
        ("resnet20_cifar?shortcut=B", 272_474),
        ("resnet110_cifar?shortcut=B", 1_730_714),
        ("resnet20_cifar?shortcut=projection", 293_738),
        ("resnet32_cifar?shortcut=projection", 488_618),
        ("resnet44_cifar?shortcut=projection", 683_498),
        ("resnet56_cifar?shortcut=projection", 878_378),
        ("resnet110_cifar?shortcut=projection", 1_755_338),
    ],
)
def test_params_of_variants(spec: str, params: int) -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in build(spec).parameters()) == params


def test_alexnet_layer_by_layer() -> None:
    fc = {"fc6": 37_752_832, "fc7": 16_781_312, "fc8": 4_097_000}
    convs = {"conv1": 34_944, "conv2": 614_656, "conv3": 885_120, "conv4": 1_327_488, "conv5": 884_992}
    assert {layer.name: layer.params for layer in counted("alexnet").layers} == convs | fc
    convs |= {"conv2": 307_456, "conv4": 663_936, "conv5": 442_624}
    assert {layer.name: layer.params for layer in counted("alexnet_grouped").layers} == convs | fc


@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        ("alexnet", {"conv kxk": 3_747_200, "fc": 58_631_144}),
        ("vgg16", {"conv kxk": 14_714_688, "fc": 123_642_856}),
        ("resnet50", {"conv kxk": 11_326_656, "conv 1x1": 12_128_256, "fc": 2_049_000, "norm": 53_120}),
        (
            "mobilenet_v1",
            {"conv kxk": 864, "conv 1x1": 3_139_584, "depthwise": 44_640, "fc": 1_025_000, "norm": 21_888},
        ),
    ],
)
def test_params_by_kind(spec: str, kinds: dict[str, int]) -> None:
    assert {total.kind: total.params for total in counted(spec).by_kind()} == kinds


@pytest.mark.parametrize(
    ("spec", "macs"),
    [
        ("alexnet", 1_135_256_096),
        ("alexnet_grouped", 724_406_816),
        ("vgg16", 15_470_264_320),
        ("googlenet", 1_582_671_872),
        ("googlenet_aux", 1_582_671_872),
        ("resnet18", 1_814_073_344),
        ("resnet50", 4_089_184_256),
        ("resnet152", 11_513_626_624),
        ("resnet20_cifar", 40_551_040),
        ("mobilenet_v1", 568_740_352),
        ("mobilenet_v2", 300_774_272),
        ("squeezenet1_0", 818_924_576),
    ],
)
def test_macs(spec: str, macs: int) -> None:
    assert counted(spec).macs == macs


def test_weights_of_googlenet() -> None:
    weights = weights_of("googlenet")
    assert sum(weights.values()) == 6_990_272
    threes = [n for n in weights if n.endswith(".conv3x3")]
    assert len(threes) == 9
    assert sum(weights[n] for n in threes) == 9 * 332_288 == 2_990_592
    assert sum(w for n, w in weights.items() if n.endswith(".conv5x5")) == 595_200
    with torch.device("meta"):
        assert build("googlenet").get_submodule("inception_3a.conv5x5").kernel_size == (5, 5)


def test_weights_of_c_inception() -> None:
    """What the reconstruction was made for: 5.10 M weights, 2.43 M words when every k x k kernel is bits + one float."""
    weights = weights_of("c_inception")
    with torch.device("meta"):
        model = build("c_inception")
    spatial = [n for n in weights if n != "fc" and model.get_submodule(n).kernel_size != (1, 1)]
    kernels = sum(model.get_submodule(n).weight.shape[:2].numel() for n in spatial)
    inside = sum(weights[n] for n in spatial)
    total = sum(weights.values())
    assert (total, inside, kernels) == (5_097_920, 3_110_592, 344_768)
    assert total - inside + inside // 32 + kernels == 2_429_302


def test_weights_of_the_authors_resnet20() -> None:
    weights = weights_of("resnet20_cifar?shortcut=projection")
    assert sum(weights.values()) == 291_376
    blocks = [w for n, w in weights.items() if n.endswith(("conv_a", "conv_b"))]
    assert (len(blocks), sum(blocks)) == (18, 267_264)
