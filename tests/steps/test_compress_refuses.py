"""Networks that compress cannot take: one clear error before any work."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

import sepnet
from sepnet.core.errors import NetworkError
from sepnet.core.recipe import Recipe
from sepnet.networks import build

DATA = "digits?holdout=1300"


def pruned() -> nn.Module:
    """With a weight that is computed from another."""
    model = build("lenet300")
    prune.l1_unstructured(model.fc3, "weight", amount=0.5)
    return model


class Two(nn.Module):
    """Two outputs."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(784, 10)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.fc(x.flatten(1)), x


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pruned, "cannot be copied"),
        (Two, r"output must be \(n, classes\); found tuple"),
        (lambda: build("lenet300?num_classes=7"), "7 outputs, .* has 10 classes; expected as many of both"),
        (lambda: build("lenet300").double(), "does not take images"),
        (lambda: build("lenet300").half(), "does not take images"),
        (lambda: build("lenet5?in_channels=3"), "does not fit the network"),
    ],
)
def test_compress_refuses(make: object, words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        sepnet.compress(make(), Recipe("t"), DATA)  # type: ignore[operator]
