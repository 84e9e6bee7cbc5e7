"""SEP-Net (Li et al. 2017, arXiv 1706.03912): pattern residual blocks and modules, and a reconstruction of its networks.

The layer table of SEP-Net was not published.  Known are the building blocks, the totals of parameters and bytes, and the
accuracies.  `sepnet_small` and `sepnet_large` are the **reconstruction** that meets every published total, see `SepNet`;
`sepnet_cifar` is a form of it for 32x32 images, of this package's own.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from sepnet.core.errors import NetworkArgumentError
from sepnet.networks.arguments import check_arguments

__all__ = ["PatternResidualBlock", "SepNet", "SepNetModule", "sepnet_cifar", "sepnet_large", "sepnet_small"]


class PatternResidualBlock(nn.Module):
    """A k x k convolution in parallel with a 1x1 convolution, added: y = relu(BN(W * x) + BN(V x)).

    When the kernels of W become sign patterns, V, which stays real, makes up for what the signs cannot say.

    Args:
        in_channels, out_channels: channels of x and y.
        kernel_size: k, odd.
        stride: of both convolutions.
        groups: of both convolutions.
        pointwise_groups: of the 1x1 convolution, where they shall differ.
        norm: batch normalization after each convolution; without it each convolution has no bias either.
        activation: ReLU after the sum.

    x is (n, in_channels, h, w), y (n, out_channels, ceil(h / stride), ceil(w / stride)).
    Layers: `kxk`, `kxk_bn`, `pointwise`, `pointwise_bn`.
    Raises `NetworkError` for an even kernel or for groups that do not divide the channels.
    Source: "SEP-Nets" (arXiv 1706.03912); BN and ReLU are of the reconstruction, see `SepNet`.

    >>> block = PatternResidualBlock(8, 16, groups=4)
    >>> block(torch.zeros(2, 8, 5, 5)).shape, block.kxk.weight.numel(), block.pointwise.weight.numel()
    (torch.Size([2, 16, 5, 5]), 288, 32)
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        groups: int = 1,
        pointwise_groups: int | None = None,
        norm: bool = True,
        activation: bool = True,
    ) -> None:
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise NetworkArgumentError(f"found kernel_size={kernel_size}; expected an odd number >= 1")
        beside = groups if pointwise_groups is None else pointwise_groups
        self.kxk = _conv(in_channels, out_channels, kernel_size, stride=stride, groups=groups)
        self.kxk_bn = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.pointwise = _conv(in_channels, out_channels, 1, stride=stride, groups=beside)
        self.pointwise_bn = nn.BatchNorm2d(out_channels) if norm else nn.Identity()
        self.activation = activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in_channels, h, w) to (n, out_channels, ceil(h / stride), ceil(w / stride))."""
        out = self.kxk_bn(self.kxk(x)) + self.pointwise_bn(self.pointwise(x))
        return torch.relu(out) if self.activation else out


class SepNetModule(nn.Module):
    """1x1 reduce, two pattern residual blocks of different width, 1x1 recover, and the input added.

    ================  ===========================  ==========
    layer             channels                     then
    ================  ===========================  ==========
    reduce, 1x1       C to C/2                     BN, ReLU
    prb1, k x k       C/2 to C/2                   see PRB
    prb2, k x k       C/2 to C/4                   see PRB
    recover, 1x1      C/4 to C                     BN
    + input           C                            ReLU
    ================  ===========================  ==========

    Args:
        channels: C, of the input and of the output.
        kernel_size: k of both blocks.
        groups: of every convolution.
        pattern_groups: of the k x k convolutions, where they shall differ.

    (n, C, h, w) to (n, C, h, w).  Raises `NetworkError` unless C is a multiple of 4 x groups.
    Source: "SEP-Nets" (arXiv 1706.03912); widths, BN and ReLU are of the reconstruction, see `SepNet`.

    >>> sum(p.numel() for p in SepNetModule(128, groups=4).parameters())
    19200
    """

    def __init__(self, channels: int, kernel_size: int = 3, groups: int = 1, pattern_groups: int | None = None) -> None:
        super().__init__()
        for name, divisor in (
            ("groups", groups),
            ("pattern_groups", groups if pattern_groups is None else pattern_groups),
        ):
            if divisor < 1 or channels % (4 * divisor):
                raise NetworkArgumentError(
                    f"found {name}={divisor} with {channels} channels; expected channels that 4 x {name} divides"
                )
        half, quarter = channels // 2, channels // 4
        inside = groups if pattern_groups is None else pattern_groups
        self.reduce = _conv(channels, half, 1, stride=1, groups=groups)
        self.reduce_bn = nn.BatchNorm2d(half)
        self.prb1 = PatternResidualBlock(half, half, kernel_size, stride=1, groups=inside, pointwise_groups=groups)
        self.prb2 = PatternResidualBlock(half, quarter, kernel_size, stride=1, groups=inside, pointwise_groups=groups)
        self.recover = _conv(quarter, channels, 1, stride=1, groups=groups)
        self.recover_bn = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, C, h, w) to (n, C, h, w)."""
        inside = self.prb2(self.prb1(torch.relu(self.reduce_bn(self.reduce(x)))))
        return torch.relu(self.recover_bn(self.recover(inside)) + x)


