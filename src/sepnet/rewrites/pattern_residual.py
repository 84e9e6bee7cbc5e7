"""pattern_residual: a k x k convolution to a pattern residual block (SEP-Net, Li et al. 2017)."""

from __future__ import annotations

import copy
from typing import ClassVar

import torch
from torch import nn

from sepnet.core.network import Kind
from sepnet.core.rewrite import LayerRewrite, Rewritten
from sepnet.networks.sepnet import PatternResidualBlock
from sepnet.rewrites.convolution import as_convolution, no_convolution

__all__ = ["PatternResidual"]


class PatternResidual(LayerRewrite, frozen=True):
    """W * x to W * x + V x, with V, a 1x1 convolution, zero: exact at the start, and room to learn when W becomes signs.

    The block has neither batch normalization nor activation of its own; those of the network follow it.
    Layers: ".kxk" (the convolution as it is), ".pointwise" (no bias).

    Options:
        groups: of the 1x1 convolution; those of the layer when not given.

    >>> conv = nn.Conv2d(8, 16, 3, padding=1)
    >>> made = PatternResidual().rewrite(conv)
    >>> x = torch.randn(1, 8, 5, 5)
    >>> made.error, bool((made.module(x) == conv(x)).all())
    (0.0, True)
    """

    name: ClassVar[str] = "pattern_residual"
    kinds: ClassVar[tuple[Kind, ...]] = ("conv kxk", "depthwise")

    groups: int | None = None

    def __post_init__(self) -> None:
        if self.groups is not None and self.groups < 1:
            raise ValueError(f"groups = {self.groups}; expected 1 or more")

    def refuse(self, module: nn.Module) -> str:
        """The 1x1 convolution must fit: the pixel in the middle of each window, and groups that divide."""
        reason = no_convolution(module)
        if reason or not isinstance(module, nn.Conv2d):
            return reason
        if not _keeps_size(module):
            return f"kernel {module.kernel_size} with padding {module.padding} has no pixel of the input in the middle of each window; expected an odd kernel and padding = dilation * (k - 1) / 2"
        groups = self.groups or module.groups
        if module.in_channels % groups or module.out_channels % groups:
            return (
                f"groups = {groups} does not divide its {module.in_channels} channels and {module.out_channels} filters"
            )
        return ""

    def replace(self, module: nn.Module, inputs: torch.Tensor | None) -> Rewritten:
        """The convolution, and zeros beside it."""
        module = as_convolution(module)
        groups = self.groups or module.groups
        block = PatternResidualBlock(
            module.in_channels,
            module.out_channels,
            1,
            stride=1,
            groups=module.groups,
            pointwise_groups=groups,
            norm=False,
            activation=False,
        )
        block.kxk = copy.deepcopy(module)
        block.pointwise = nn.Conv2d(
            module.in_channels,
            module.out_channels,
            1,
            module.stride,  # type: ignore[arg-type]
            groups=groups,
            bias=False,
            device=module.weight.device,
            dtype=module.weight.dtype,
        )
        nn.init.zeros_(block.pointwise.weight)
        return Rewritten(block, 0.0)


def _keeps_size(conv: nn.Conv2d) -> bool:
    """Whether a 1x1 convolution of the same stride gives as many outputs, each from the middle of its window."""
    if isinstance(conv.padding, str):
        return conv.padding == "same"
    reach = [side * (kernel - 1) for side, kernel in zip(conv.dilation, conv.kernel_size, strict=True)]
    return [2 * side for side in conv.padding] == reach
