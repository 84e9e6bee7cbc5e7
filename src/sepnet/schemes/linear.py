"""linear: uniform symmetric quantization with a straight-through gradient."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.core.scheme import Scheme, Site

__all__ = ["FakeQuantize", "Linear", "best_step"]


class Linear(Scheme, frozen=True):
    """w -> step x round(w / step), codes from -(2^(bits-1) - 1) to 2^(bits-1) - 1, so that 0 is exact.

    The step is the one of least squared error over the non-zero weights, found when the scheme starts, and then fixed.
    Fine-tuning passes the gradient straight through rounding and clipping.

    Options:
        bits: 2 to 8.
        per: one step for the tensor, or one a filter.
    """

    name: ClassVar[str] = "linear"

    bits: int = 8
    per: Literal["tensor", "filter"] = "tensor"

    def __post_init__(self) -> None:
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits = {self.bits}; expected 2 to 8 (scheme 'pattern' gives 1 bit, 'keep' 16 or 32)")

    @property
    def largest(self) -> int:
        """The largest code."""
        return int(2 ** (self.bits - 1)) - 1

    def refuse(self, site: Site) -> str:
        """One step a filter needs filters."""
        if self.per == "filter" and len(site.shape) < 2:
            return 'per = "filter" needs a weight with filters; use per = "tensor"'
        return ""

    def attach(self, weight: torch.Tensor, peers: list[torch.Tensor]) -> FakeQuantize:
        """A fake quantizer with the best step."""
        rows = weight.detach().reshape(weight.shape[0] if self.per == "filter" else 1, -1)
        step = torch.stack([best_step(row, self.largest) for row in rows])
        shape = (-1,) + (1,) * (weight.ndim - 1) if self.per == "filter" else ()
        return FakeQuantize(step.reshape(shape), self.largest)

    def code(self, name: str, weight: torch.Tensor, state: nn.Module | None, schemes: tuple[str, ...]) -> CodedTensor:
        """The integers behind an already quantized weight (or of a float one, when nothing was trained)."""
        fake = state if isinstance(state, FakeQuantize) else self.attach(weight, [])
        codes = torch.clamp(torch.round(weight / fake.step), -self.largest, self.largest)
        step = Half.of(fake.step.reshape(-1 if self.per == "filter" else ()).numpy())
        return CodedTensor(name, codes.numpy().astype(np.int64), "integer", schemes, step)


def best_step(weight: torch.Tensor, largest: int) -> torch.Tensor:
    """The step of least squared error for `weight`, of 40 candidates from 0.3 to 1 times max / largest.

    Zeros do not count: they cost nothing at any step.  A stored step is a binary16 number, so the candidates are too.

    >>> round(float(best_step(torch.tensor([-1.0, 0.0, 1.0, 0.5]), 7)), 3)
    0.14
    """
    values = weight[weight != 0]
    if values.numel() == 0:
        return torch.tensor(1.0)
    top = float(values.abs().max())
    candidates = Half.of(np.linspace(0.3, 1.0, 40, dtype=np.float32) * top / largest).numbers()
    errors = [_squared_error(values / top, float(step) / top, largest) for step in candidates]
    return torch.tensor(candidates[int(np.argmin(errors))])


def _squared_error(values: torch.Tensor, step: float, largest: int) -> float:
    return float((torch.clamp(torch.round(values / step), -largest, largest) * step - values).square().sum())


class FakeQuantize(nn.Module):
    """w -> step x clamp(round(w / step)), gradient straight through."""

    step: torch.Tensor

    def __init__(self, step: torch.Tensor, largest: int) -> None:
        super().__init__()
        self.register_buffer("step", step)
        self.largest = largest

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return _RoundStraightThrough.apply(weight, self.step, self.largest)  # type: ignore[no-any-return, no-untyped-call]


class _RoundStraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, step: torch.Tensor, largest: int) -> torch.Tensor:
        return (weight / step).round_().clamp_(-largest, largest).mul_(step)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return grads[0], None, None
