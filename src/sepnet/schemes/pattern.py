"""pattern: sign binarization of k x k kernels, k > 1 (SEP-Net, Li et al. 2017)."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.core.scheme import Scheme, Site

__all__ = ["FrozenPattern", "Pattern", "StraightThroughPattern"]


class Pattern(Scheme, frozen=True):
    """w -> +scale where w > 0, -scale elsewhere: one bit a weight.

    Options:
        scale: what shares one magnitude:
            global  all layers of the rule (the author's code);
            layer | filter | kernel  one mean(abs(w)) each.
        offset: the magnitude itself, for scale = "global"; the mean magnitude when not given.
        train: what fine-tuning may change:
            frozen  signs stay as they are when the scheme starts; magnitudes (but a global one) adapt (the talk);
            straight-through  real weights live on behind the signs, gradients pass straight through sign().
    """

    name: ClassVar[str] = "pattern"
    zeros: ClassVar[bool] = False

    scale: Literal["global", "layer", "filter", "kernel"] = "filter"
    offset: float | None = None
    train: Literal["frozen", "straight-through"] = "frozen"

    def __post_init__(self) -> None:
        if self.offset is not None and (self.scale != "global" or self.offset <= 0):
            raise ValueError('offset needs scale = "global" and a value above 0')

    def refuse(self, site: Site) -> str:
        """Only kernels with a spatial extent hold a pattern."""
        if len(site.shape) < 3 or all(side == 1 for side in site.shape[2:]):
            return f"its weight {list(site.shape)} ({site.kind}) has no k x k kernel with k > 1"
        return ""

    def attach(self, weight: torch.Tensor, peers: list[torch.Tensor]) -> nn.Module:
        """Frozen signs with trainable magnitudes, or real weights behind straight-through signs."""
        if self.scale == "global":
            total = sum(float(peer.abs().sum()) for peer in peers)
            mean = self.offset or total / max(1, sum(peer.numel() for peer in peers))
            scale = torch.full((1,) * weight.ndim, mean)
        else:
            scale = _mean_magnitude(weight.detach(), self.scale)
        if self.train == "straight-through":
            return StraightThroughPattern(scale, self.scale)
        return FrozenPattern(weight.detach() > 0, scale, trainable=self.scale != "global")

    def code(self, name: str, weight: torch.Tensor, state: nn.Module | None, schemes: tuple[str, ...]) -> CodedTensor:
        """Signs and magnitudes."""
        if isinstance(state, FrozenPattern):
            signs, scale = state.signs > 0, state.scale.detach()
        else:
            signs, scale = weight > 0, _mean_magnitude(weight, self.scale)
        kept = scale.reshape(scale.shape[: {"global": 0, "layer": 0, "filter": 1, "kernel": 2}[self.scale]])
        return CodedTensor(name, signs.numpy().astype(np.int64), "sign", schemes, Half.of(kept.numpy()))


def _mean_magnitude(weight: torch.Tensor, scale: str) -> torch.Tensor:
    """mean(abs(w)) over a layer, filter or kernel, dimensions kept."""
    first = {"global": 0, "layer": 0, "filter": 1, "kernel": 2}[scale]
    return weight.abs().mean(dim=tuple(range(first, weight.ndim)), keepdim=True)


class FrozenPattern(nn.Module):
    """w -> signs * scale; the weight itself is no longer looked at."""

    signs: torch.Tensor
    scale: torch.Tensor

    def __init__(self, positive: torch.Tensor, scale: torch.Tensor, trainable: bool) -> None:
        super().__init__()
        self.register_buffer("signs", positive.to(scale.dtype) * 2 - 1)
        if trainable:
            self.scale = nn.Parameter(scale)
        else:
            self.register_buffer("scale", scale)

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return self.signs * self.scale


class StraightThroughPattern(nn.Module):
    """w -> sign(w) * mean(abs(w)); a global magnitude is fixed."""

    fixed: torch.Tensor

    def __init__(self, scale: torch.Tensor, per: str) -> None:
        super().__init__()
        self.per = per
        self.register_buffer("fixed", scale if per == "global" else torch.zeros(()))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        scale = self.fixed if self.per == "global" else _mean_magnitude(weight.detach(), self.per)
        return _SignStraightThrough.apply(weight, scale)  # type: ignore[no-any-return, no-untyped-call]


class _SignStraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        # copysign is several times faster than a comparison; the least normal number makes a zero negative.
        return torch.copysign(scale, weight - torch.finfo(weight.dtype).tiny)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0], None
