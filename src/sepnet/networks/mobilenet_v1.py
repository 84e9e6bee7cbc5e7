"""MobileNet v1 (Howard et al. 2017, arXiv 1704.04861): depthwise and pointwise convolutions in turn."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments, check_width
from sepnet.networks.same_padding import conv3x3

__all__ = ["MobileNetV1", "Separable", "mobilenet_v1"]

BLOCKS = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *[(512, 1)] * 5, (1024, 2), (1024, 1))
"""Filters and stride of the 13 blocks at width 1."""


class Separable(nn.Module):
    """Depthwise 3x3, BN, ReLU6, then pointwise 1x1, BN, ReLU6."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, padding: str = "torch") -> None:
        super().__init__()
        self.depthwise = conv3x3(in_channels, in_channels, stride, groups=in_channels, padding=padding)
        self.depthwise_bn = nn.BatchNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pointwise_bn = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU6()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        x = self.relu(self.depthwise_bn(self.depthwise(x)))
        return self.relu(self.pointwise_bn(self.pointwise(x)))  # type: ignore[no-any-return]


class MobileNetV1(nn.Module):
    """3x3 /2 stem of 32 filters, 13 separable blocks, global average pool, one fc.

    =====  =========  ==========  ==================
    width  params     of them fc  macs at 3x224x224
    =====  =========  ==========  ==================
    0.25   470,072    257,000     41.0 M
    0.5    1,331,592  513,000     149.5 M
    0.75   2,585,560  769,000     325.4 M
    1.0    4,231,976  1,025,000   568.7 M
    =====  =========  ==========  ==================

    `width` multiplies the filters of every layer, rounded down, at least 8.  ReLU6 as in TensorFlow's release, and with
    `padding="tf"` also its padding, for weights from there (`SameConv2d`); "torch" pads one pixel on every side.
    Input (n, in_channels, height, width) of any size; output (n, num_classes).
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        *,
        dropout: float = 0.001,
        width: float = 1.0,
        padding: str = "torch",
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=1)
        check_width(width)
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        channels = max(8, int(32 * width))
        self.conv0 = conv3x3(in_channels, channels, 2, padding=padding)
        self.bn0 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU6()
        blocks = []
        for filters, stride in BLOCKS:
            blocks.append(Separable(channels, max(8, int(filters * width)), stride, padding))
            channels = max(8, int(filters * width))
        self.blocks = nn.Sequential(*blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = self.blocks(self.relu(self.bn0(self.conv0(x))))
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))  # type: ignore[no-any-return]


def mobilenet_v1(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: float = 0.001,
    width: float = 1.0,
    padding: str = "torch",
) -> MobileNetV1:
    """MobileNet v1, `width` 0.25, 0.5, 0.75 and 1 are published.  `padding` is `torch`, or `tf` for weights from
    TensorFlow.  `NetworkError` for arguments out of range.

    >>> [sum(p.numel() for p in mobilenet_v1(width=width).parameters()) for width in (0.25, 1.0)]
    [470072, 4231976]
    """
    return MobileNetV1(num_classes, in_channels, image_size, dropout=dropout, width=width, padding=padding)
