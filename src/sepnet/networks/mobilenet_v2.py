"""MobileNet v2 (Sandler et al. 2018, arXiv 1801.04381): inverted residuals, with torchvision's names."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments, check_width
from sepnet.networks.same_padding import conv3x3

__all__ = ["InvertedResidual", "MobileNetV2", "mobilenet_v2"]

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, filters, blocks and stride of the first block, of each stage at width 1."""


class InvertedResidual(nn.Module):
    """1x1 to `expansion` times the channels, depthwise 3x3, 1x1 without ReLU; added to the input if shapes allow."""

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, *, expansion: int, padding: str = "torch"
    ) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.add = stride == 1 and in_channels == out_channels
        self.conv = nn.Sequential(
            *([_norm_relu(nn.Conv2d(in_channels, hidden, 1, bias=False))] if expansion != 1 else []),
            _norm_relu(conv3x3(hidden, hidden, stride, groups=hidden, padding=padding)),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in_channels, h, w) to (n, out_channels, h / stride, w / stride)."""
        return x + self.conv(x) if self.add else self.conv(x)  # type: ignore[no-any-return]


def _norm_relu(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU6())


class MobileNetV2(nn.Module):
    """3x3 /2 stem, 17 inverted residuals in seven stages, 1x1 to 1280, global average pool, one fc.

    =====  =========  ==================
    width  params     macs at 3x224x224
    =====  =========  ==================
    0.5    1,968,680  97.1 M
    0.75   2,636,424  209.1 M
    1.0    3,504,872  300.8 M
    1.4    6,108,776  582.2 M
    =====  =========  ==================

    `width` multiplies the filters of every layer (the last only if above 1), to the nearest multiple of 8 that is not
    less than nine tenths of it.  `padding="tf"` is for weights from TensorFlow (`SameConv2d`); "torch" pads one pixel on
    every side.  Input (n, in_channels, height, width) of any size; output (n, num_classes).
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        *,
        dropout: float = 0.2,
        width: float = 1.0,
        padding: str = "torch",
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=1)
        check_width(width)
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        channels = _round(32 * width)
        features: list[nn.Module] = [_norm_relu(conv3x3(in_channels, channels, 2, padding=padding))]
        for expansion, filters, blocks, stride in STAGES:
            for at in range(blocks):
                step, out = stride if at == 0 else 1, _round(filters * width)
                features.append(InvertedResidual(channels, out, step, expansion=expansion, padding=padding))
                channels = out
        last = _round(1280 * max(1.0, width))
        self.features = nn.Sequential(*features, _norm_relu(nn.Conv2d(channels, last, 1, bias=False)))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))  # type: ignore[no-any-return]


def _round(channels: float) -> int:
    """The nearest multiple of 8, at least 8 and at least 0.9 of `channels`.

    >>> [_round(c) for c in (3, 18, 24, 33.6, 44.8)]
    [8, 24, 24, 32, 48]
    """
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def mobilenet_v2(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: float = 0.2,
    width: float = 1.0,
    padding: str = "torch",
) -> MobileNetV2:
    """MobileNet v2; `padding` is `torch`, or `tf` for weights from TensorFlow.  `NetworkError` for arguments out of range.

    >>> sum(p.numel() for p in mobilenet_v2().parameters())
    3504872
    """
    return MobileNetV2(num_classes, in_channels, image_size, dropout=dropout, width=width, padding=padding)
