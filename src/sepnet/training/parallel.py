"""Data parallelism: several processes, each on its share of every batch, started by `torchrun`.

Every process runs the whole command and holds the same weights; the first one writes.  Lightning Fabric (the extra
`parallel`) brings the processes together and averages the gradients.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import MissingExtraError

__all__ = ["Alone", "Team", "team"]


class Alone:
    """One process."""

    size, rank = 1, 0

    def prepare(self, model: nn.Module) -> nn.Module:
        """What to call forward on; it shares its parameters with `model`."""
        return model

    def share(self, tensor: torch.Tensor) -> torch.Tensor:
        """This process's part of a batch."""
        return tensor

    def backward(self, loss: torch.Tensor, share: int, batch: int) -> None:
        """Gradients of the mean loss of the whole batch, given the mean over this process's `share` of its images."""
        loss.backward()  # type: ignore[no-untyped-call]

    def total(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        return numbers


class Team(Alone):
    """The processes of one `torchrun`; normalization statistics are those of the first one's images."""

    def __init__(self, device: torch.device) -> None:
        fabric = importlib.import_module("lightning_fabric")
        strategy = importlib.import_module("lightning_fabric.strategies").DDPStrategy(find_unused_parameters=True)
        local = int(os.environ.get("LOCAL_WORLD_SIZE", os.environ["WORLD_SIZE"]))
        nodes = int(os.environ["WORLD_SIZE"]) // local
        self.fabric: Any = fabric.Fabric(accelerator=device.type, strategy=strategy, devices=local, num_nodes=nodes)
        self.fabric.launch()
        self.size, self.rank = int(self.fabric.world_size), int(self.fabric.global_rank)

    def prepare(self, model: nn.Module) -> nn.Module:
        """The network wrapped so that gradients are averaged."""
        wrapped: nn.Module = self.fabric.setup_module(model)
        return wrapped

    def share(self, tensor: torch.Tensor) -> torch.Tensor:
        """Every `size`-th image, beginning with the `rank`-th; a batch of less than two for each is everyone's."""
        return tensor if self._is_small(len(tensor)) else tensor[self.rank :: self.size]

    def _is_small(self, batch: int) -> bool:
        return batch < 2 * self.size  # batch normalization needs two

    def backward(self, loss: torch.Tensor, share: int, batch: int) -> None:
        """The team averages the gradients, so a loss counts by its share of the images."""
        self.fabric.backward(loss * (1.0 if self._is_small(batch) else share * self.size / batch))

    def total(self, numbers: torch.Tensor) -> torch.Tensor:
        """The sum over all processes."""
        added: torch.Tensor = self.fabric.all_reduce(numbers, reduce_op="sum")
        return added


_teams: dict[str, Alone] = {}


def team(device: torch.device) -> Alone:
    """The processes that train together: those of `torchrun`, or this one alone.

    Raises `MissingExtraError` under torchrun when Lightning Fabric is not installed.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) <= 1:
        return Alone()
    if device.type not in _teams:
        try:
            _teams[device.type] = Team(device)
        except ModuleNotFoundError as error:
            raise MissingExtraError("training in several processes", "Lightning Fabric", "parallel") from error
    return _teams[device.type]
