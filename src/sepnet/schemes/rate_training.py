"""Rounding with gradients for the weight (straight through) and for a learned step (LSQ, Esser et al. 2020)."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["bounded_gradient", "round_straight_through"]


_MOST = 0.1


def bounded_gradient(tensor: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """`tensor`, with its gradient multiplied by `factor`, then kept between -0.1 and 0.1."""
    return _BoundedGradient.apply(tensor, factor)  # type: ignore[no-any-return, no-untyped-call]


def round_straight_through(weight: torch.Tensor, step: torch.Tensor, codes: torch.Tensor, largest: int) -> torch.Tensor:
    """step x codes; for the weight the gradient as it is, for the step LSQ's, of the codes that are not zero.

    That is codes - weight / step, or the code alone where weight / step is beyond the largest.
    """
    return _Round.apply(weight, step, codes, largest)  # type: ignore[no-any-return, no-untyped-call]


class _BoundedGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(factor)
        return tensor.clone()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return (grads[0] * ctx.saved_tensors[0]).clamp(-_MOST, _MOST), None


class _Round(torch.autograd.Function):
    @staticmethod
    def forward(  # noqa: PLR0917 (torch's way)
        ctx: Any, weight: torch.Tensor, step: torch.Tensor, codes: torch.Tensor, largest: int
    ) -> torch.Tensor:
        ctx.save_for_backward(weight, step, codes)
        ctx.largest = largest
        return codes * step

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None]:
        weight, step, codes = ctx.saved_tensors
        grad = grads[0]
        units = weight / step
        units.masked_fill_(units.abs() > ctx.largest, 0.0)
        by_step = (codes - units).mul_(codes.abs().clamp_max_(1.0)).mul_(grad).sum()
        return grad, by_step, None, None
