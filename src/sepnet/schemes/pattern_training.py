"""The parametrizations behind the pattern scheme: what the network computes with while it is fine-tuned."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sepnet.schemes.pattern_choice import PatternChoice

__all__ = ["SCALED_BY", "FrozenPattern", "Schedule", "StraightThroughPattern", "mean_magnitude"]


SCALED_BY = {"global": 0, "layer": 0, "filter": 1, "kernel": 2}
"""How many of a weight's first dimensions its magnitudes have."""


def mean_magnitude(weight: torch.Tensor, scale: str) -> torch.Tensor:
    """mean(abs(w)) over a layer, filter or kernel, dimensions kept.

    >>> mean_magnitude(torch.tensor([[1.0, -3.0], [0.0, 2.0]]), "filter").flatten().tolist()
    [2.0, 1.0]
    """
    return weight.abs().mean(dim=tuple(range(SCALED_BY[scale], weight.ndim)), keepdim=True)


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


@dataclass(frozen=True)
class Schedule:
    """When real weights become signs, see `Pattern`; `place` is the layer's, 0 for the first to below 1 for the last."""

    gradual: str = "none"
    ramp: float = 0.5
    freeze: float = 1.0
    place: float = 0.0

    def hardness(self, time: float) -> float:
        """How far, 0 to 1, the weights are signs at `time`, 0 to 1 of the stage.

        >>> [Schedule("blend").hardness(t) for t in (0, 0.25, 0.5)], [Schedule("layers", place=0.5).hardness(t) for t in (0.2, 0.25)]
        ([0.0, 0.5, 1.0], [0.0, 1.0])
        """
        if self.gradual == "none" or time >= self.ramp:
            return 1.0
        if self.gradual == "layers":
            return float(time / self.ramp >= self.place)
        return time / self.ramp


class StraightThroughPattern(nn.Module):
    """w -> sign(w) * mean(abs(w)), or what `schedule` and `choice` make of it; a global magnitude is fixed.

    Once the signs are frozen the gradient reaches the weights through the magnitude alone.
    """

    fixed: torch.Tensor
    hardness: torch.Tensor
    frozen: torch.Tensor

    def __init__(
        self, weight: torch.Tensor, *, scale: torch.Tensor, per: str, schedule: Schedule, choice: PatternChoice | None
    ) -> None:
        super().__init__()
        self.per, self.schedule, self.choice = per, schedule, choice
        self.register_buffer("fixed", scale if per == "global" else torch.zeros(()))
        self.register_buffer("hardness", torch.tensor(schedule.hardness(0.0)))
        self.register_buffer("frozen", torch.zeros(weight.shape if schedule.freeze < 1 else (0,), dtype=torch.int8))
        self._hardness, self._is_frozen = schedule.hardness(0.0), False
        self.register_load_state_dict_post_hook(_recall)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def advance(self, weight: torch.Tensor, time: float) -> None:
        """Take over the `hardness` of the time, and freeze the signs when it has come."""
        hardness = self.schedule.hardness(time)
        if hardness != self._hardness:
            self.hardness.fill_(hardness)
            self._hardness = hardness
        if self.schedule.freeze < 1 and not self._is_frozen and time >= self.schedule.freeze:
            self.frozen.copy_(self._signs(weight, self._scale(weight)))
            self._is_frozen = True

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        if self._is_frozen:
            return self.frozen * (self.fixed if self.per == "global" else mean_magnitude(weight, self.per))
        scale = self._scale(weight)
        if self._hardness >= 1 and self.choice is None:
            return _SignStraightThrough.apply(weight, scale)  # type: ignore[no-any-return, no-untyped-call]
        if self.schedule.gradual == "temperature" and self._hardness < 1:
            sharpness = 100.0**self._hardness / scale.clamp_min(torch.finfo(scale.dtype).tiny)
            return scale * torch.tanh(weight * sharpness)
        hard = self._signs(weight, scale) * scale
        return _Replaced.apply(weight, torch.lerp(weight.detach(), hard, self._hardness))  # type: ignore[no-any-return, no-untyped-call]

    def _recall(self) -> None:
        """Numbers that `forward` needs every time, kept outside of tensors, which may lie on another device."""
        self._hardness, self._is_frozen = float(self.hardness), bool(self.frozen.any())

    def _scale(self, weight: torch.Tensor) -> torch.Tensor:
        return self.fixed if self.per == "global" else mean_magnitude(weight.detach(), self.per)

    def _signs(self, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """+1 and -1, the weight's shape."""
        if self.choice is not None:
            chosen: torch.Tensor = self.choice(weight.detach(), scale)
            return chosen
        return torch.where(weight.detach() > 0, 1.0, -1.0)


def _recall(module: StraightThroughPattern, _: Any) -> None:
    module._recall()


class _SignStraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        # copysign is several times faster than a comparison; the least normal number makes a zero negative.
        return torch.copysign(scale, weight - torch.finfo(weight.dtype).tiny)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0], None


class _Replaced(torch.autograd.Function):
    """The second tensor forward, the first one's gradient backward."""

    @staticmethod
    def forward(ctx: Any, weight: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return value

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0], None
