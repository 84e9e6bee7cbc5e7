"""SqueezeNet (Iandola et al. 2016, arXiv 1602.07360) 1.0 and 1.1, with torchvision's names."""

from __future__ import annotations

import torch
from torch import nn

from sepnet.networks.arguments import check_arguments, check_choice

__all__ = ["Fire", "SqueezeNet", "squeezenet1_0", "squeezenet1_1"]

FIRES = {2: (16, 64), 3: (16, 64), 4: (32, 128), 5: (32, 128), 6: (48, 192), 7: (48, 192), 8: (64, 256), 9: (64, 256)}
"""Number of the fire module as the paper counts -> squeeze filters, filters of each of the two expands."""
BYPASSED = (3, 5, 7, 9)


class Fire(nn.Module):
    """1x1 squeeze, then 1x1 and 3x3 expand side by side; ReLU after each; with `bypass` added to its input."""

    def __init__(self, in_channels: int, squeeze: int, expand: int, bypass: bool = False) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(in_channels, squeeze, 1)
        self.expand1x1 = nn.Conv2d(squeeze, expand, 1)
        self.expand3x3 = nn.Conv2d(squeeze, expand, 3, padding=1)
        self.bypass = bypass

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(n, in_channels, h, w) to (n, 2 * expand, h, w)."""
        squeezed = torch.relu(self.squeeze(x))
        out = torch.cat([torch.relu(self.expand1x1(squeezed)), torch.relu(self.expand3x3(squeezed))], dim=1)
        return out + x if self.bypass else out


class SqueezeNet(nn.Module):
    """A convolution, eight fire modules with three max-pools 3x3 /2 between, a 1x1 convolution, global average pool.

    =============  ===================  ==============  =========  ==================
    network        first convolution    pools before    params     macs at 3x224x224
    =============  ===================  ==============  =========  ==================
    squeezenet1_0  96 x 7 x 7, /2       fire 2, 5, 9    1,248,424  818.9 M
    squeezenet1_1  64 x 3 x 3, /2       fire 2, 4, 6    1,235,496  349.2 M
    =============  ===================  ==============  =========  ==================

    `bypass="simple"` adds the input of fire 3, 5, 7 and 9 to their output: no parameters, and the paper's 60.4 % top-1
    instead of 57.5 % for 1.0.  `last_padding=1` is for weights from Caffe, where the last convolution pads its input by
    one pixel of zeros.  Input (n, in_channels, height, width), both sides >= 21; output (n, num_classes).
    """

    def __init__(
        self,
        first: tuple[int, int],
        pools: tuple[int, ...],
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        image_size: int = 224,
        dropout: float = 0.5,
        bypass: str = "none",
        last_padding: int = 0,
    ) -> None:
        super().__init__()
        check_arguments(num_classes, in_channels, image_size, dropout=dropout, smallest=21)
        check_choice("bypass", bypass, ("none", "simple"))
        check_choice("last_padding", last_padding, (0, 1))
        self.input_shape: tuple[int, int, int] = (in_channels, image_size, image_size)
        channels, kernel = first
        layers: list[nn.Module] = [nn.Conv2d(in_channels, channels, kernel, stride=2), nn.ReLU()]
        for number, (squeeze, expand) in FIRES.items():
            if number in pools:
                layers.append(nn.MaxPool2d(3, stride=2, ceil_mode=True))
            layers.append(Fire(channels, squeeze, expand, bypass == "simple" and number in BYPASSED))
            channels = 2 * expand
        self.features = nn.Sequential(*layers)
        last = nn.Conv2d(channels, num_classes, 1, padding=last_padding)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.normal_(last.weight, 0.0, 0.01)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (n, num_classes), after the last ReLU, so none is negative."""
        return torch.flatten(self.classifier(self.features(x)), 1)


def squeezenet1_0(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: float = 0.5,
    bypass: str = "none",
    last_padding: int = 0,
) -> SqueezeNet:
    """SqueezeNet 1.0; `bypass` is `none` or `simple`, `last_padding` 0 or 1.  `NetworkError` for arguments out of range.

    >>> sum(p.numel() for p in squeezenet1_0().parameters())
    1248424
    """
    return SqueezeNet(
        (96, 7),
        (2, 5, 9),
        num_classes=num_classes,
        in_channels=in_channels,
        image_size=image_size,
        dropout=dropout,
        bypass=bypass,
        last_padding=last_padding,
    )


def squeezenet1_1(
    num_classes: int = 1000,
    in_channels: int = 3,
    image_size: int = 224,
    *,
    dropout: float = 0.5,
    bypass: str = "none",
    last_padding: int = 0,
) -> SqueezeNet:
    """SqueezeNet 1.1, 2.3 times fewer macs than 1.0; arguments as `squeezenet1_0`.

    >>> sum(p.numel() for p in squeezenet1_1().parameters())
    1235496
    """
    return SqueezeNet(
        (64, 3),
        (2, 4, 6),
        num_classes=num_classes,
        in_channels=in_channels,
        image_size=image_size,
        dropout=dropout,
        bypass=bypass,
        last_padding=last_padding,
    )
