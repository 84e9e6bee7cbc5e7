"""How many bits an adaptive coder takes for integer codes: a model that looks at rows and columns."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

__all__ = ["CodeModel", "by_rows"]

_PRIOR = 2.0
"""Codes that count as seen in every row and column before the first, as many of them zero as in the whole tensor."""


def by_rows(tensor: torch.Tensor) -> torch.Tensor:
    """A weight as a matrix, filters first; a vector is one column.

    >>> by_rows(torch.zeros(8, 3, 5, 5)).shape, by_rows(torch.zeros(4)).shape
    (torch.Size([8, 75]), torch.Size([4, 1]))
    """
    return tensor.reshape(len(tensor), -1)


class CodeModel(nn.Module):
    """Probabilities of codes, counted in the codes themselves.

    A code at (row, column) is not zero with probability sigmoid(L(r) + L(c) - L(m)), L(p) = ln(p / (1 - p)) and r, c, m the
    densities of its row, its column and the tensor: the two taken as independent evidence.  Its sign takes a bit,
    its magnitude k has probability (1 - t) t^(k - 1), with t from the mean magnitude.

    >>> model = CodeModel((2, 4))
    >>> codes = torch.tensor([[3.0, -1.0, 2.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    >>> model.observe(codes)
    >>> round(model.bits(codes), 1)
    14.1
    """

    row: torch.Tensor
    column: torch.Tensor
    whole: torch.Tensor
    kept: torch.Tensor
    growth: torch.Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        rows = shape[0] if shape else 1
        for name, size in (("row", (rows, 1)), ("column", (1, math.prod(shape) // max(1, rows)))):
            self.register_buffer(name, torch.zeros(size))
        for name in ("whole", "kept"):
            self.register_buffer(name, torch.zeros(()))
        self.register_buffer("growth", torch.tensor(0.5))

    @torch.no_grad()
    def observe(self, codes: torch.Tensor) -> None:
        """Count densities and magnitudes in `codes`."""
        sizes = by_rows(codes).abs()
        total = sizes.sum()
        there = sizes.clamp_max_(1.0)
        rows, columns = there.shape
        by_row = there.sum(1, keepdim=True)
        self.kept.copy_(by_row.sum())
        mean = (self.kept + 0.5) / (there.numel() + 1)
        self.whole.copy_(torch.logit(mean))
        self.row.copy_(torch.logit((by_row + _PRIOR * mean) / (columns + _PRIOR)))
        self.column.copy_(torch.logit((there.sum(0, keepdim=True) + _PRIOR * mean) / (rows + _PRIOR)))
        self.growth.copy_((1 - (self.kept + 1) / (total + 2)).clamp(0.05, 0.95))

    @torch.no_grad()
    def bits(self, codes: torch.Tensor) -> float:
        """Bits of `codes`, of which the model has seen as many as these."""
        sizes = by_rows(codes).abs()
        zeros = functional.softplus(self.row + self.column - self.whole).double().sum() / math.log(2)
        there = sizes > 0
        larger = float(self.bits_of_one_more()) * (sizes[there] - 1).double().sum()
        return float(zeros + self.bits_of_a_one()[there].double().sum() + larger)

    def bits_of_a_one(self) -> torch.Tensor:
        """Bits that a code of magnitude 1 takes more than a 0, for each row and column."""
        of_row = self.row - self.whole - math.log(2) + torch.log1p(-self.growth)
        return (of_row + self.column).mul_(-1 / math.log(2))

    def bits_of_one_more(self) -> torch.Tensor:
        """Bits that a magnitude takes more than the one below it."""
        return -self.growth.log2()

    @torch.no_grad()
    def slope(self, units: torch.Tensor) -> torch.Tensor:
        """What moving `units`, weight / step, towards 0 saves, in bits a unit; signed like them.

        All the bits of the code over its distance u from 0, so that large weights feel what being there costs too: those
        of a 1 below 1, and beyond it (bits of a 1) / u + (bits of one more) (1 - 1 / u).
        """
        flat = by_rows(units)
        beyond = flat.abs().clamp_min_(1.0).reciprocal_().neg_().add_(1.0)
        slope = self.bits_of_a_one().clamp_min_(0.0)
        slope.lerp_(self.bits_of_one_more().expand_as(slope), beyond).copysign_(flat)
        return slope.reshape(units.shape)
