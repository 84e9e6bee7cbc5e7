"""Which pattern a kernel takes when not every pattern is free: a dictionary, or patterns that cost their bits."""

from __future__ import annotations

import torch
from torch import nn

__all__ = ["ENUMERABLE", "PatternChoice"]

ENUMERABLE = 9
"""Signs of a kernel whose 2**n patterns are all weighed when there is no dictionary."""
_ROUNDS = 30
_MEMORY = 0.9


class PatternChoice(nn.Module):
    """Kernel w, magnitude s -> the candidate p in {-1, +1}^n with the least |w / s - p|**2 + rate * bits(p).

    bits(p) = -log2 P(p), P from counts of what the layer's kernels chose, averaged over the steps of training (each
    count starts at 1, so that no pattern is out of reach).  Entropy-constrained vector quantization: Chou, Lookabaugh
    and Gray, "Entropy-constrained vector quantization", IEEE Trans. ASSP 37, 1989.

    Args:
        weight: (filters, channels, kernel ...), from which the dictionary is made: k-means under the constraint that
            centres are patterns.
        scale: magnitudes that broadcast with `weight`.
        patterns: how many candidates; 0 for all 2**n, n <= 9.
        rate: see above.

    >>> weight = torch.tensor([0.9, -1.0, 1.1, 0.05, 1.0, -0.9, 1.0, -1.0, 1.2]).reshape(3, 1, 3)
    >>> choice = PatternChoice(weight, torch.ones(1, 1, 1), patterns=2, rate=0.0)
    >>> choice(weight, torch.ones(1, 1, 1)).int().tolist()
    [[[1, -1, 1]], [[1, 1, -1]], [[1, -1, 1]]]
    """

    candidates: torch.Tensor
    counts: torch.Tensor

    def __init__(self, weight: torch.Tensor, scale: torch.Tensor, patterns: int, rate: float) -> None:
        super().__init__()
        self.rate = rate
        kernels = _kernels(weight, scale)
        self.register_buffer("candidates", _dictionary(kernels, patterns) if patterns else _all(kernels.shape[1]))
        self.register_buffer("counts", torch.ones(len(self.candidates)))
        if rate:
            for _ in range(_ROUNDS):
                self._count(self._chosen(kernels), memory=0.0)

    def forward(self, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Signs, +1 and -1, of the weight's shape."""
        chosen = self._chosen(_kernels(weight, scale))
        if self.rate and self.training:
            self._count(chosen, _MEMORY)
        return self.candidates[chosen].reshape(weight.shape)

    def _chosen(self, kernels: torch.Tensor) -> torch.Tensor:
        """Index of each kernel's candidate.  |k - p|**2 = |k|**2 + n - 2 k p, so k p decides."""
        gain = kernels @ self.candidates.T
        if self.rate:
            gain = gain + 0.5 * self.rate * torch.log2(self.counts / self.counts.sum())
        return gain.argmax(1)

    def _count(self, chosen: torch.Tensor, memory: float) -> None:
        now = torch.bincount(chosen, minlength=len(self.counts)).to(self.counts.dtype) + 1
        self.counts.mul_(memory).add_(now, alpha=1 - memory)


def _kernels(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """(kernels, n) of w / s; a kernel of magnitude 0 stays 0."""
    ratio = weight / scale.clamp_min(torch.finfo(scale.dtype).tiny)
    return ratio.reshape(weight.shape[0] * weight.shape[1], -1)


def _all(signs: int) -> torch.Tensor:
    """Every pattern: (2**n, n) of +1 and -1, the first sign in the lowest bit."""
    index = torch.arange(1 << signs)
    return ((index[:, None] >> torch.arange(signs)) & 1).to(torch.float32) * 2 - 1


def _dictionary(kernels: torch.Tensor, patterns: int) -> torch.Tensor:
    """At most `patterns` patterns: the commonest at first, then moved to where the kernels around them are."""
    signs = torch.where(kernels > 0, 1.0, -1.0)
    distinct: torch.Tensor
    distinct, which, counts = torch.unique(signs, dim=0, return_inverse=True, return_counts=True)
    if len(distinct) <= patterns:
        return distinct
    weight_of = torch.zeros(len(distinct)).index_add_(0, which, kernels.abs().sum(1)) + counts
    centres: torch.Tensor = distinct[weight_of.argsort(descending=True, stable=True)[:patterns]]
    for _ in range(_ROUNDS):
        chosen = (kernels @ centres.T).argmax(1)
        sums = torch.zeros_like(centres).index_add_(0, chosen, kernels)
        moved = torch.where(sums == 0, centres, torch.where(sums > 0, 1.0, -1.0))
        if torch.equal(moved, centres):
            break
        centres = moved
    different: torch.Tensor = torch.unique(centres, dim=0)
    return different
