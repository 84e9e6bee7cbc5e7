"""group: a convolution to one in groups (Krizhevsky et al. 2012): each filter sees only its group's channels."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from sepnet.core.network import Kind
from sepnet.core.rewrite import LayerRewrite, Rewritten
from sepnet.rewrites.convolution import as_convolution, convolution, dense_weight, no_convolution, put, relative_error

__all__ = ["Group", "Reordered"]


class Group(LayerRewrite, frozen=True):
    """W (filters, channels, k, k) to its diagonal blocks, one a group; params and macs become 1 / groups of what they were.

    Of all convolutions in `groups` groups that take the channels in this order, it is the one of least squared error.
    The new layer has the name of the old one; with `permute`, the name and ".conv".

    Options:
        groups: 2 or more; a multiple of the groups that the layer has, and a divisor of its channels and filters.
        permute: choose which channels go to which group, so that the blocks keep more of |W|^2.  The channels are put in
            order before the convolution, so the network's other layers stay as they are.

    >>> conv = nn.Conv2d(8, 4, 3)
    >>> made = Group(groups=2).rewrite(conv)
    >>> made.module.weight.shape, 0.3 < made.error < 0.7
    (torch.Size([4, 4, 3, 3]), True)
    """

    name: ClassVar[str] = "group"
    kinds: ClassVar[tuple[Kind, ...]] = ("conv kxk",)

    groups: int
    permute: bool = False

    def __post_init__(self) -> None:
        if self.groups < 2:
            raise ValueError(f"groups = {self.groups}; expected 2 or more")

    def refuse(self, module: nn.Module) -> str:
        """Channels and filters must divide into the groups."""
        reason = no_convolution(module, spatial=False)
        if reason or not isinstance(module, nn.Conv2d):
            return reason
        if module.in_channels % self.groups or module.out_channels % self.groups:
            return f"groups = {self.groups} does not divide its {module.in_channels} channels and {module.out_channels} filters"
        if self.groups <= module.groups or self.groups % module.groups:
            return f"it has {module.groups} groups; groups = {self.groups} is no multiple of them"
        return ""

    def replace(self, module: nn.Module, inputs: torch.Tensor | None) -> Rewritten:
        """The blocks, and what is left out."""
        module = as_convolution(module)
        weight = dense_weight(module)
        rows, columns = module.out_channels // self.groups, module.in_channels // self.groups
        order = torch.arange(module.in_channels)
        if self.permute:
            energy = weight.square().reshape(self.groups, rows, module.in_channels, -1).sum(dim=(1, 3))
            order = _assign(energy, columns)
            weight = weight[:, order.to(weight.device)]
        blocks = [weight[at * rows : (at + 1) * rows, at * columns : (at + 1) * columns] for at in range(self.groups)]
        kept = torch.cat(blocks)
        made = convolution(
            module, module.in_channels, module.out_channels, groups=self.groups, bias=module.bias is not None
        )
        put(made.weight, kept)
        if made.bias is not None and module.bias is not None:
            put(made.bias, module.bias)
        whole = weight.square().sum()
        error = relative_error(max(0.0, float(whole - kept.square().sum())), whole)
        return Rewritten(Reordered(order.to(weight.device), made) if self.permute else made, error)


class Reordered(nn.Module):
    """Channels put in another order, then a convolution."""

    order: torch.Tensor

    def __init__(self, order: torch.Tensor, conv: nn.Conv2d) -> None:
        super().__init__()
        self.register_buffer("order", order)
        self.conv = conv

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """As the convolution of the channels x[:, order]."""
        return self.conv(x.index_select(1, self.order))  # type: ignore[no-any-return]


def _assign(energy: torch.Tensor, size: int) -> torch.Tensor:
    """Order of the channels, `size` a group, by energy (groups, channels): greedy, then the swaps of two that gain most.

    >>> _assign(torch.tensor([[0.0, 3.0, 1.0, 2.0], [1.0, 1.0, 1.0, 1.0]]), 2).tolist()
    [1, 3, 0, 2]
    """
    groups, channels = energy.shape
    owner, room = [-1] * channels, [size] * groups
    for at in energy.flatten().argsort(descending=True, stable=True).tolist():
        group, channel = divmod(at, channels)
        if owner[channel] < 0 and room[group]:
            owner[channel], room[group] = group, room[group] - 1
    chosen = torch.tensor(owner)
    for _ in range(channels * groups):
        own = energy[chosen, torch.arange(channels)]
        there = energy[chosen]  # [a, b]: energy of channel b in the group of channel a
        gain = there + there.T - own[:, None] - own[None, :]
        best = int(gain.argmax())
        a, b = divmod(best, channels)
        if gain[a, b] <= 1e-12 * float(energy.sum()):
            break
        chosen[[a, b]] = chosen[[b, a]]
    return chosen.argsort(stable=True)
