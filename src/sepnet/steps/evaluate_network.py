"""evaluate: score a torch network on the test split."""

from __future__ import annotations

from torch import nn

from sepnet.core.dataset import Dataset
from sepnet.core.score import Score
from sepnet.training.fit import check_classes, score

__all__ = ["evaluate_network"]


def evaluate_network(model: nn.Module, data: Dataset) -> Score:
    """Score `model` in evaluation mode.  Raises `NetworkError` when it does not fit the data set."""
    check_classes(model, data)
    return score(model, data, data.test)
