"""What is kept beside training: the best weights, averages of the weights, and statistics of normalization layers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

__all__ = ["Best", "WeightAverage", "measure_norms"]


class Best:
    """The network of the epoch with the best score, the first of equals."""

    def __init__(self) -> None:
        self.top1, self.epoch = -1.0, 0
        self.weights: dict[str, torch.Tensor] = {}

    def offer(self, top1: float, epoch: int, model: nn.Module) -> None:
        """Keep the network as it is now if `top1` is better than before."""
        if top1 > self.top1:
            self.top1, self.epoch = top1, epoch
            self.weights = {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {"top1": self.top1, "epoch": self.epoch, "weights": self.weights}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.top1, self.epoch, self.weights = float(state["top1"]), int(state["epoch"]), dict(state["weights"])


class WeightAverage:
    """Exponential moving average of a network's parameters: a <- decay a + (1 - decay) w after every step.

    The decay of step t is min(decay, (1 + t) / (10 + t)), so that the first steps do not weigh for ever.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self.values = [parameter.detach().clone() for parameter in model.parameters()]

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take in the parameters as they are now."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        torch._foreach_lerp_(self.values, list(model.parameters()), 1 - decay)

    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Give the averages to the network."""
        for parameter, value in zip(model.parameters(), self.values, strict=True):
            parameter.copy_(value)

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep."""
        return {"steps": self.steps, "values": self.values}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.steps = int(state["steps"])
        for value, saved in zip(self.values, state["values"], strict=True):
            value.copy_(saved)


@torch.no_grad()
def measure_norms(model: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Set the running statistics of every BatchNorm to the plain averages over `batches`; nothing else changes.

    After a scheme has changed the weights for the last time the running averages lag behind; these do not.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    norms = [norm for norm in norms if norm.track_running_stats]
    if not norms:
        return
    kept = [(norm, norm.momentum) for norm in norms]
    training = {module: module.training for module in model.modules()}
    model.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # None: the cumulative average
        norm.train()
    for images in batches:
        model(images)
    for norm, momentum in kept:
        norm.momentum = momentum
    for module, mode in training.items():
        module.training = mode