class Transition(nn.Module):
    """The plain 3x3 convolution before the modules of a stage that is smaller or wider than the one before; BN, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int) -> None:
        super().__init__()
        self.conv = _conv(in_channels, out_channels, 3, stride=stride, groups=groups)
        self.bn = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in_channels, h, w) to (n, out_channels, ceil(h / stride), ceil(w / stride))."""
        return torch.relu(self.bn(self.conv(x)))


class SepNet(nn.Module):
    """Stem; stages of a plain 3x3 convolution and SEP-Net modules; global average pool; one fc.

    **A reconstruction.**  Stem 7x7 /2 with 64 filters, max-pool 3x3 /2; for C in 128, 256, 512 a 3x3 /2 convolution to C,
    then `blocks` modules (see `SepNetModule`); 4 groups in every convolution but the stem, BN after each, no biases;
    fc 512 -> 1000.  It is the simplest network of the published parts that meets every published total:

    ===================================================  ======================  ==================
    what                                                 ours                    published
    ===================================================  ======================  ==================
    small, blocks 1, 1, 1: params                        1,303,848 = 5.215 MB    1.3 M, 5.2 MB
    small, PRB kernels at 9 bits + one float each        1,054,872 = 4.219 MB    1.1 M, 4.2 MB
    large, blocks 1, 2, 2: params                        1,677,096 = 6.708 MB    1.7 M, 6.7 MB
    ===================================================  ======================  ==================

    The second row counts float32 numbers, 1/32 for a bit.  205.2 M macs (small) at 3x224x224.  Published top-1 accuracies
    (small 65.8 %, large 66.7 %) are of the authors' networks, not measured on these.

    Input (n, in_channels, height, width) of any size; output (n, num_classes).
    Layers: `stem`, `stem_bn`, `stage1.0.conv` (plain), `stage1.1.reduce`, `stage1.1.prb1.kxk`, ..., `fc`.
    """

    def __init__(
        self,
        widths: Sequence[int],
        blocks: Sequence[int],
        *,
        num_classes: int,
        in_channels: int,
        image_size: int,
        stem: nn.Conv2d,
        pool: nn.Module,
        strides: Sequence[int],
        groups: int = 4,
        pattern_groups: int | None = None,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=0.0, smallest=1)
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.stem = stem
        self.stem_bn = nn.BatchNorm2d(stem.out_channels)
        self.pool = pool
        channels, self.stages = stem.out_channels, [f"stage{at + 1}" for at in range(len(widths))]
        for name, width, count, stride in zip(self.stages, widths, blocks, strides, strict=True):
            plain = [Transition(channels, width, stride, groups)] if stride > 1 or width != channels else []
            modules = [SepNetModule(width, 3, groups, pattern_groups) for _ in range(count)]
            self.add_module(name, nn.Sequential(*plain, *modules))
            channels = width
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = self.pool(torch.relu(self.stem_bn(self.stem(x))))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.fc(torch.flatten(self.avgpool(x), 1))  # type: ignore[no-any-return]


