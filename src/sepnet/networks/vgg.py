"""VGG (Simonyan and Zisserman 2014, arXiv 1409.1556) for 224x224, with torchvision's names, and for CIFAR's 32x32."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments, check_choice

__all__ = [
    "VGG",
    "VGGCifar",
    "vgg11",
    "vgg11_cifar",
    "vgg13",
    "vgg13_cifar",
    "vgg16",
    "vgg16_cifar",
    "vgg19",
    "vgg19_cifar",
]

WIDTHS = (64, 128, 256, 512, 512)
CONVS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
"""Depth -> number of convolutions in each of the five stages."""


class VGG(nn.Module):
    """Five stages of 3x3 convolutions, a max-pool 2x2 after each, and three fully connected layers.

    =======  ===========  ============  ============  ===========  ======================
    network  params       conv          fc            with BN      macs at 3x224x224
    =======  ===========  ============  ============  ===========  ======================
    vgg11    132,863,336  9,220,480     123,642,856   132,868,840  7.61 G
    vgg13    133,047,848  9,404,992     123,642,856   133,053,736  11.31 G
    vgg16    138,357,544  14,714,688    123,642,856   138,365,992  15.47 G
    vgg19    143,667,240  20,024,384    123,642,856   143,678,248  19.63 G
    =======  ===========  ============  ============  ===========  ======================

    `batch_norm=True` puts one after each convolution, which keeps its bias.  Another input size than 224 meets an
    average pool to 7x7.  Input (n, in_channels, height, width), both sides >= 32; output (n, num_classes).
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        *,
        dropout: float = 0.5,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=32)
        check_choice("batch_norm", batch_norm, (True, False))
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.features = _features(depth, in_channels, batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))  # type: ignore[no-any-return]


class VGGCifar(nn.Module):
    """The same convolutions with batch normalization, a global average pool and one fully connected layer 512 to 10.

    ===========  ===========  ====================
    network      params       macs at 3x32x32
    ===========  ===========  ====================
    vgg11_cifar  9,231,114    152.8 M
    vgg13_cifar  9,416,010    228.3 M
    vgg16_cifar  14,728,266   313.2 M
    vgg19_cifar  20,040,522   398.1 M
    ===========  ===========  ====================

    Not of the paper: the form in which the field trains VGG on CIFAR (github.com/kuangliu/pytorch-cifar); convolutions
    keep their biases there and here.  Input both sides >= 32; output (n, num_classes).
    """

    def __init__(
        self, depth: int, num_classes: int = 10, in_channels: int = 3, image_size: int = 32, *, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=32)
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.features = _features(depth, in_channels, batch_norm=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(512, num_classes)
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = torch.flatten(self.avgpool(self.features(x)), 1)
        return self.classifier(self.dropout(x))  # type: ignore[no-any-return]


def _features(depth: int, in_channels: int, batch_norm: bool) -> nn.Sequential:
    check_choice("depth", depth, tuple(CONVS))
    layers: list[nn.Module] = []
    for convs, width in zip(CONVS[depth], WIDTHS, strict=True):
        for _ in range(convs):
            norm = [nn.BatchNorm2d(width)] if batch_norm else []
            layers += [nn.Conv2d(in_channels, width, 3, padding=1), *norm, nn.ReLU()]
            in_channels = width
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _initialize(model: nn.Module) -> None:
    """He et al. 2015 for convolutions, normal of deviation 0.01 for fc, as torchvision does."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0.0, 0.01)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)


def vgg11(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: float = 0.5,
    batch_norm: bool = False,
) -> VGG:
    """VGG-11, the paper's A.  `NetworkError` for arguments out of range."""
    return VGG(11, num_classes, in_channels, image_size, dropout=dropout, batch_norm=batch_norm)


def vgg13(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: float = 0.5,
    batch_norm: bool = False,
) -> VGG:
    """VGG-13, the paper's B.  `NetworkError` for arguments out of range."""
    return VGG(13, num_classes, in_channels, image_size, dropout=dropout, batch_norm=batch_norm)


def vgg16(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: float = 0.5,
    batch_norm: bool = False,
) -> VGG:
    """VGG-16, the paper's D; 89.4 % of its parameters are in the fc layers.  `NetworkError` for arguments out of range.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg16().parameters())
    138357544
    """
    return VGG(16, num_classes, in_channels, image_size, dropout=dropout, batch_norm=batch_norm)


def vgg19(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: float = 0.5,
    batch_norm: bool = False,
) -> VGG:
    """VGG-19, the paper's E.  `NetworkError` for arguments out of range."""
    return VGG(19, num_classes, in_channels, image_size, dropout=dropout, batch_norm=batch_norm)


def vgg11_cifar(num_classes: int = 10, in_channels: int = 3, image_size: int = 32, dropout: float = 0.0) -> VGGCifar:
    """VGG-11 with BN for 32x32; `dropout` before the classifier.  `NetworkError` for arguments out of range."""
    return VGGCifar(11, num_classes, in_channels, image_size, dropout=dropout)


def vgg13_cifar(num_classes: int = 10, in_channels: int = 3, image_size: int = 32, dropout: float = 0.0) -> VGGCifar:
    """VGG-13 with BN for 32x32; `dropout` before the classifier.  `NetworkError` for arguments out of range."""
    return VGGCifar(13, num_classes, in_channels, image_size, dropout=dropout)


def vgg16_cifar(num_classes: int = 10, in_channels: int = 3, image_size: int = 32, dropout: float = 0.0) -> VGGCifar:
    """VGG-16 with BN for 32x32; `dropout` before the classifier.  `NetworkError` for arguments out of range.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in vgg16_cifar().parameters())
    14728266
    """
    return VGGCifar(16, num_classes, in_channels, image_size, dropout=dropout)


def vgg19_cifar(num_classes: int = 10, in_channels: int = 3, image_size: int = 32, dropout: float = 0.0) -> VGGCifar:
    """VGG-19 with BN for 32x32; `dropout` before the classifier.  `NetworkError` for arguments out of range."""
    return VGGCifar(19, num_classes, in_channels, image_size, dropout=dropout)
