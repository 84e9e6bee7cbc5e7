"""LeNet-300-100 and LeNet-5 for 28x28 digits, the two networks on which compression methods are compared.

Shapes: LeCun et al. 1998 as the Caffe MNIST example has them, which is what Han et al. 2015 and their followers count.
"""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments

__all__ = ["LeNet5", "LeNet300", "lenet5", "lenet300"]


class LeNet300(nn.Module):
    """Three fully connected layers 784-300-100-10 with ReLU between; 266,610 params, 266,200 macs at 1x28x28.

    Input (n, in_channels, image_size, image_size) or whatever flattens to as many numbers; output (n, num_classes).
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28, dropout: float = 0.0) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=1)
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.fc1 = nn.Linear(in_channels * image_size * image_size, 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = self.dropout(torch.relu(self.fc1(torch.flatten(x, 1))))
        x = self.dropout(torch.relu(self.fc2(x)))
        return self.fc3(x)  # type: ignore[no-any-return]


class LeNet5(nn.Module):
    """Caffe's LeNet: conv 20@5x5, max-pool 2, conv 50@5x5, max-pool 2, fc 500, ReLU, fc 10.

    431,080 params, 2,293,000 macs at 1x28x28.  As in Caffe there is no ReLU after the convolutions.
    Input (n, in_channels, image_size, image_size), image_size >= 16; output (n, num_classes).
    """

    def __init__(self, num_classes: int = 10, in_channels: int = 1, image_size: int = 28, dropout: float = 0.0) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=16)
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        side = ((image_size - 4) // 2 - 4) // 2
        self.conv1 = nn.Conv2d(in_channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.pool = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(50 * side * side, 500)
        self.fc2 = nn.Linear(500, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = self.pool(self.conv1(x))
        x = self.pool(self.conv2(x))
        x = self.dropout(torch.relu(self.fc1(torch.flatten(x, 1))))
        return self.fc2(x)  # type: ignore[no-any-return]


def lenet300(num_classes: int = 10, in_channels: int = 1, image_size: int = 28, dropout: float = 0.0) -> LeNet300:
    """LeNet-300-100; `dropout` is the probability after fc1 and fc2.  `NetworkError` for arguments out of range.

    >>> lenet300().input_shape
    (1, 28, 28)
    """
    return LeNet300(num_classes, in_channels, image_size, dropout)


def lenet5(num_classes: int = 10, in_channels: int = 1, image_size: int = 28, dropout: float = 0.0) -> LeNet5:
    """LeNet-5 (Caffe); `dropout` is the probability after fc1.  `NetworkError` for arguments out of range.

    >>> lenet5()(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 10])
    """
    return LeNet5(num_classes, in_channels, image_size, dropout)