def _conv(in_channels: int, out_channels: int, kernel_size: int, *, stride: int, groups: int) -> nn.Conv2d:
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise NetworkArgumentError(
            f"found groups={groups} for {in_channels} to {out_channels} channels; expected a divisor of both"
        )
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)


def _imagenet(blocks: tuple[int, int, int], num_classes: int, in_channels: int, image_size: int) -> SepNet:
    check_arguments(num_classes, in_channels, image_size, dropout=0.0, smallest=1)
    stem, pool = _conv(in_channels, 64, 7, stride=2, groups=1), nn.MaxPool2d(3, stride=2, padding=1)
    return SepNet(
        (128, 256, 512),
        blocks,
        num_classes=num_classes,
        in_channels=in_channels,
        image_size=image_size,
        stem=stem,
        pool=pool,
        strides=(2, 2, 2),
    )


def sepnet_small(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224) -> SepNet:
    """SEP-Net small, a reconstruction (see `SepNet`).  `NetworkError` for arguments out of range.

    >>> sum(p.numel() for p in sepnet_small().parameters())
    1303848
    """
    return _imagenet((1, 1, 1), num_classes, in_channels, image_size)


def sepnet_large(num_classes: int = 1000, in_channels: int = 3, image_size: int = 224) -> SepNet:
    """SEP-Net large, a reconstruction (see `SepNet`).  `NetworkError` for arguments out of range.

    >>> sum(p.numel() for p in sepnet_large().parameters())
    1677096
    """
    return _imagenet((1, 2, 2), num_classes, in_channels, image_size)


def sepnet_cifar(
    num_classes: int = 10,
    in_channels: int = 3,
    image_size: int = 32,
    *,
    width: int = 64,
    blocks: Sequence[int] = (1, 1, 2),
    groups: int = 4,
) -> SepNet:
    """SEP-Net for images of 32x32: a form of this package's own, not a network of the paper.

    Stem 3x3 /1, no pool; stages of C = width, 2 x width, 4 x width at full, half and quarter size.  Weights that become
    signs cost one bit, the others eight: so the k x k convolutions of the pattern residual blocks are not grouped, and
    all others but the stem are, in `groups`.

    With the arguments' defaults 655,690 params, 511,488 of them in the k x k convolutions that B makes signs; 72.6 M macs.

    Args:
        width: channels of the stem and of the first stage.
        blocks: modules a stage, three numbers.
        groups: of the plain and the 1x1 convolutions.

    `NetworkError` for arguments out of range.

    >>> sum(p.numel() for p in sepnet_cifar().parameters())
    655690
    """
    if isinstance(width, bool) or not isinstance(width, int) or not 1 <= width <= 1024:
        raise NetworkArgumentError(f"found width={width!r}; expected an integer from 1 to 1024")
    counts = list(blocks) if isinstance(blocks, (list, tuple)) else []
    if len(counts) != 3 or not all(isinstance(n, int) and not isinstance(n, bool) and 0 <= n <= 100 for n in counts):
        raise NetworkArgumentError(f"found blocks={blocks!r}; expected three integers from 0 to 100, such as (1, 1, 2)")
    if isinstance(groups, bool) or not isinstance(groups, int) or groups < 1 or width % (4 * groups):
        raise NetworkArgumentError(
            f"found groups={groups!r} with width={width}; expected width to be a multiple of 4 x groups"
        )
    check_arguments(num_classes, in_channels, image_size, dropout=0.0, smallest=1)
    stem, widths = _conv(in_channels, width, 3, stride=1, groups=1), (width, 2 * width, 4 * width)
    return SepNet(
        widths,
        counts,
        num_classes=num_classes,
        in_channels=in_channels,
        image_size=image_size,
        stem=stem,
        pool=nn.Identity(),
        strides=(1, 2, 2),
        groups=groups,
        pattern_groups=1,
    )
