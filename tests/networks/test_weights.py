"""Published weights: they load strictly and reach the accuracy that they are known for."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from sepnet.datasets import load
from sepnet.datasets.cifar10 import read_mosaic
from sepnet.datasets.normalization import mean_and_std
from sepnet.networks import build

DATA = Path(os.environ.get("SEPNET_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
pytestmark = pytest.mark.skipif(
    not (DATA / "weights").is_dir() or not (DATA / "cifar10").is_dir(),
    reason="published weights and CIFAR-10 are not at hand; set SEPNET_DATA",
)
OPTION_A = {20: 0.9173, 32: 0.9263, 44: 0.9311, 56: 0.9339}


def pretrained(spec: str, file: str) -> nn.Module:
    model = build(spec)
    model.load_state_dict(load_file(DATA / "weights" / file), strict=True)
    return model.eval()


def hits(model: nn.Module, inputs: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> int:
    with torch.inference_mode():
        parts = [model(torch.from_numpy(inputs[at : at + 250])).argmax(1) for at in range(0, len(inputs), 250)]
    return int((torch.cat(parts).numpy() == labels).sum())


@pytest.fixture(scope="module")
def first() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """The first 1,000 test images as the networks with option A see them, and their labels."""
    from sepnet.core.dataset import normalize

    if not (DATA / "cifar10" / "test_batch.webp").is_file():
        pytest.skip("the mosaics of CIFAR-10 are not at hand; set SEPNET_DATA")
    images = read_mosaic(DATA / "cifar10" / "test_batch.webp")[:1000]
    labels = np.load(DATA / "cifar10" / "labels.npz")["test"][:1000]
    return normalize(images, *mean_and_std("imagenet")), labels


@pytest.mark.parametrize(
    ("depth", "images", "right"), [(20, 1000, 915), (32, 250, 232), (44, 250, 229), (56, 250, 234)]
)
def test_option_a_on_the_first_images(
    first: tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]], depth: int, images: int, right: int
) -> None:
    model = pretrained(f"resnet{depth}_cifar", f"cifar10_resnet{depth}.safetensors")
    assert hits(model, first[0][:images], first[1][:images]) == pytest.approx(right, abs=1)


@pytest.mark.slow
def test_option_a_on_all_test_images() -> None:
    data = load("cifar10", DATA)
    inputs = data.batch(data.test.images)
    for depth, top1 in OPTION_A.items():
        model = pretrained(f"resnet{depth}_cifar", f"cifar10_resnet{depth}.safetensors")
        assert hits(model, inputs, data.test.labels) / 10_000 == pytest.approx(top1, abs=2e-4), depth


@pytest.mark.slow
@pytest.mark.parametrize(("file", "top1"), [("distiller_dense", 0.9171), ("distiller_ssl_5layers_zero", 0.9072)])
def test_option_b_on_all_test_images(file: str, top1: float) -> None:
    data = load("cifar10?normalize=half", DATA)
    model = pretrained("resnet20_cifar?shortcut=B", f"cifar10_resnet20_{file}.safetensors")
    assert hits(model, data.batch(data.test.images), data.test.labels) / 10_000 == pytest.approx(top1, abs=2e-4)


@pytest.mark.parametrize("file", ["distiller_dense", "distiller_ssl_5layers_zero"])
def test_option_b_loads(file: str) -> None:
    pretrained("resnet20_cifar?shortcut=B", f"cifar10_resnet20_{file}.safetensors")


def test_the_authors_network_loads() -> None:
    model = pretrained("resnet20_cifar?shortcut=projection", "cifar10_resnet20_sepnets_author.safetensors")
    biases = [m.bias for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(biases) == 21
    assert max(float(bias.abs().max()) for bias in biases if bias is not None) < 5e-5, "they exist, and are almost 0"


@pytest.mark.slow
def test_the_authors_network_on_whitened_images() -> None:
    """91.19 % with global contrast normalization to norm 55 and ZCA with bias 0.1, fitted on the training images."""

    def contrast(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        flat = images.reshape(len(images), -1).astype(np.float32)
        flat -= flat.mean(1, keepdims=True)
        return 55 * flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-8)

    data = load("cifar10", DATA)
    total, products = np.zeros(3072), np.zeros((3072, 3072))
    for at in range(0, 50_000, 5000):
        part = contrast(data.train.images[at : at + 5000])
        total += part.sum(0, dtype=np.float64)
        products += part.T @ part
    mean = total / 50_000
    values, vectors = np.linalg.eigh(products / 50_000 - np.outer(mean, mean) + 0.1 * np.eye(3072))
    whiten = ((vectors / np.sqrt(values)) @ vectors.T).astype(np.float32)
    inputs = ((contrast(data.test.images) - mean.astype(np.float32)) @ whiten).reshape(-1, 3, 32, 32)
    model = pretrained("resnet20_cifar?shortcut=projection", "cifar10_resnet20_sepnets_author.safetensors")
    assert hits(model, inputs, data.test.labels) / 10_000 == pytest.approx(0.9119, abs=5e-4)


@pytest.mark.slow
def test_deep_compressions_squeezenet() -> None:
    """The decoded file of Han et al. in `squeezenet1_0`: BGR, mean subtracted, 227x227; 1x1 last layer padded by 1."""
    file = DATA / "weights" / "imagenet_squeezenet_v1.0_deepcompression.safetensors"
    if not file.is_file() or not (DATA / "imagenet-sample").is_dir():
        pytest.skip("the weights or the images are not at hand; set SEPNET_DATA")
    model = build("squeezenet1_0?last_padding=1").eval()
    places = dict(zip(range(2, 10), (3, 4, 5, 7, 8, 9, 10, 12), strict=True))
    parts = {"squeeze": "conv1x1_1", "expand1x1": "conv1x1_2", "expand3x3": "conv3x3_2"}
    names = {"features.0": "conv1", "classifier.1": "conv_final"} | {
        f"features.{place}.{ours}": f"fire{fire}.{theirs}"
        for fire, place in places.items()
        for ours, theirs in parts.items()
    }
    given = load_file(file)
    state = {f"{a}.{part}": given[f"{b}.{part}"] for a, b in names.items() for part in ("weight", "bias")}
    model.load_state_dict(state, strict=True)
    data = load("imagenet_sample?size=227", DATA)
    inputs = data.test.images[:, ::-1].astype(np.float32) - np.array([104, 117, 123], np.float32).reshape(1, 3, 1, 1)
    assert hits(model, inputs, data.test.labels) / 1000 == pytest.approx(0.632, abs=2e-3)


@pytest.mark.slow
def test_tensorflows_mobilenet(monkeypatch: pytest.MonkeyPatch) -> None:
    """The smallest 8-bit file, converted as benchmarks/imagenet_weights.py does; padding as torch's halves its score."""
    file = DATA / "weights" / "imagenet_mobilenet_v1_0.25_128_int8.safetensors"
    if not file.is_file() or not (DATA / "imagenet-sample").is_dir():
        pytest.skip("the weights or the images are not at hand; set SEPNET_DATA")
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    convert = importlib.import_module("imagenet_weights")
    data = load("imagenet_sample?size=128&resize=146&normalize=tflite", DATA)
    inputs = data.batch(np.asarray(data.test.images))
    for padding, top1 in (("tf", 0.442), ("torch", 0.208)):
        model = build(f"mobilenet_v1?width=0.25&padding={padding}").eval()
        state = convert.mobilenet_state(convert.Int8File(file), model)
        assert not model.load_state_dict(state, strict=False).unexpected_keys
        assert hits(model, inputs, data.test.labels) / 1000 == pytest.approx(top1, abs=3e-3)
