"""pattern: sign binarization of k x k kernels, k > 1 (SEP-Net, Li et al. 2017)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from torch import nn

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.core.scheme import Scheme, Site
from sepnet.schemes.pattern_choice import ENUMERABLE, PatternChoice
from sepnet.schemes.pattern_training import SCALED_BY, FrozenPattern, Schedule, StraightThroughPattern, mean_magnitude

__all__ = ["Pattern"]


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
        gradual: how straight-through training comes from real weights to signs, over the first `ramp` of the stage:
            none         all at once;
            blend        (1 - t) w + t sign(w) scale, t from 0 to 1;
            temperature  scale tanh(w / (scale T)), T from 1 to 1/100, exponentially;
            layers       one layer after the other, in the network's order.
        ramp: fraction of the stage, above 0 to 1.
        freeze: fraction of the stage after which the signs stay as they are and only magnitudes adapt.
        patterns: how many different patterns a layer may have (a dictionary, whose indices are stored); 0 for any.  At
            most 2**(k * k), which are all; a layer of fewer kernels has no more patterns than these, and keeps them all.
        rate: what a bit of a kernel's pattern costs against its squared error in units of scale**2: each kernel takes
            the pattern p with the least |w / scale - p|**2 + rate * -log2 P(p), P being how often the layer has p; only
            weights near zero flip.  About 0.1 makes 3 x 3 patterns a bit shorter, 0 counts errors only.
    """

    name: ClassVar[str] = "pattern"
    zeros: ClassVar[bool] = False

    scale: Literal["global", "layer", "filter", "kernel"] = "filter"
    offset: float | None = None
    train: Literal["frozen", "straight-through"] = "frozen"
    gradual: Literal["none", "blend", "temperature", "layers"] = "none"
    ramp: float = 0.5
    freeze: float = 1.0
    patterns: int = 0
    rate: float = 0.0

    def __post_init__(self) -> None:
        if self.offset is not None and (self.scale != "global" or self.offset <= 0):
            raise ValueError('offset needs scale = "global" and a value above 0')
        if not 0 < self.ramp <= 1:
            raise ValueError(f"ramp = {self.ramp}; expected above 0 to 1, of the stage")
        if not 0 <= self.freeze <= 1:
            raise ValueError(f"freeze = {self.freeze}; expected 0 to 1, of the stage")
        if self.train == "frozen" and self.gradual != "none":
            raise ValueError(f'gradual = {self.gradual} needs train = "straight-through"')
        if self.train == "frozen" and self.freeze != 1:
            raise ValueError(f'freeze = {self.freeze} needs train = "straight-through"')
        if self.patterns < 0 or self.patterns == 1:
            raise ValueError(f"patterns = {self.patterns}; expected 0, or at least 2")
        if not 0 <= self.rate < float("inf"):
            raise ValueError(f"rate = {self.rate}; expected 0 or more")

    @property
    def settles(self) -> float:
        """Until the ramp is over."""
        return 0.0 if self.gradual == "none" else self.ramp

    def refuse(self, site: Site) -> str:
        """Only kernels with a spatial extent hold a pattern."""
        if len(site.shape) < 3 or all(side == 1 for side in site.shape[2:]):
            return f"its weight {list(site.shape)} ({site.kind}) has no k x k kernel with k > 1"
        size = int(np.prod(site.shape[2:]))
        if self.patterns > 2**size:
            return f"a kernel of {size} signs has 2**{size} = {2**size} patterns, patterns = {self.patterns} are more"
        if self.rate and not self.patterns and size > ENUMERABLE:
            return f"rate weighs all patterns of a kernel, which {size} signs have too many of; say patterns = 256, or fewer"
        return ""

    def attach(self, weight: torch.Tensor, peers: list[torch.Tensor]) -> nn.Module:
        """Frozen signs with trainable magnitudes, or real weights behind straight-through signs."""
        weight = weight.detach()
        if self.scale == "global":
            total = sum(float(peer.abs().sum()) for peer in peers)
            mean = self.offset or total / max(1, sum(peer.numel() for peer in peers))
            scale = torch.full((1,) * weight.ndim, mean)
        else:
            scale = mean_magnitude(weight, self.scale)
        choice = PatternChoice(weight, scale, self.patterns, self.rate) if self.patterns or self.rate else None
        if self.train == "frozen":
            positive = weight > 0 if choice is None else choice(weight, scale) > 0
            return FrozenPattern(positive, scale, trainable=self.scale != "global")
        place = next((at for at, peer in enumerate(peers) if peer.data_ptr() == weight.data_ptr()), 0)
        schedule = Schedule(self.gradual, self.ramp, self.freeze, place / max(1, len(peers)))
        return StraightThroughPattern(weight, scale=scale, per=self.scale, schedule=schedule, choice=choice)

    def code(self, name: str, weight: torch.Tensor, state: nn.Module | None, schemes: tuple[str, ...]) -> CodedTensor:
        """Signs and magnitudes."""
        if isinstance(state, FrozenPattern):
            signs, scale = state.signs > 0, state.scale.detach()
        else:
            signs, scale = weight > 0, mean_magnitude(weight, self.scale)
        kept = scale.reshape(scale.shape[: SCALED_BY[self.scale]])
        return CodedTensor(name, signs.numpy().astype(np.int64), "sign", schemes, Half.of(kept.numpy()))
