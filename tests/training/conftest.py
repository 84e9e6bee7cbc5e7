"""A problem small enough to be learnt in a second: four kinds of 8x8 stripes, and a user's own network with batch norm."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sepnet.core.dataset import Dataset, Split
from sepnet.core.train_options import TrainOptions
from sepnet.packing.export import export_graph
from sepnet.steps import compress as compress_step
from sepnet.steps.train import train


class Net(nn.Module):
    """A convolution with batch norm, one without bias, and a dense end with dropout; 5,500 params or so."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.conv = nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False)
        self.fc1 = nn.Linear(256, 16)
        self.dropout = nn.Dropout(dropout)
        self.fc2 = nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(torch.relu(self.bn(self.stem(x)))))
        return self.fc2(self.dropout(torch.relu(self.fc1(torch.flatten(x, 1)))))  # type: ignore[no-any-return]


def _split(images: int, seed: int) -> Split:
    random = np.random.default_rng(seed)
    labels = np.arange(images) % 4
    rows, columns = np.mgrid[:8, :8]
    stripes = np.stack([rows % 4 < 2, columns % 4 < 2, (rows + columns) % 4 < 2, (rows - columns) % 4 < 2])
    pixels = stripes[labels] * 150.0 + random.normal(50, 40, (images, 8, 8))
    return Split(pixels.clip(0, 255).astype(np.uint8)[:, None], labels.astype(np.int64))


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other cost more than these networks are worth."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def data() -> Dataset:
    """96 images to learn from, 60 to be tested on."""
    return Dataset("stripes", ("a", "b", "c", "d"), _split(96, 0), _split(60, 1), (0.5,), (0.3,))


@pytest.fixture
def network() -> Callable[..., nn.Module]:
    """The network's class, initialized the same way every time."""

    def make(**options: Any) -> nn.Module:
        torch.manual_seed(0)
        return Net(**options)

    return make


@pytest.fixture(scope="session")
def trained(data: Dataset) -> nn.Module:
    """A trained network, at more than 95 %; not to be changed."""
    torch.manual_seed(0)
    done = train(Net(), data, TrainOptions(lr=0.05, batch=16), epochs=6)
    assert done.score.top1 > 0.95
    return done.model


_exported: dict[str, Any] = {}


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trace `Net` once for all tests (the graph holds no weights), and measure no times."""

    @functools.wraps(export_graph)
    def export(model: nn.Module, input_shape: Any) -> Any:
        key = f"{model}{input_shape}"
        if key not in _exported:
            _exported[key] = export_graph(model, input_shape)
        return _exported[key]

    monkeypatch.setattr(compress_step, "export_graph", export)
    monkeypatch.setattr(compress_step, "milliseconds_an_image", lambda runtime, data: 0.0)
