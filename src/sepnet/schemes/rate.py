"""rate: quantization with a learned step, trained against the entropy of its codes (rate-distortion training)."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.core.scheme import Scheme
from sepnet.schemes.linear import best_step
from sepnet.schemes.rate_model import CodeModel, by_rows
from sepnet.schemes.rate_training import bounded_gradient, round_straight_through

__all__ = ["Rate", "RateQuantizer"]


class Rate(Scheme, frozen=True):
    """w -> step x round(w / step), with `price` x estimated kilobytes of the codes added to the training loss.

    The step is learned (LSQ, Esser et al. 2020).  The estimate is the entropy of the codes under a model with a density
    for each row and column, see `CodeModel`; its gradient pushes a weight towards the next cheaper code, hardest where few
    neighbours are kept, so that sparsity, bits and dead units come out of the training.  Gradients of the
    task pass straight through rounding.  Use it alone or after `prune`.

    Options:
        price: what a kilobyte (1000 bytes) of this weight's codes adds to the loss, in nats; 0 trains the step alone.
        bits: 2 to 8; width of the first step and of the largest code, 2^(bits-1) - 1.
        dead_zone: how far a bit moves rounding towards 0: w / step becomes 0 below 1/2 + dead_zone / 2 x the bits that
            this saves, at most below 1; 0 rounds to the nearest.
        ramp: fraction of the stage over which price and dead zone rise from 0.
    """

    name: ClassVar[str] = "rate"

    price: float = 0.001
    bits: int = 5
    dead_zone: float = 0.0
    ramp: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.price < math.inf:
            raise ValueError(f"price = {self.price}; expected 0 or more, of the loss for 1000 bytes")
        if not 2 <= self.bits <= 8:
            raise ValueError(f"bits = {self.bits}; expected 2 to 8")
        if not 0 <= self.dead_zone <= 1:
            raise ValueError(f"dead_zone = {self.dead_zone}; expected 0 to 1, of two steps a bit")
        if not 0 < self.ramp <= 1:
            raise ValueError(f"ramp = {self.ramp}; expected above 0 to 1, of the stage")

    @property
    def settles(self) -> float:
        """Until the dead zone has its width."""
        return self.ramp if self.dead_zone else 0.0

    @property
    def largest(self) -> int:
        """The largest code."""
        return int(2 ** (self.bits - 1)) - 1

    def attach(self, weight: torch.Tensor, peers: list[torch.Tensor]) -> nn.Module:
        """A quantizer with the step of least squared error."""
        return RateQuantizer(self, weight.detach())

    def code(self, name: str, weight: torch.Tensor, state: nn.Module | None, schemes: tuple[str, ...]) -> CodedTensor:
        """The integers behind an already quantized weight (or of a float one, when nothing was trained)."""
        step = state.step() if isinstance(state, RateQuantizer) else best_step(weight, self.largest)
        step = step.detach()
        codes = torch.clamp(torch.round(weight / step), -self.largest, self.largest)
        return CodedTensor(name, codes.numpy().astype(np.int64), "integer", schemes, Half.of(step.numpy()))


class RateQuantizer(nn.Module):
    """w -> step x round(w / step), gradients straight through, with a penalty for the bits of the codes."""

    first: torch.Tensor
    time: torch.Tensor

    def __init__(self, scheme: Rate, weight: torch.Tensor) -> None:
        super().__init__()
        self.scheme = scheme
        self.register_buffer("first", best_step(weight, scheme.largest).float())
        self.growth = nn.Parameter(torch.zeros(()))
        self.register_buffer("time", torch.zeros(()))
        self.model = CodeModel(weight.shape)
        self.model.observe(self._codes(weight))

    def step(self) -> torch.Tensor:
        """The learned step, `first` x e^(2 tanh(growth / 2)): from 1/7.4 to 7.4 times the first."""
        return self._step(self.growth)

    def _step(self, growth: torch.Tensor) -> torch.Tensor:
        return self.first * (2 * torch.tanh(growth / 2)).exp()

    def advance(self, weight: torch.Tensor, time: float) -> None:
        """Price and dead zone rise with the time."""
        self.time.fill_(min(1.0, time / self.scheme.ramp))

    def penalty(self, weight: torch.Tensor) -> torch.Tensor:
        """The price of the codes of `weight`; first counts in them what is likely.

        It is linear in weight and step, with the gradient that the price of the codes has where bits grow in a line from one
        magnitude to the next.  For the gradient of the step only magnitudes above 1 count, not what a larger step would
        save by letting small weights vanish.
        """
        with torch.no_grad():
            step = self.step()
            units, codes = weight / step, self._codes(weight)
            self.model.observe(codes)
            price = self.scheme.price * self.time / 8000
            by_weight = self.model.slope(units).mul_(price / step)
            beyond = codes.abs_().sub_(1).clamp_(0, 1).mul_(units.abs_()).sum()
            by_step = price * self.model.bits_of_one_more() * beyond / step
        return (weight * by_weight).sum() - self._learned_step() * by_step

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return round_straight_through(weight, self._learned_step(), self._codes(weight), self.scheme.largest)

    def _learned_step(self) -> torch.Tensor:
        """The step, with LSQ's gradient, over sqrt(codes kept x largest), for a change relative to the first step."""
        factor = 1 / (self.first.square() * ((self.model.kept + 1) * self.scheme.largest).sqrt())
        return self._step(bounded_gradient(self.growth, factor))

    @torch.no_grad()
    def _codes(self, weight: torch.Tensor) -> torch.Tensor:
        units = weight / self.step()
        codes = units.round().clamp_(-self.scheme.largest, self.scheme.largest)
        if self.scheme.dead_zone:
            zone = (
                self.model.bits_of_a_one().mul_(self.scheme.dead_zone / 2 * float(self.time)).add_(0.5).clamp_(0.5, 1.0)
            )
            codes = codes * (by_rows(units).abs() >= zone).reshape(weight.shape)
        return codes
