"""The ImageNet recipes on a tiny folder of the right shape: streamed, cropped, trained for a step a stage, packed, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import sepnet
from sepnet.datasets import load
from sepnet.networks import build


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes in train/ and val/, photographs of several sizes."""
    random = np.random.default_rng(0)
    for split, count in (("train", 4), ("val", 2)):
        for name, colour in (("n01", 60), ("n02", 190)):
            (tmp_path / split / name).mkdir(parents=True)
            for at in range(count):
                pixels = random.normal(colour, 30, (260 + 20 * at, 300 - 10 * at, 3)).clip(0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{at}.png")
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("net, recipe", [("googlenet", "googlenet-imagenet"), ("sepnet_small", "sepnet-imagenet")])
def test_the_recipe_runs_on_an_imagenet_folder(folder: Path, net: str, recipe: str) -> None:
    torch.manual_seed(0)
    data = load(f"folder:{folder}?resize=256&crop=224")
    packed = sepnet.compress(build(f"{net}?num_classes=2"), recipe, data, epochs=2)
    assert [row.stage for row in packed.rows] == ["float", "binarized", "quantized", "packed"]
    signs = [tensor for tensor in packed.info().tensors if tensor.patterns]
    assert signs and packed.ratio > (5 if net == "googlenet" else 3)
    assert packed.evaluate(data).n == 4
