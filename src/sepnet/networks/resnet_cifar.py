"""ResNet for CIFAR (He et al. 2015, arXiv 1512.03385, section 4.2), with three kinds of shortcuts."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from sepnet.networks.arguments import check_arguments, check_choice

__all__ = [
    "CifarBlock",
    "ProjectedResNetCifar",
    "ResNetCifar",
    "resnet20_cifar",
    "resnet32_cifar",
    "resnet44_cifar",
    "resnet56_cifar",
    "resnet110_cifar",
]

SHORTCUTS = ("A", "B", "projection")
WIDTHS = (16, 32, 64)


class CifarBlock(nn.Module):
    """Two 3x3 convolutions with BN, added to the input.

    Where the size changes the input is made to fit by every second pixel and zero channels on both sides (A), or by a
    1x1 convolution /2 and BN (B).
    """

    def __init__(self, in_channels: int, width: int, stride: int, shortcut: str) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.stride, self.new_channels = stride, width - in_channels
        self.downsample: nn.Sequential | None = None
        if shortcut == "B" and stride > 1:
            projection = nn.Conv2d(in_channels, width, 1, stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in_channels, h, w) to (n, width, h / stride, w / stride)."""
        out = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            x = self.downsample(x)
        elif self.stride > 1:
            before = self.new_channels // 2
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, before, self.new_channels - before))
        return torch.relu(out + x)


