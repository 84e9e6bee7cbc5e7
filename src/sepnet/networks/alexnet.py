"""AlexNet in the three forms that are all called so, which differ by a million parameters."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.core.errors import NetworkArgumentError
from sepnet.networks.arguments import check_arguments, check_choice

__all__ = ["AlexNet", "OneWeirdTrick", "alexnet", "alexnet_grouped"]


class AlexNet(nn.Module):
    """Krizhevsky et al. 2012: five convolutions, three fully connected layers.

    ======  =====================  ==========  ==========
    layer   shape                  groups 1    groups 2
    ======  =====================  ==========  ==========
    conv1   96 x 11 x 11, /4       34,944      34,944
    conv2   256 x 5 x 5            614,656     307,456
    conv3   384 x 3 x 3            885,120     885,120
    conv4   384 x 3 x 3            1,327,488   663,936
    conv5   256 x 3 x 3            884,992     442,624
    fc6     9216 to 4096           37,752,832  37,752,832
    fc7     4096 to 4096           16,781,312  16,781,312
    fc8     4096 to 1000           4,097,000   4,097,000
    params                         62,378,344  60,965,224
    macs    3x227x227              1,135 M     724 M
    ======  =====================  ==========  ==========

    `groups=2` is the network of the paper, whose halves lay on two GPUs; names and shapes are Caffe's.  Max-pool 3x3 /2
    after conv1, conv2 and conv5.  Local response normalization (after the ReLU of conv1 and conv2) as Caffe has it:
    size 5, alpha 1e-4 divided by the size, beta 0.75, k 1; the paper writes k 2 and alpha not divided.  It has no
    parameters, and `lrn=False` leaves it out.  Another input size than 227 meets an average pool to 6x6.

    Input (n, in_channels, height, width), both sides >= 67; output (n, num_classes).
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 227,
        *,
        dropout: float = 0.5,
        lrn: bool = True,
        groups: int = 1,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=67)
        check_choice("lrn", lrn, (True, False))
        check_choice("groups", groups, (1, 2))
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.conv1 = nn.Conv2d(in_channels, 96, 11, stride=4)
        self.conv2 = nn.Conv2d(96, 256, 5, padding=2, groups=groups)
        self.conv3 = nn.Conv2d(256, 384, 3, padding=1)
        self.conv4 = nn.Conv2d(384, 384, 3, padding=1, groups=groups)
        self.conv5 = nn.Conv2d(384, 256, 3, padding=1, groups=groups)
        self.lrn = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0) if lrn else nn.Identity()
        self.pool = nn.MaxPool2d(3, stride=2)
        self.fit = nn.AdaptiveAvgPool2d(6)
        self.fc6 = nn.Linear(256 * 6 * 6, 4096)
        self.fc7 = nn.Linear(4096, 4096)
        self.fc8 = nn.Linear(4096, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = self.pool(self.lrn(torch.relu(self.conv1(x))))
        x = self.pool(self.lrn(torch.relu(self.conv2(x))))
        x = torch.relu(self.conv3(x))
        x = torch.relu(self.conv4(x))
        x = self.fit(self.pool(torch.relu(self.conv5(x))))
        x = self.dropout(torch.relu(self.fc6(torch.flatten(x, 1))))
        x = self.dropout(torch.relu(self.fc7(x)))
        return self.fc8(x)  # type: ignore[no-any-return]


class OneWeirdTrick(nn.Module):
    """The single-tower AlexNet of Krizhevsky 2014 ("One weird trick", arXiv 1404.5997), with torchvision's names.

    Convolutions of 64, 192, 384, 256, 256 filters, no local response normalization: 61,100,840 params (conv 2,469,696),
    714 M macs at 3x224x224.  Input both sides >= 63; output (n, num_classes).
    """

    def __init__(
        self, num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, dropout: float = 0.5
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=63)
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, 64, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(64, 192, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
            nn.Conv2d(192, 384, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(384, 256, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(256, 256, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))  # type: ignore[no-any-return]


def alexnet(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int | None = None,
    *,
    dropout: float = 0.5,
    lrn: bool | None = None,
    variant: str = "ungrouped",
) -> AlexNet | OneWeirdTrick:
    """AlexNet without groups, the one that compression papers count.  `NetworkError` for arguments out of range.

    Args:
        image_size: None is 227, and 224 for `one_weird_trick`.
        lrn: local response normalization; None is what the variant was published with.
        variant: `ungrouped`, or `one_weird_trick`, which is torchvision's `alexnet`.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in alexnet().parameters())
    62378344
    """
    check_choice("variant", variant, ("ungrouped", "one_weird_trick"))
    if variant == "ungrouped":
        size = 227 if image_size is None else image_size
        return AlexNet(num_classes, in_channels, size, dropout=dropout, lrn=True if lrn is None else lrn)
    check_choice("lrn", lrn, (None, True, False))
    if lrn:
        raise NetworkArgumentError(
            "found lrn=True; expected False or none with variant=one_weird_trick, which is without"
        )
    return OneWeirdTrick(num_classes, in_channels, 224 if image_size is None else image_size, dropout)


def alexnet_grouped(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 227, *, dropout: float = 0.5, lrn: bool = True
) -> AlexNet:
    """AlexNet as published, conv2, conv4 and conv5 in two groups.  `NetworkError` for arguments out of range.

    >>> with torch.device("meta"):
    ...     sum(p.numel() for p in alexnet_grouped().parameters())
    60965224
    """
    return AlexNet(num_classes, in_channels, image_size, dropout=dropout, lrn=lrn, groups=2)
