"""ResNet (He et al. 2015, arXiv 1512.03385) for ImageNet, with torchvision's names."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments

__all__ = ["BasicBlock", "Bottleneck", "ResNet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with BN, added to the input; where the size changes the input passes a 1x1 and BN."""

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(x)) + shortcut)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times the width, added to the input.  The stride is in the 3x3 (torchvision's "v1.5")."""

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = _shortcut(in_channels, 4 * width, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)))
        return torch.relu(self.bn3(self.conv3(x)) + shortcut)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class ResNet(nn.Module):
    """7x7 /2 stem, max-pool, four stages of residual blocks, global average pool, one fc.

    =========  ==========  =========================  ===========  ==================
    network    block       blocks                     params       macs at 3x224x224
    =========  ==========  =========================  ===========  ==================
    resnet18   basic       2, 2, 2, 2                 11,689,512   1.81 G
    resnet34   basic       3, 4, 6, 3                 21,797,672   3.66 G
    resnet50   bottleneck  3, 4, 6, 3                 25,557,032   4.09 G
    resnet101  bottleneck  3, 4, 23, 3                44,549,160   7.80 G
    resnet152  bottleneck  3, 8, 36, 3                60,192,808   11.51 G
    =========  ==========  =========================  ===========  ==================

    Input (n, in_channels, height, width) of any size; output (n, num_classes).
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        blocks: tuple[int, int, int, int],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=0.0, smallest=1)
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels, stages = 64, []
        for stage, count in enumerate(blocks):
            row = []
            for at in range(count):
                row.append(block(channels, 64 << stage, 2 if stage > 0 and at == 0 else 1))
                channels = (64 << stage) * block.expansion
            stages.append(nn.Sequential(*row))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


def resnet18(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224) -> ResNet:
    """ResNet-18.  `NetworkError` for arguments out of range.

    >>> sum(p.numel() for p in resnet18().parameters())
    11689512
    """
    return ResNet(BasicBlock, (2, 2, 2, 2), num_classes=num_classes, in_channels=in_channels, image_size=image_size)


def resnet34(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224) -> ResNet:
    """ResNet-34.  `NetworkError` for arguments out of range."""
    return ResNet(BasicBlock, (3, 4, 6, 3), num_classes=num_classes, in_channels=in_channels, image_size=image_size)


def resnet50(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224) -> ResNet:
    """ResNet-50.  `NetworkError` for arguments out of range.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in resnet50().parameters())
    25557032
    """
    return ResNet(Bottleneck, (3, 4, 6, 3), num_classes=num_classes, in_channels=in_channels, image_size=image_size)


def resnet101(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224) -> ResNet:
    """ResNet-101.  `NetworkError` for arguments out of range."""
    return ResNet(Bottleneck, (3, 4, 23, 3), num_classes=num_classes, in_channels=in_channels, image_size=image_size)


def resnet152(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224) -> ResNet:
    """ResNet-152.  `NetworkError` for arguments out of range."""
    return ResNet(Bottleneck, (3, 8, 36, 3), num_classes=num_classes, in_channels=in_channels, image_size=image_size)