class ResNetCifar(nn.Module):
    """3x3 stem, three stages of n blocks of width 16, 32, 64, global average pool, one fc; depth 6n + 2.

    ===============  ===  ===========  ===========  ======================  ================
    network          n    params, A    params, B    params, projection      macs at 3x32x32, A
    ===============  ===  ===========  ===========  ======================  ================
    resnet20_cifar   3    269,722      272,474      293,738                 40.55 M
    resnet32_cifar   5    464,154      466,906      488,618                 68.86 M
    resnet44_cifar   7    658,586      661,338      683,498                 97.17 M
    resnet56_cifar   9    853,018      855,770      878,378                 125.49 M
    resnet110_cifar  18   1,727,962    1,730,714    1,755,338               252.89 M
    ===============  ===  ===========  ===========  ======================  ================

    With A the names are those of github.com/akamaster/pytorch_resnet_cifar10, with B those of
    github.com/IntelLabs/distiller: the fully connected layer is `linear` there and `fc` here.
    Input (n, in_channels, height, width) of any size; output (n, num_classes).
    """

    def __init__(
        self, n: int, num_classes: int = 10, in_channels: int = 3, image_size: int = 32, *, shortcut: str = "A"
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=0.0, smallest=1)
        check_choice("shortcut", shortcut, ("A", "B"))
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.conv1 = nn.Conv2d(in_channels, WIDTHS[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTHS[0])
        channels, stages = WIDTHS[0], []
        for width in WIDTHS:
            row = [CifarBlock(channels, width, 2 if width > channels else 1, shortcut)]
            row += [CifarBlock(width, width, 1, shortcut) for _ in range(n - 1)]
            stages.append(nn.Sequential(*row))
            channels = width
        self.layer1, self.layer2, self.layer3 = stages
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.head = "linear" if shortcut == "A" else "fc"
        self.add_module(self.head, nn.Linear(channels, num_classes))
        _initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.flatten(self.avgpool(self.layer3(self.layer2(self.layer1(x)))), 1)
        return self.get_submodule(self.head)(x)  # type: ignore[no-any-return]


class ProjectedResNetCifar(nn.Module):
    """The same with 3x3 stride-2 projections and a bias in every convolution: the Caffe network of "SEP-Nets".

    Flat names as in the authors' Caffe models (github.com/zli79/SEP-Nets): `conv1`, `bn_conv1`, of block b in the stage
    of width w `map{w}_{b}_conv_a`, `.._bn_a`, `.._conv_b`, `.._bn_b`, of the first block in the second and third stage
    also `.._conv_proj` and `.._bn_proj`, and `score`.  Counts are in `ResNetCifar`.
    """

    def __init__(self, n: int, num_classes: int = 10, in_channels: int = 3, image_size: int = 32) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=0.0, smallest=1)
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.blocks = [f"map{width}_{at + 1}" for width in WIDTHS for at in range(n)]
        self._add("", "conv1", in_channels, WIDTHS[0])
        channels = WIDTHS[0]
        for width in WIDTHS:
            for at in range(n):
                stride = 2 if width > channels else 1
                self._add(f"map{width}_{at + 1}_", "conv_a", channels, width, stride=stride)
                self._add(f"map{width}_{at + 1}_", "conv_b", width, width)
                if stride > 1:
                    self._add(f"map{width}_{at + 1}_", "conv_proj", channels, width, stride=stride)
                channels = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.score = nn.Linear(channels, num_classes)
        _initialize(self)

    def _add(self, block: str, conv: str, in_channels: int, width: int, *, stride: int = 1) -> None:
        self.add_module(block + conv, nn.Conv2d(in_channels, width, 3, stride, padding=1))
        self.add_module(block + _norm_of(conv), nn.BatchNorm2d(width))

    def _run(self, block: str, conv: str, x: torch.Tensor) -> torch.Tensor:
        return self.get_submodule(block + _norm_of(conv))(self.get_submodule(block + conv)(x))  # type: ignore[no-any-return]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = torch.relu(self._run("", "conv1", x))
        for block in self.blocks:
            out = self._run(f"{block}_", "conv_b", torch.relu(self._run(f"{block}_", "conv_a", x)))
            if f"{block}_conv_proj" in self._modules:
                x = self._run(f"{block}_", "conv_proj", x)
            x = torch.relu(out + x)
        return self.score(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


def _norm_of(conv: str) -> str:
    """Name of the BN after a convolution: `conv_a` has `bn_a`, and `conv1` has `bn_conv1`."""
    return "bn_conv1" if conv == "conv1" else conv.replace("conv", "bn")


def _initialize(model: nn.Module) -> None:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def _network(
    n: int, num_classes: int, in_channels: int, image_size: int, *, shortcut: str
) -> ResNetCifar | ProjectedResNetCifar:
    check_choice("shortcut", shortcut, SHORTCUTS)
    if shortcut == "projection":
        return ProjectedResNetCifar(n, num_classes, in_channels, image_size)
    return ResNetCifar(n, num_classes, in_channels, image_size, shortcut=shortcut)


def resnet20_cifar(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, shortcut: str = "A"
) -> ResNetCifar | ProjectedResNetCifar:
    """ResNet-20.  `NetworkError` for arguments out of range.

    Args:
        shortcut: `A`, without parameters; `B`, 1x1 convolutions; `projection`, the 3x3 ones of SEP-Nets.

    >>> [sum(p.numel() for p in resnet20_cifar(shortcut=kind).parameters()) for kind in ("A", "B", "projection")]
    [269722, 272474, 293738]
    """
    return _network(3, num_classes, in_channels, image_size, shortcut=shortcut)


def resnet32_cifar(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, shortcut: str = "A"
) -> ResNetCifar | ProjectedResNetCifar:
    """ResNet-32, see `resnet20_cifar`."""
    return _network(5, num_classes, in_channels, image_size, shortcut=shortcut)


def resnet44_cifar(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, shortcut: str = "A"
) -> ResNetCifar | ProjectedResNetCifar:
    """ResNet-44, see `resnet20_cifar`."""
    return _network(7, num_classes, in_channels, image_size, shortcut=shortcut)


def resnet56_cifar(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, shortcut: str = "A"
) -> ResNetCifar | ProjectedResNetCifar:
    """ResNet-56, see `resnet20_cifar`."""
    return _network(9, num_classes, in_channels, image_size, shortcut=shortcut)


def resnet110_cifar(
    num_classes: int = 10, in_channels: int = 3, image_size: int = 32, shortcut: str = "A"
) -> ResNetCifar | ProjectedResNetCifar:
    """ResNet-110, see `resnet20_cifar`."""
    return _network(18, num_classes, in_channels, image_size, shortcut=shortcut)
