"""GoogLeNet (Szegedy et al. 2014, arXiv 1409.4842) as published and as Caffe's bvlc_googlenet trains it."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments, check_choice

__all__ = ["MODULES", "AuxiliaryHead", "GoogLeNet", "Inception", "Widths", "googlenet", "googlenet_aux", "initialize"]

Widths = tuple[int, int, int, int, int, int]
"""Filters of one inception module: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection."""

MODULES: dict[str, Widths] = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class Inception(nn.Module):
    """Four branches side by side: 1x1; 1x1 then 3x3; 1x1 then 5x5; max-pool 3x3 then 1x1.  ReLU after each conv."""

    def __init__(self, in_channels: int, widths: Widths) -> None:
        super().__init__()
        ones, reduce3, threes, reduce5, fives, projected = widths
        self.conv1x1 = nn.Conv2d(in_channels, ones, 1)
        self.conv3x3_reduce = nn.Conv2d(in_channels, reduce3, 1)
        self.conv3x3 = nn.Conv2d(reduce3, threes, 3, padding=1)
        self.conv5x5_reduce = nn.Conv2d(in_channels, reduce5, 1)
        self.conv5x5 = nn.Conv2d(reduce5, fives, 5, padding=2)
        self.pool = nn.MaxPool2d(3, stride=1, padding=1)
        self.pool_proj = nn.Conv2d(in_channels, projected, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in_channels, h, w) to (n, sum of the four branches, h, w)."""
        threes = torch.relu(self.conv3x3(torch.relu(self.conv3x3_reduce(x))))
        fives = torch.relu(self.conv5x5(torch.relu(self.conv5x5_reduce(x))))
        return torch.cat([torch.relu(self.conv1x1(x)), threes, fives, torch.relu(self.pool_proj(self.pool(x)))], dim=1)


class AuxiliaryHead(nn.Module):
    """A classifier at half depth that helps training only: average pool to 4x4, conv 1x1 to 128, fc 1024, fc."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(4)
        self.conv = nn.Conv2d(in_channels, 128, 1)
        self.fc = nn.Linear(128 * 4 * 4, 1024)
        self.dropout = nn.Dropout(0.7)
        self.classifier = nn.Linear(1024, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = torch.relu(self.conv(self.pool(x)))
        x = self.dropout(torch.relu(self.fc(torch.flatten(x, 1))))
        return self.classifier(x)  # type: ignore[no-any-return]


class GoogLeNet(nn.Module):
    """Three convolutions, nine inception modules, global average pool, one fc 1024 to 1000.

    ==============================  ==========================
    part                            weights (biases 8,280)
    ==============================  ==========================
    conv1 7x7, conv2 1x1 and 3x3    124,096
    1x1 of the inception modules    2,256,384
    3x3 of the inception modules    2,990,592 (332,288 kernels)
    5x5 of the inception modules    595,200
    fc                              1,024,000
    together                        6,990,272
    params                          6,998,552
    params with both extra heads    13,378,280
    macs at 3x224x224               1.583 G
    ==============================  ==========================

    The 5x5 kernels are 5x5, as published (torchvision's are 3x3: `googlenet_bn`); every convolution has a bias and none
    a batch normalization.  Local response normalization as Caffe's, size 5, alpha 1e-4 divided by the size, beta 0.75,
    k 1; `lrn=False` leaves it out.  Max-pools 3x3 /2 round up.

    The auxiliary heads (`loss1` after 4a, `loss2` after 4d) never speak in `forward`: a deployed network is without
    them.  A training loop that wants them calls `heads`.

    Input (n, in_channels, height, width), both sides >= 31; output (n, num_classes).
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        *,
        dropout: float = 0.4,
        lrn: bool = True,
        aux: bool = False,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=31)
        check_choice("lrn", lrn, (True, False))
        check_choice("aux", aux, (True, False))
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3)
        self.conv2_reduce = nn.Conv2d(64, 64, 1)
        self.conv2 = nn.Conv2d(64, 192, 3, padding=1)
        channels = 192
        for name, widths in MODULES.items():
            self.add_module(f"inception_{name}", Inception(channels, widths))
            channels = widths[0] + widths[2] + widths[4] + widths[5]
        self.fc = nn.Linear(channels, num_classes)
        self.loss1 = AuxiliaryHead(512, num_classes) if aux else None
        self.loss2 = AuxiliaryHead(528, num_classes) if aux else None
        self.lrn = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0) if lrn else nn.Identity()
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        return self._classify(self._to_5b(self._to_4d(self._to_4a(x))))

    def heads(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Logits of the classifier and, if the network has them, of `loss1` and `loss2`.

        The paper trains on the classifier's loss + 0.3 of each of the other two.
        """
        first = self._to_4a(x)
        second = self._to_4d(first)
        logits = self._classify(self._to_5b(second))
        if self.loss1 is None or self.loss2 is None:
            return (logits,)
        return logits, self.loss1(first), self.loss2(second)

    def _to_4a(self, x: torch.Tensor) -> torch.Tensor:
        x = self.lrn(self.pool(torch.relu(self.conv1(x))))
        x = torch.relu(self.conv2(torch.relu(self.conv2_reduce(x))))
        return self._run("4a", self.pool(self._run("3a 3b", self.pool(self.lrn(x)))))

    def _to_4d(self, x: torch.Tensor) -> torch.Tensor:
        return self._run("4b 4c 4d", x)

    def _to_5b(self, x: torch.Tensor) -> torch.Tensor:
        return self._run("5a 5b", self.pool(self._run("4e", x)))

    def _run(self, names: str, x: torch.Tensor) -> torch.Tensor:
        for name in names.split():
            x = self.get_submodule(f"inception_{name}")(x)
        return x

    def _classify(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))  # type: ignore[no-any-return]


def initialize(model: nn.Module) -> None:
    """Glorot uniform weights, biases 0.2, those of the classifiers 0, as bvlc_googlenet has them."""
    for name, module in model.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                last = name == "fc" or name.endswith("classifier")
                nn.init.constant_(module.bias, 0.0 if last else 0.2)


def googlenet(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: float = 0.4, lrn: bool = True
) -> GoogLeNet:
    """GoogLeNet as deployed, without auxiliary heads.  `NetworkError` for arguments out of range.

    >>> sum(p.numel() for p in googlenet().parameters())
    6998552
    """
    return GoogLeNet(num_classes, in_channels, image_size, dropout=dropout, lrn=lrn)


def googlenet_aux(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: float = 0.4, lrn: bool = True
) -> GoogLeNet:
    """GoogLeNet with its two auxiliary heads, 53.5 MB of which 28.0 MB are deployed.  `NetworkError` as `googlenet`.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in googlenet_aux().parameters())
    13378280
    """
    return GoogLeNet(num_classes, in_channels, image_size, dropout=dropout, lrn=lrn, aux=True)
