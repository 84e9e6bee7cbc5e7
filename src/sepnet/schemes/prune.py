"""prune: magnitude pruning with retraining (Han et al. 2015) and with a cubic schedule (Zhu and Gupta 2017)."""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import torch
from torch import nn

from sepnet.core.coded_tensor import CodedTensor, float_codes
from sepnet.core.scheme import Scheme

__all__ = ["Prune", "PruneMask"]

_CUBIC_STEPS = 200


class Prune(Scheme, frozen=True):
    """Set the weights of least magnitude to zero: keep w where abs(w) > threshold.

    Options (exactly one of the first two):
        sparsity: fraction of the layer's weights that become zero, 0 to below 1.
        quality: threshold = quality x standard deviation of the layer's weights when pruning starts (Han 2015).
        schedule: when, over the stage that starts the scheme:
            one-shot   at once;
            iterative  in `rounds` equal steps of the kept fraction's logarithm, retraining after each (Han 2015);
            cubic      sparsity x (1 - (1 - t)^3), t from 0 to 1, in 200 steps (Zhu and Gupta 2017).
        rounds: steps of `iterative`.
        ramp: fraction of the stage after which the mask is final; the rest only retrains.
    """

    name: ClassVar[str] = "prune"
    codes: ClassVar[bool] = False

    sparsity: float | None = None
    quality: float | None = None
    schedule: Literal["one-shot", "iterative", "cubic"] = "one-shot"
    rounds: int = 5
    ramp: float = 0.7

    def __post_init__(self) -> None:
        if (self.sparsity is None) == (self.quality is None):
            raise ValueError("give exactly one of sparsity and quality")
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise ValueError(f"sparsity = {self.sparsity}; expected 0 <= sparsity < 1")
        if self.quality is not None and not 0 <= self.quality < math.inf:
            raise ValueError(f"quality = {self.quality}; expected 0 or more")
        if self.rounds < 1:
            raise ValueError(f"rounds = {self.rounds}; expected 1 or more")
        if not 0 < self.ramp <= 1:
            raise ValueError(f"ramp = {self.ramp}; expected above 0 to 1, of the stage")

    @property
    def settles(self) -> float:
        """Every schedule but one-shot moves the mask until the ramp is over."""
        return 0.0 if self.schedule == "one-shot" else self.ramp

    def attach(self, weight: torch.Tensor, peers: list[torch.Tensor]) -> nn.Module:
        """A mask that the trainer advances."""
        if self.quality is None:
            return PruneMask(self, weight, self.sparsity or 0.0)
        threshold = self.quality * float(weight.double().std(correction=0))
        sparsity = int((weight.double().abs() <= threshold).sum()) / max(1, weight.numel())
        return PruneMask(self, weight, sparsity)

    def code(self, name: str, weight: torch.Tensor, state: nn.Module | None, schemes: tuple[str, ...]) -> CodedTensor:
        """A chain that ends here keeps the remaining floats in binary16."""
        return float_codes(name, weight.numpy(), "float16", schemes)

    def sparsity_at(self, final: float, time: float) -> float:
        """Sparsity at `time`, 0 to 1 of the stage.

        >>> [round(Prune(sparsity=0.9, schedule="cubic", ramp=1.0).sparsity_at(0.9, t), 3) for t in (0.0, 0.5, 1.0)]
        [0.0, 0.787, 0.9]
        >>> [round(Prune(sparsity=0.99, schedule="iterative", rounds=2, ramp=1.0).sparsity_at(0.99, t), 3) for t in (0, 0.6)]
        [0.9, 0.99]
        """
        if self.schedule == "one-shot":
            return final
        position = min(1.0, time / self.ramp)
        if self.schedule == "cubic":
            position = int(position * _CUBIC_STEPS) / _CUBIC_STEPS
            return float(final * (1 - (1 - position) ** 3))
        done = min(self.rounds, int(position * self.rounds) + 1)
        return float(1 - (1 - final) ** (done / self.rounds))


class PruneMask(nn.Module):
    """w -> w * mask.  The mask is recomputed from magnitudes whenever `advance` is called with a new sparsity."""

    mask: torch.Tensor
    sparsity: torch.Tensor

    def __init__(self, scheme: Prune, weight: torch.Tensor, sparsity: float) -> None:
        super().__init__()
        self.scheme = scheme
        self.register_buffer("sparsity", torch.tensor([sparsity, -1.0], dtype=torch.float64))
        self.register_buffer("mask", torch.ones_like(weight, memory_format=torch.contiguous_format))
        self.advance(weight, 0.0)

    @torch.no_grad()
    def advance(self, weight: torch.Tensor, time: float) -> None:
        """Update the mask for `time`, 0 to 1 of the stage, from the weight before masking."""
        final, present = self.sparsity.tolist()
        wanted = self.scheme.sparsity_at(final, time)
        if wanted == present or (time >= self.scheme.ramp and present == final):
            return
        magnitude = torch.where(self.mask > 0, weight.detach().abs(), -1.0)
        zeros = round(wanted * magnitude.numel())
        order = magnitude.flatten().argsort(stable=True)
        mask = torch.ones(len(order), dtype=self.mask.dtype, device=self.mask.device)
        mask[order[:zeros]] = 0
        self.mask.copy_(mask.reshape(self.mask.shape))
        self.sparsity[1] = wanted

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return weight * self.mask
