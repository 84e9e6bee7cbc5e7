"""C-Inception of "SEP-Nets" (Li et al. 2017, arXiv 1706.03912): a reconstruction, its structure was not published."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments, check_choice
from sepnet.networks.googlenet import MODULES, initialize

__all__ = ["CInception", "c_inception"]


class CInceptionModule(nn.Module):
    """Two branches side by side, 1x1, and 1x1 then 3x3.  ReLU after each convolution."""

    def __init__(self, in_channels: int, ones: int, reduce3: int, threes: int) -> None:
        super().__init__()
        self.conv1x1 = nn.Conv2d(in_channels, ones, 1)
        self.conv3x3_reduce = nn.Conv2d(in_channels, reduce3, 1)
        self.conv3x3 = nn.Conv2d(reduce3, threes, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in_channels, h, w) to (n, ones + threes, h, w)."""
        threes = torch.relu(self.conv3x3(torch.relu(self.conv3x3_reduce(x))))
        return torch.cat([torch.relu(self.conv1x1(x)), threes], dim=1)


class CInception(nn.Module):
    """GoogLeNet with nothing but the 1x1 and the 3x3 branch in its nine inception modules.

    **A reconstruction.**  Published are the weights before and after the pattern binarization, 5.10 M and 2.43 M, and
    the top-1 accuracies 64.80 % and 64.00 %, not the structure.  This is the simplest change of GoogLeNet that fits:

    =================================================================  ==========  =========
    what                                                               ours        published
    =================================================================  ==========  =========
    weights                                                            5,097,920   5.10 M
    of these in k x k convolutions (conv1, conv2, the nine 3x3)        3,110,592   –
    k x k kernels at one bit a weight + one float a kernel             2,429,302   2.43 M
    =================================================================  ==========  =========

    The last row counts 32-bit words: 1,987,328 (1x1 and fc) + 3,110,592 / 32 + 344,768 kernels.  params 5,104,456 with
    the biases, 1.296 G macs at 3x224x224.  The accuracies are those of the authors' network, not measured on this one.

    Local response normalization, pools and initialization are those of `googlenet`.
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
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=31)
        check_choice("lrn", lrn, (True, False))
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3)
        self.conv2_reduce = nn.Conv2d(64, 64, 1)
        self.conv2 = nn.Conv2d(64, 192, 3, padding=1)
        channels = 192
        for name, (ones, reduce3, threes, *_) in MODULES.items():
            self.add_module(f"inception_{name}", CInceptionModule(channels, ones, reduce3, threes))
            channels = ones + threes
        self.fc = nn.Linear(channels, num_classes)
        self.lrn = nn.LocalResponseNorm(5, alpha=1e-4, beta=0.75, k=1.0) if lrn else nn.Identity()
        self.pool = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(dropout)
        initialize(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes)."""
        x = self.lrn(self.pool(torch.relu(self.conv1(x))))
        x = self.pool(self.lrn(torch.relu(self.conv2(torch.relu(self.conv2_reduce(x))))))
        for name in MODULES:
            if name in ("4a", "5a"):
                x = self.pool(x)
            x = self.get_submodule(f"inception_{name}")(x)
        return self.fc(self.dropout(torch.flatten(self.avgpool(x), 1)))  # type: ignore[no-any-return]


def c_inception(
    num_classes: int = 1000, in_channels: int = 3, image_size: int = 224, *, dropout: float = 0.4, lrn: bool = True
) -> CInception:
    """C-Inception, reconstructed (see `CInception`).  `NetworkError` for arguments out of range.

    >>> sum(p.numel() for p in c_inception().parameters() if p.dim() > 1)
    5097920
    """
    return CInception(num_classes, in_channels, image_size, dropout=dropout, lrn=lrn)
