"""low_rank: a k x k convolution to one with fewer filters and a 1x1 one (Zhang et al. 2015, arXiv 1411.4229)."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from torch import nn

from sepnet.core.network import Kind
from sepnet.core.rewrite import LayerRewrite, Rewritten
from sepnet.rewrites.convolution import as_convolution, convolution, no_convolution, pointwise, put, relative_error

__all__ = ["LowRank"]


class LowRank(LayerRewrite, frozen=True):
    """W (filters x channels k^2) to the nearest matrix of rank r, by singular values (SVD).

    The right vectors become r k x k filters, the left ones 1x1 weights; each takes the root of the singular value.
    Layers: ".kxk" (no bias), ".pointwise" (it has the bias).

    Options (exactly one):
        rank: r, 1 to min(filters, channels k^2), where the rewrite is exact.
        energy: above 0, at most 1; the least r that keeps this share of |W|^2.

    >>> made = LowRank(rank=4).rewrite(nn.Conv2d(8, 16, 3))
    >>> {name: tuple(layer.weight.shape) for name, layer in made.module.named_children()}
    {'kxk': (4, 8, 3, 3), 'pointwise': (16, 4, 1, 1)}
    """

    name: ClassVar[str] = "low_rank"
    kinds: ClassVar[tuple[Kind, ...]] = ("conv kxk",)

    rank: int | None = None
    energy: float | None = None

    def __post_init__(self) -> None:
        if (self.rank is None) == (self.energy is None):
            raise ValueError("give exactly one of rank and energy")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"rank = {self.rank}; expected 1 or more")
        if self.energy is not None and not 0 < self.energy <= 1:
            raise ValueError(f"energy = {self.energy}; expected above 0, at most 1")

    def refuse(self, module: nn.Module) -> str:
        """A k x k convolution in one group, whose rank can be that."""
        reason = no_convolution(module)
        if reason or not isinstance(module, nn.Conv2d):
            return reason
        if module.groups > 1:
            return f"it has {module.groups} groups; expected 1"
        most = min(module.out_channels, module.weight[0].numel())
        return f"rank = {self.rank}; expected 1 to {most}" if self.rank is not None and self.rank > most else ""

    def replace(self, module: nn.Module, inputs: torch.Tensor | None) -> Rewritten:
        """One SVD."""
        module = as_convolution(module)
        left, values, right = torch.linalg.svd(module.weight.detach().double().flatten(1), full_matrices=False)
        energy = values.square()
        rank = self.rank or _least_rank(energy, self.energy or 1.0)
        root = values[:rank].sqrt()
        first = convolution(module, module.in_channels, rank, groups=1, bias=False)
        put(first.weight, root[:, None] * right[:rank])
        second = pointwise(module, rank)
        put(second.weight, left[:, :rank] * root)
        error = relative_error(energy[rank:].sum(), energy.sum())
        return Rewritten(nn.Sequential(OrderedDict(kxk=first, pointwise=second)), error)


def _least_rank(energy: torch.Tensor, share: float) -> int:
    """The least number of leading entries whose sum is `share` of the whole.

    >>> [_least_rank(torch.tensor([4.0, 3.0, 2.0, 1.0]), share) for share in (0.1, 0.4, 0.7, 0.71, 1.0)]
    [1, 1, 2, 3, 4]
    """
    sums = energy.cumsum(0)
    return min(len(sums), 1 + int((sums < share * sums[-1] * (1 - 1e-12)).sum()))
