"""global_pool: fully connected layers on a flattened map to a global average pool and one layer (Lin et al. 2013)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from sepnet.core.errors import NetworkError
from sepnet.core.network import Kind
from sepnet.core.rewrite import LayerRewrite, Rewritten
from sepnet.rewrites.convolution import put, relative_error

__all__ = ["GlobalPool", "PooledLinear"]

_AROUND = (nn.ReLU, nn.Dropout, nn.Flatten, nn.Identity)
_SLOPE = 0.5
"""Of the line nearest to ReLU for inputs that are as often above 0 as below."""
_RIDGE = 1e-2


class GlobalPool(LayerRewrite, frozen=True):
    """y = W x + b of a map x of C channels and P positions to y = V mean(x) + b', the mean over the positions.

    Without images V[:, c] is the sum of W[:, c, p] over p: least squared error when all inputs are alike and independent.
    Of a stack of layers W is their product, each ReLU taken as a line of slope 1/2: a place to start from, no more.  With
    images (a recipe has those of the training split) V and b' are of least squared error on the outputs for these, with
    a ridge of 0.01 mean(x^2) towards the values without images; the error is then of the outputs,
    |y - y'|^2 / |y - mean(y)|^2.

    A `Linear`, or a `Sequential` of `Linear`, `ReLU`, `Dropout` and `Flatten` by its own name.  Layer: ".fc", of C inputs.

    Options:
        positions: P, height x width of the map that is flattened, 49 for 7x7.

    >>> made = GlobalPool(positions=49).rewrite(nn.Linear(512 * 49, 10))
    >>> made.module(torch.zeros(2, 512 * 49)).shape, made.module.fc.weight.shape
    (torch.Size([2, 10]), torch.Size([10, 512]))
    """

    name: ClassVar[str] = "global_pool"
    kinds: ClassVar[tuple[Kind, ...]] = ("fc",)
    looks: ClassVar[bool] = True

    positions: int

    def __post_init__(self) -> None:
        if self.positions < 1:
            raise ValueError(f"positions = {self.positions}; expected 1 or more")

    def refuse(self, module: nn.Module) -> str:
        """Only fully connected layers, and as many inputs as channels times positions."""
        layers = list(module) if type(module) is nn.Sequential else [module]
        strange = [layer for layer in layers if type(layer) is not nn.Linear and not isinstance(layer, _AROUND)]
        linear = [layer for layer in layers if type(layer) is nn.Linear]
        if strange or not linear:
            found = strange[0] if strange else module
            return f"found a {type(found).__name__}; expected a Linear, or a Sequential of Linear, ReLU, Dropout and Flatten"
        inputs = linear[0].in_features
        return f"positions = {self.positions} does not divide its {inputs} inputs" if inputs % self.positions else ""

    @torch.no_grad()
    def replace(self, module: nn.Module, inputs: torch.Tensor | None) -> Rewritten:
        """The line without images, then the one with them."""
        layers = list(module) if isinstance(module, nn.Sequential) else [module]
        linear = [layer for layer in layers if isinstance(layer, nn.Linear)]
        weight, bias = _product(layers)
        channels, like = linear[0].in_features // self.positions, linear[0].weight
        pooled = weight.reshape(-1, channels, self.positions).sum(dim=2)
        lost = weight.square().sum() - pooled.square().sum() / self.positions
        error = relative_error(max(0.0, float(lost)), weight.square().sum())
        if inputs is not None:
            pooled, bias, error = self._fit(module, inputs, pooled, bias)
        made = PooledLinear(self.positions, channels, len(bias)).to(like)
        put(made.fc.weight, pooled)
        put(made.fc.bias, bias)
        return Rewritten(made, error)

    def _fit(
        self, module: nn.Module, inputs: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, float]:
        """Ridge regression of what is left of the module's outputs on the means."""
        if inputs[0].numel() != weight.shape[1] * self.positions:
            raise NetworkError(
                f"rewrite 'global_pool': the layer gets {list(inputs.shape[1:])}; expected {weight.shape[1]} channels of {self.positions} positions"
            )
        training = module.training
        wanted = module.eval()(inputs).double()
        module.train(training)
        means = inputs.double().reshape(len(inputs), -1, self.positions).mean(dim=2)
        left = wanted - means @ weight.T - bias
        around, offset = means - means.mean(dim=0), left.mean(dim=0)
        gram = around.T @ around
        ridge = _RIDGE * means.square().sum() / len(weight.T) + torch.finfo(torch.float64).tiny
        gram += ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
        more = torch.linalg.solve(gram, around.T @ left).T
        weight, bias = weight + more, bias + offset - more @ means.mean(dim=0)
        spread = (wanted - wanted.mean(dim=0)).square().sum()
        return weight, bias, relative_error((wanted - means @ weight.T - bias).square().sum(), spread)


class PooledLinear(nn.Module):
    """Mean over the positions of each channel, then a fully connected layer; the map may be flattened already."""

    def __init__(self, positions: int, channels: int, outputs: int) -> None:
        super().__init__()
        self.positions, self.channels = positions, channels
        self.fc = nn.Linear(channels, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, channels, ...) or (n, channels x positions) to (n, outputs)."""
        return self.fc(x.reshape(-1, self.channels, self.positions).mean(dim=2))  # type: ignore[no-any-return]


def _product(layers: list[nn.Module]) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias, binary64, of the line that the layers are when each ReLU is one."""
    slope = 1.0
    parts: list[tuple[torch.Tensor, torch.Tensor]] = []
    for layer in layers:
        if isinstance(layer, nn.ReLU) and parts:
            slope *= _SLOPE
        if isinstance(layer, nn.Linear):
            own = layer.weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias
            parts.append((slope * layer.weight.double(), own.double()))
            slope = 1.0
    weight, bias = parts[-1]
    for before, shift in reversed(parts[:-1]):
        weight, bias = weight @ before, bias + weight @ shift
    return slope * weight, slope * bias
