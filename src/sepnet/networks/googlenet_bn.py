"""GoogLeNet as torchvision has it: batch normalization, and 3x3 kernels where the paper has 5x5."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments, check_choice
from sepnet.networks.googlenet import MODULES, Widths

__all__ = ["GoogLeNetBN", "googlenet_bn"]


class ConvNorm(nn.Module):
    """Convolution without bias, batch normalization (eps 0.001), ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.bn(self.conv(x)))


class InceptionBN(nn.Module):
    """The four branches of an inception module; the third is 1x1 then 3x3, as the second."""

    def __init__(self, in_channels: int, widths: Widths) -> None:
        super().__init__()
        ones, reduce3, threes, reduce5, fives, projected = widths
        self.branch1 = ConvNorm(in_channels, ones, 1)
        self.branch2 = nn.Sequential(ConvNorm(in_channels, reduce3, 1), ConvNorm(reduce3, threes, 3))
        self.branch3 = nn.Sequential(ConvNorm(in_channels, reduce5, 1), ConvNorm(reduce5, fives, 3))
        self.branch4 = nn.Sequential(nn.MaxPool2d(3, stride=1, padding=1), ConvNorm(in_channels, projected, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)], dim=1)


class AuxiliaryHeadBN(nn.Module):
    """A classifier at half depth that helps training only."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = ConvNorm(in_channels, 128, 1)
        self.fc1 = nn.Linear(2048, 1024)
        self.dropout = nn.Dropout(0.7)
        self.fc2 = nn.Linear(1024, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.flatten(self.conv(self.pool(x)), 1)
        return self.fc2(self.dropout(torch.relu(self.fc1(x))))  # type: ignore[no-any-return]


class GoogLeNetBN(nn.Module):
    """6,624,904 params (13,004,888 with the auxiliary heads), 1.498 G macs at 3x224x224; torchvision's names.

    The published network, with 5x5 kernels and without batch normalization, is `googlenet`.  As there, `forward` gives
    the logits alone and `heads` those of the auxiliary heads as well (`aux1` after 4a, `aux2` after 4d).  torchvision
    scales the input of its own pretrained weights once more (its `transform_input`); here that is left to the data.

    Input (n, in_channels, height, width), both sides >= 15; output (n, num_classes).
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        *,
        dropout: float = 0.2,
        aux: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=15)
        check_choice("aux", aux, (True, False))
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.conv1 = ConvNorm(in_channels, 64, 7, stride=2)
        self.conv2 = ConvNorm(64, 64, 1)
        self.conv3 = ConvNorm(64, 192, 3)
        self.maxpool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        channels = 192
        for name, widths in MODULES.items():
            self.add_module(f"inception{name}", InceptionBN(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.aux1 = AuxiliaryHeadBN(512, num_classes) if aux else None
        self.aux2 = AuxiliaryHeadBN(528, num_classes) if aux else None
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        return self._classify(self._run("4b 4c 4d", self._to_4a(x)))

    def heads(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits of the classifier and, if the network has them, of `aux1` and `aux2`."""
        first = self._to_4a(x)
        second = self._run("4b 4c 4d", first)
        logits = self._classify(second)
        if self.aux1 is None or self.aux2 is None:
            return (logits,)
        return logits, self.aux1(first), self.aux2(second)

    def _to_4a(self, x: torch.Tensor) -> torch.Tensor:
        x = self.maxpool(self.conv3(self.conv2(self.maxpool(self.conv1(x)))))
        return self._run("4a", self.maxpool(self._run("3a 3b", x)))

    def _classify(self, x: torch.Tensor) -> torch.Tensor:
        x = self._run("5a 5b", self.maxpool4(self._run("4e", x)))
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))  # type: ignore[no-any-return]

    def _run(self, names: str, x: torch.Tensor) -> torch.Tensor:
        for name in names.split():
            x = self.get_submodule(f"inception{name}")(x)
        return x


def googlenet_bn(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: float = 0.2, aux: bool = False
) -> GoogLeNetBN:
    """torchvision's GoogLeNet; `aux` adds the auxiliary heads.  `NetworkError` for arguments out of range.

    >>> sum(p.numel() for p in googlenet_bn().parameters())
    6624904
    """
    return GoogLeNetBN(num_classes, in_channels, image_size, dropout=dropout, aux=aux)
