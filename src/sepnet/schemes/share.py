"""share: a k-means codebook a layer, its centroids fine-tuned (Deep Compression, Han et al. 2016)."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.core.scheme import Scheme

__all__ = ["Codebook", "Share", "kmeans"]


class Share(Scheme, frozen=True):
    """Every weight becomes one of at most 2^bits shared values; codes index the codebook.

    After `prune` the zeros stay out: codebook[0] = 0 and 2^bits - 1 values serve the weights that are left.
    Assignments are fixed when the scheme starts; fine-tuning moves the shared values, each by the sum of the gradients of
    the weights that use it.

    Options:
        bits: 1 to 8.
        rounds: k-means iterations; centroids start evenly spaced from the least to the greatest weight ("linear
            initialization", which keeps the rare large weights).
    """

    name: ClassVar[str] = "share"

    bits: int = 5
    rounds: int = 30

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 8:
            raise ValueError(f"bits = {self.bits}; expected 1 to 8")
        if self.rounds < 0:
            raise ValueError(f"rounds = {self.rounds}; expected 0 or more")

    def attach(self, weight: torch.Tensor, peers: list[torch.Tensor]) -> Codebook:
        """Cluster the weights and make their codebook trainable."""
        numbers = weight.detach().numpy().ravel()
        used = np.flatnonzero(numbers)
        entries = 2**self.bits - (1 if used.size < numbers.size else 0)
        centroids, nearest = kmeans(numbers[used], entries, self.rounds)
        codes = np.zeros(numbers.size, np.int64)
        codes[used] = nearest + 1
        return Codebook(torch.from_numpy(centroids), torch.from_numpy(codes.reshape(weight.shape)))

    def code(self, name: str, weight: torch.Tensor, state: nn.Module | None, schemes: tuple[str, ...]) -> CodedTensor:
        """The assignments and the shared values, sorted; code 0 is zero."""
        book = state if isinstance(state, Codebook) else self.attach(weight, [])
        codes, values = book.codes.numpy(), book.values.detach().numpy()
        pruned = bool((codes == 0).any())
        order = np.argsort(values, kind="stable")
        rank = np.empty(order.size, np.int64)
        rank[order] = np.arange(order.size)
        table = np.concatenate([[0.0], values[order]]) if pruned else values[order]
        lookup = np.concatenate([[0], rank + 1]) if pruned else np.concatenate([[0], rank])
        return CodedTensor(name, lookup[codes], "codebook", schemes, codebook=Half.of(table))


def kmeans(numbers: np.ndarray, entries: int, rounds: int) -> tuple[np.ndarray, np.ndarray]:
    """One-dimensional k-means: (centroids float32 sorted, index of the nearest for each number).

    Empty clusters are dropped, so there may be fewer centroids than asked for.

    >>> kmeans(np.float32([0.0, 0.1, 0.9, 1.0]), 2, 10)[0].astype(float).round(3).tolist()
    [0.05, 0.95]
    """
    if numbers.size == 0:
        return np.zeros(1, np.float32), np.zeros(0, np.int64)
    centroids = np.linspace(float(numbers.min()), float(numbers.max()), entries)
    ordered = np.sort(numbers.astype(np.float64))
    totals = np.concatenate([[0.0], np.cumsum(ordered)])
    for _ in range(rounds):
        edges = np.concatenate([[0], np.searchsorted(ordered, (centroids[1:] + centroids[:-1]) / 2), [ordered.size]])
        sizes = np.diff(edges)
        moved = (totals[edges[1:]] - totals[edges[:-1]])[sizes > 0] / sizes[sizes > 0]
        if moved.size == centroids.size and np.array_equal(moved, centroids):
            break
        centroids = moved
    centroids = np.unique(centroids.astype(np.float32))
    middles = (centroids[1:].astype(np.float64) + centroids[:-1]) / 2
    return centroids, np.searchsorted(middles, numbers).astype(np.int64)


class Codebook(nn.Module):
    """w -> values[codes - 1], 0 where the code is 0; the weight itself is no longer looked at."""

    codes: torch.Tensor

    def __init__(self, values: torch.Tensor, codes: torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values)
        self.register_buffer("codes", codes)
        self._places: _Places | None = None

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        if self._places is None or self._places.version != (self.codes.data_ptr(), self.codes._version):
            self._places = _Places(self.codes)
        return _Gather.apply(self.values, self._places)  # type: ignore[no-any-return, no-untyped-call]


class _Places:
    """Where the weights that are not zero lie and which shared value each uses, worked out once."""

    lanes = 8
    """Histograms side by side: adding to one and the same bin again and again would wait for itself."""

    def __init__(self, codes: torch.Tensor) -> None:
        self.version = (codes.data_ptr(), codes._version)
        self.shape = codes.shape
        flat = codes.flatten()
        self.used = flat.nonzero().flatten()
        self.entries = flat.index_select(0, self.used) - 1
        self.bins = self.entries * self.lanes + torch.arange(self.entries.numel()) % self.lanes
        self.dense = self.used.numel() == flat.numel()


class _Gather(torch.autograd.Function):
    """Codebook lookup whose gradient is one weighted histogram."""

    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, places: _Places) -> torch.Tensor:
        ctx.places, ctx.entries = places, values.numel()
        chosen = values.index_select(0, places.entries)
        if places.dense:
            return chosen.view(places.shape)
        return values.new_zeros(places.shape).put_(places.used, chosen)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        places: _Places = ctx.places
        grad = grads[0].flatten()
        if not places.dense:
            grad = grad.index_select(0, places.used)
        sums = grad.new_zeros(ctx.entries * places.lanes).scatter_add_(0, places.bins, grad)
        return sums.view(ctx.entries, places.lanes).sum(dim=1), None
