"""A small convolutional network with one of each thing that is hard to compress right, for the demo and the tests."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments

__all__ = ["MixedCNN", "mixed_cnn"]


class MixedCNN(nn.Module):
    """Convolutions of every kind in 20 k params and about 1 M macs at 1x28x28.

    ============  ==========================================================  ===================
    part          layers                                                      size at 28x28
    ============  ==========================================================  ===================
    stem          conv 3x3 /2 without bias, BatchNorm, ReLU                   16 x 14 x 14
    down          conv 3x3 /2 WITH bias, BatchNorm, ReLU                      32 x 7 x 7
    residual      conv 3x3, BatchNorm, added to its input, ReLU               32 x 7 x 7
    branch        depthwise 3x3, BatchNorm, ReLU, conv 1x1, BatchNorm, ReLU   32 x 7 x 7
    concat        residual and branch side by side                            64 x 7 x 7
    pre           BatchNorm, ReLU: no convolution before it to fold it into   64 x 7 x 7
    mix           conv 1x1 without bias, BatchNorm, ReLU                      64 x 7 x 7
    head          global average pool, fc                                     num_classes
    ============  ==========================================================  ===================

    Input (n, in_channels, height, width), both sides >= 16 (28 is what `input_shape` says); output (n, num_classes).
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, 28, dropout=0.0, smallest=16)
        self.input_shape: tuple[int, int, int] = (in_channels, 28, 28)
        self.stem = nn.Conv2d(in_channels, 16, 3, stride=2, padding=1, bias=False)
        self.stem_bn = nn.BatchNorm2d(16)
        self.down = nn.Conv2d(16, 32, 3, stride=2, padding=1, bias=True)
        self.down_bn = nn.BatchNorm2d(32)
        self.residual = nn.Conv2d(32, 32, 3, padding=1, bias=False)
        self.residual_bn = nn.BatchNorm2d(32)
        self.depthwise = nn.Conv2d(32, 32, 3, padding=1, groups=32, bias=False)
        self.depthwise_bn = nn.BatchNorm2d(32)
        self.pointwise = nn.Conv2d(32, 32, 1, bias=False)
        self.pointwise_bn = nn.BatchNorm2d(32)
        self.pre_bn = nn.BatchNorm2d(64)
        self.mix = nn.Conv2d(64, 64, 1, bias=False)
        self.mix_bn = nn.BatchNorm2d(64)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = torch.relu(self.stem_bn(self.stem(x)))
        x = torch.relu(self.down_bn(self.down(x)))
        x = torch.relu(x + self.residual_bn(self.residual(x)))
        branch = torch.relu(self.depthwise_bn(self.depthwise(x)))
        branch = torch.relu(self.pointwise_bn(self.pointwise(branch)))
        x = torch.relu(self.pre_bn(torch.cat([x, branch], dim=1)))
        x = torch.relu(self.mix_bn(self.mix(x)))
        return self.fc(torch.flatten(self.pool(x), 1))  # type: ignore[no-any-return]


def mixed_cnn(num_classes: int = 10, in_channels: int = 1) -> MixedCNN:
    """The demo's convolutional network.  `NetworkError` for arguments out of range.

    >>> mixed_cnn(num_classes=3, in_channels=3)(torch.zeros(2, 3, 16, 20)).shape
    torch.Size([2, 3])
    """
    return MixedCNN(num_classes, in_channels)
