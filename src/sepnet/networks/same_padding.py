"""Convolutions that pad as TensorFlow does, for networks that were trained there."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from sepnet.networks.arguments import check_choice

__all__ = ["PADDINGS", "SameConv2d", "conv3x3"]

PADDINGS = ("torch", "tf")


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's padding SAME: the output has ceil(side / stride) rows and columns.

    Along each axis max(0, (ceil(side / stride) - 1) * stride + kernel - side) zeros are added, half of them before; an
    odd one goes behind.  So a 3x3 convolution of stride 2 pads an even side with 0 before and 1 behind, where
    `padding=1` has 1 and 1: the grid of outputs is one pixel apart.  Keys and shapes are those of `nn.Conv2d`.

    >>> SameConv2d(3, 8, 3, stride=2)(torch.zeros(1, 3, 224, 193)).shape
    torch.Size([1, 8, 112, 97])
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """(n, channels, h, w) to (n, filters, ceil(h / stride), ceil(w / stride))."""
        pads: list[int] = []
        for side, kernel, stride in zip(input.shape[2:], self.kernel_size, self.stride, strict=True):
            total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
            pads = [total // 2, total - total // 2, *pads]
        return super().forward(functional.pad(input, pads))


def conv3x3(in_channels: int, out_channels: int, stride: int, *, groups: int = 1, padding: str = "torch") -> nn.Conv2d:
    """A 3x3 convolution without bias; `padding` is `torch`, 1 on every side, or `tf`, as `SameConv2d`.

    At stride 1 the two are the same.  Raises `NetworkError` for another padding.
    """
    check_choice("padding", padding, PADDINGS)
    if padding == "tf" and stride > 1:
        return SameConv2d(in_channels, out_channels, 3, stride, groups=groups, bias=False)
    return nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, groups=groups, bias=False)
