"""State dicts as torchvision names them: how many keys, the first and the last, their pattern and some shapes."""

from __future__ import annotations

import re

import pytest
import torch

from sepnet.networks import build

NORM = r"(weight|bias|running_mean|running_var|num_batches_tracked)"
INCEPTION = rf"inception(3[ab]|4[a-e]|5[ab])\.(branch1|branch[23]\.[01]|branch4\.1)\.(conv\.weight|bn\.{NORM})"


def resnet(last: int) -> str:
    return (
        rf"(conv1\.weight|bn1\.{NORM}|fc\.(weight|bias)|layer[1-4]\.\d+\.(conv[1-{last}]\.weight|bn[1-{last}]\.{NORM}|"
        rf"downsample\.(0\.weight|1\.{NORM})))"
    )


@pytest.mark.parametrize(
    ("spec", "keys", "first", "last", "pattern"),
    [
        (
            "alexnet?variant=one_weird_trick",
            16,
            "features.0.weight",
            "classifier.6.bias",
            r"(features\.(0|3|6|8|10)|classifier\.(1|4|6))\.(weight|bias)",
        ),
        ("vgg11", 22, "features.0.weight", "classifier.6.bias", r"(features\.\d+|classifier\.[036])\.(weight|bias)"),
        (
            "vgg16",
            32,
            "features.0.weight",
            "classifier.6.bias",
            r"(features\.(0|2|5|7|10|12|14|17|19|21|24|26|28)|classifier\.[036])\.(weight|bias)",
        ),
        ("vgg19", 38, "features.0.weight", "classifier.6.bias", r"(features\.\d+|classifier\.[036])\.(weight|bias)"),
        (
            "vgg16?batch_norm=True",
            97,
            "features.0.weight",
            "classifier.6.bias",
            rf"features\.(0|3|7|10|14|17|20|24|27|30|34|37|40)\.(weight|bias)|features\.(1|4|8|11|15|18|21|25|28|31|35|38|41)\.{NORM}|classifier\.[036]\.(weight|bias)",
        ),
        (
            "googlenet_bn",
            344,
            "conv1.conv.weight",
            "fc.bias",
            rf"conv[123]\.(conv\.weight|bn\.{NORM})|{INCEPTION}|fc\.(weight|bias)",
        ),
        (
            "googlenet_bn?aux=True",
            364,
            "conv1.conv.weight",
            "fc.bias",
            rf"conv[123]\.(conv\.weight|bn\.{NORM})|{INCEPTION}|aux[12]\.(conv\.(conv\.weight|bn\.{NORM})|fc[12]\.(weight|bias))|fc\.(weight|bias)",
        ),
        ("resnet18", 122, "conv1.weight", "fc.bias", resnet(2)),
        ("resnet34", 218, "conv1.weight", "fc.bias", resnet(2)),
        ("resnet50", 320, "conv1.weight", "fc.bias", resnet(3)),
        ("resnet101", 626, "conv1.weight", "fc.bias", resnet(3)),
        ("resnet152", 932, "conv1.weight", "fc.bias", resnet(3)),
        (
            "mobilenet_v2",
            314,
            "features.0.0.weight",
            "classifier.1.bias",
            rf"features\.(0|18)\.(0\.weight|1\.{NORM})|features\.\d+\.conv\.([01]\.0\.weight|[01]\.1\.{NORM}|[12]\.weight|[23]\.{NORM})|classifier\.1\.(weight|bias)",
        ),
        (
            "squeezenet1_0",
            52,
            "features.0.weight",
            "classifier.1.bias",
            r"(features\.0|features\.(3|4|5|7|8|9|10|12)\.(squeeze|expand1x1|expand3x3)|classifier\.1)\.(weight|bias)",
        ),
        (
            "squeezenet1_1",
            52,
            "features.0.weight",
            "classifier.1.bias",
            r"(features\.0|features\.(3|4|6|7|9|10|11|12)\.(squeeze|expand1x1|expand3x3)|classifier\.1)\.(weight|bias)",
        ),
    ],
)
def test_torchvisions_names(spec: str, keys: int, first: str, last: str, pattern: str) -> None:
    with torch.device("meta"):
        found = list(build(spec).state_dict())
    assert (len(found), found[0], found[-1]) == (keys, first, last)
    assert [key for key in found if not re.fullmatch(pattern, key)] == []


@pytest.mark.parametrize(
    ("spec", "shapes"),
    [
        (
            "alexnet?variant=one_weird_trick",
            {"features.3.weight": (192, 64, 5, 5), "classifier.1.weight": (4096, 9216)},
        ),
        ("vgg16", {"features.28.weight": (512, 512, 3, 3), "classifier.0.weight": (4096, 25088)}),
        (
            "googlenet_bn?aux=True",
            {
                "inception3a.branch3.1.conv.weight": (32, 16, 3, 3),
                "inception5b.branch4.1.conv.weight": (128, 832, 1, 1),
                "aux2.conv.conv.weight": (128, 528, 1, 1),
                "aux1.fc1.weight": (1024, 2048),
            },
        ),
        (
            "resnet50",
            {
                "layer1.0.downsample.0.weight": (256, 64, 1, 1),
                "layer2.0.conv2.weight": (128, 128, 3, 3),
                "layer4.2.conv3.weight": (2048, 512, 1, 1),
            },
        ),
        ("resnet18", {"layer2.0.downsample.0.weight": (128, 64, 1, 1), "layer4.1.conv2.weight": (512, 512, 3, 3)}),
        (
            "mobilenet_v2",
            {
                "features.1.conv.0.0.weight": (32, 1, 3, 3),
                "features.1.conv.1.weight": (16, 32, 1, 1),
                "features.2.conv.1.0.weight": (96, 1, 3, 3),
                "features.17.conv.2.weight": (320, 960, 1, 1),
                "features.18.0.weight": (1280, 320, 1, 1),
            },
        ),
        ("squeezenet1_1", {"features.12.expand3x3.weight": (256, 64, 3, 3), "classifier.1.weight": (1000, 512, 1, 1)}),
    ],
)
def test_torchvisions_shapes(spec: str, shapes: dict[str, tuple[int, ...]]) -> None:
    with torch.device("meta"):
        state = build(spec).state_dict()
    assert {key: tuple(state[key].shape) for key in shapes} == shapes
