"""The network that `distill` matches."""

from __future__ import annotations

import contextlib
import copy

import torch
from torch import nn
from torch.fx.experimental.optimization import fuse

from sepnet.training.machine import refusal_of_channels_last

__all__ = ["Teacher"]


class Teacher:
    """A copy of a network that computes the same in less time: batch norms folded into convolutions where tracing finds them."""

    def __init__(self, network: nn.Module, device: torch.device, input_shape: tuple[int, ...]) -> None:
        still = copy.deepcopy(network).eval()
        with contextlib.suppress(Exception):  # whatever cannot be traced computes as it is
            still = fuse(still)
        refused = refusal_of_channels_last(network, input_shape)
        self.format = torch.contiguous_format if refused else torch.channels_last
        self.model: nn.Module = still.to(device).to(memory_format=self.format)  # type: ignore[call-overload]
