"""depthwise_separable: a k x k convolution to a depthwise k x k one and a 1x1 one (MobileNet, Howard et al. 2017)."""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from torch import nn

from sepnet.core.network import Kind
from sepnet.core.rewrite import LayerRewrite, Rewritten
from sepnet.rewrites.convolution import as_convolution, convolution, no_convolution, pointwise, put, relative_error

__all__ = ["DepthwiseSeparable"]


class DepthwiseSeparable(LayerRewrite, frozen=True):
    """W[:, c] (filters x k^2), for each channel c, to the nearest matrix of rank `multiplier` (singular values, SVD).

    The left vectors become the 1x1 weights, the right ones the depthwise kernels; each takes the root of the singular value.
    Nothing stands between the two.  Layers: ".depthwise", ".pointwise" (it has the bias, and the layer's groups).

    Options:
        multiplier: depthwise kernels a channel, 1 to k^2; at k^2 the rewrite is exact.

    >>> made = DepthwiseSeparable().rewrite(nn.Conv2d(8, 16, 3))
    >>> {name: tuple(layer.weight.shape) for name, layer in made.module.named_children()}
    {'depthwise': (8, 1, 3, 3), 'pointwise': (16, 8, 1, 1)}
    """

    name: ClassVar[str] = "depthwise_separable"
    kinds: ClassVar[tuple[Kind, ...]] = ("conv kxk",)

    multiplier: int = 1

    def __post_init__(self) -> None:
        if self.multiplier < 1:
            raise ValueError(f"multiplier = {self.multiplier}; expected 1 or more")

    def refuse(self, module: nn.Module) -> str:
        """A k x k convolution that is not depthwise, and not more kernels a channel than there are dimensions."""
        reason = no_convolution(module)
        if reason or not isinstance(module, nn.Conv2d):
            return reason
        if module.groups == module.in_channels:
            return "it is depthwise already"
        most = min(module.out_channels // module.groups, module.kernel_size[0] * module.kernel_size[1])
        return f"multiplier = {self.multiplier}; expected 1 to {most}" if self.multiplier > most else ""

    def replace(self, module: nn.Module, inputs: torch.Tensor | None) -> Rewritten:
        """One SVD a channel."""
        module = as_convolution(module)
        channels, groups, kept = module.in_channels, module.groups, self.multiplier
        filters = module.out_channels // groups
        weight = module.weight.detach().double().reshape(groups, filters, channels // groups, -1)
        left, values, right = torch.linalg.svd(
            weight.transpose(1, 2).reshape(channels, filters, -1), full_matrices=False
        )
        root = values[:, :kept].sqrt()
        depthwise = convolution(module, channels, channels * kept, groups=channels, bias=False)
        put(depthwise.weight, root[:, :, None] * right[:, :kept])
        columns = (left[:, :, :kept] * root[:, None]).reshape(groups, channels // groups, filters, kept)
        beside = pointwise(module, channels * kept, groups)
        put(beside.weight, columns.transpose(1, 2))
        error = relative_error(values[:, kept:].square().sum(), values.square().sum())
        return Rewritten(nn.Sequential(OrderedDict(depthwise=depthwise, pointwise=beside)), error)
