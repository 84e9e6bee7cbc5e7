"""history: the talk's slides from AlexNet to SEP-Net as one table, counted anew, with published accuracy."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from sepnet.core.history import Difference, HistoryRow
from sepnet.networks import build

__all__ = ["history"]

_KRIZHEVSKY = "Krizhevsky, Sutskever, Hinton 2012 (NIPS), table 2, 1 CNN"
_SIMONYAN = "Simonyan, Zisserman 2014 (arXiv 1409.1556), table 3, D, S in [256; 512], Q = 384"
_SZEGEDY = "Szegedy et al. 2014 (arXiv 1409.4842), table 3, 1 model, 1 crop"
_HE = "He et al. 2015 (arXiv 1512.03385), table 3, 10 crops"
_IANDOLA = "Iandola et al. 2016 (arXiv 1602.07360), table 3"
_HOWARD = "Howard et al. 2017 (arXiv 1704.04861), table 6"
_LI = (
    "Li et al. 2017 (arXiv 1706.03912) as the talk's table of SEP-Nets gives it, not confirmed in the paper; "
    "of the authors' network, whose layers were not published, not of the reconstruction that is counted"
)


@dataclass(frozen=True)
class _Claim:
    """A figure of the talk; `ours` is filled with the counts, see `_figures`."""

    what: str
    talk: str
    ours: str
    reason: str


@dataclass(frozen=True)
class _Entry:
    """What is not counted but published."""

    title: str
    network: str
    year: int
    top1: float | None = None
    top5: float | None = None
    source: str = ""
    published: str = ""
    claims: tuple[_Claim, ...] = ()
    made_of: str = ""
    """The network whose counts the claims use, where the row itself is another form of it."""


_ALEXNET = (
    _Claim(
        "network",
        "62.3 M, without groups",
        "{params_m:.2f} M",
        "the slides draw the two-GPU network, whose conv 2, 4 and 5 see half of the channels, but count it without groups",
    ),
)
_VGG = (
    _Claim("competition", "2013 winner", "2014, second in classification", "VGG took part in ILSVRC-2014"),
    _Claim(
        "conv params", "14.4 M, 10.4 %", "{conv_m:.2f} M, {conv_share:.1f} %", "the sum of the 13 layers, with biases"
    ),
    _Claim("fc share", "89.6 %", "{fc_share:.1f} %", "follows from the conv params; the slide's 123.6 M is right"),
    _Claim("size", "450 MB", "{mb:.1f} MB", "4 bytes x params"),
)
_GOOGLENET = (
    _Claim(
        "size",
        "50 MB",
        "{mb:.1f} MB",
        "50 MB counts the two auxiliary heads, which help training only",
    ),
    _Claim("fc layers", "none", "{fcs} of {fc_m:.3f} M", "the fc before the classes is still there, 1024 x 1000"),
    _Claim(
        "accuracy",
        "68.65 / 88.91 %",
        "- / 89.93 %",
        "another training than the paper's, of which top-5 is published only",
    ),
)
_AUXILIARY = (_Claim("size", "50 MB", "{mb:.1f} MB", "rounded down; 4 bytes x params"),)
_RESNET = (
    _Claim(
        "layers",
        "152 conv, no fc",
        "{convs} conv, {fcs} fc",
        "151 convolutions and the fc 2048 x 1000 make 152; the other 4 convolutions are projections of shortcuts",
    ),
    _Claim(
        "accuracy",
        "96.6 %",
        "96.43 % top-5",
        "the summary's plateau; the paper's ensemble has 3.57 % top-5 error on the test images (table 5)",
    ),
)
_SQUEEZENET = (
    _Claim("size", "4.8 MB", "{mb:.2f} MB", "4.8 is {mib:.2f} MiB rounded; 1 MB = 10^6 bytes here"),
    _Claim("top-1", "60.4 %", "57.5 %", "60.4 % is SqueezeNet 1.0 with simple bypass, not the plain network"),
)

_PATTERNS = (
    _Claim(
        "size",
        "1.1 M, 4.2 MB",
        "{pattern_m:.3f} M, {pattern_mb:.2f} MB",
        "the reconstruction of SEP-Net-R small, its blocks' 3x3 kernels at 9 bits and one float32 each",
    ),
)
_QUANTIZED = (
    _Claim(
        "size",
        "1.3 MB",
        "{quantized_mb:.2f} MB",
        "the same with the other weights but the stem's at 8 bits, before entropy coding; their scales are not counted",
    ),
)

_ENTRIES = (
    _Entry("AlexNet, without groups", "alexnet", 2012),
    _Entry("AlexNet, two GPUs", "alexnet_grouped", 2012, 0.593, 0.818, _KRIZHEVSKY, "60 M", _ALEXNET),
    _Entry("VGG-16", "vgg16", 2014, 0.744, 0.919, _SIMONYAN, "138 M", _VGG),
    _Entry("GoogLeNet", "googlenet", 2014, None, 0.8993, _SZEGEDY, "", _GOOGLENET),
    _Entry("GoogLeNet, auxiliary heads", "googlenet_aux", 2014, claims=_AUXILIARY),
    _Entry("ResNet-152", "resnet152", 2015, 0.7857, 0.9429, _HE, "", _RESNET),
    _Entry("SqueezeNet 1.0", "squeezenet1_0", 2016, 0.575, 0.803, _IANDOLA, "4.8 MB", _SQUEEZENET),
    _Entry("SqueezeNet 1.0, simple bypass", "squeezenet1_0?bypass=simple", 2016, 0.604, 0.825, _IANDOLA, "4.8 MB"),
    _Entry(
        "MobileNet v1 0.5",
        "mobilenet_v1?width=0.5",
        2017,
        0.637,
        None,
        _HOWARD,
        "1.3 M",
        (_Claim("size", "5.2 MB", "{mb:.2f} MB", "4 bytes x 1.3 M, the rounded count"),),
    ),
    _Entry(
        "MobileNet v1 0.75",
        "mobilenet_v1?width=0.75",
        2017,
        0.684,
        None,
        _HOWARD,
        "2.6 M",
        (_Claim("size", "10.4 MB", "{mb:.2f} MB", "4 bytes x 2.6 M, the rounded count"),),
    ),
    _Entry("MobileNet v1 1.0", "mobilenet_v1", 2017, 0.706, None, _HOWARD, "4.2 M"),
    _Entry("SEP-Net-R small, reconstructed", "sepnet_small", 2017, 0.658, None, _LI, "1.3 M, 5.2 MB"),
    _Entry("SEP-Net-R large, reconstructed", "sepnet_large", 2017, 0.667, None, _LI, "1.7 M, 6.7 MB"),
    _Entry("SEP-Net-B small", "", 2017, 0.637, None, _LI, "1.1 M, 4.2 MB", _PATTERNS, "sepnet_small"),
    _Entry("SEP-Net-BQ small", "", 2017, 0.635, None, _LI, "1.1 M, 1.3 MB", _QUANTIZED, "sepnet_small"),
)


def history() -> tuple[HistoryRow, ...]:
    """The networks of the talk in its order.

    Params are counted from the catalogue, without allocating a weight.  Accuracies are published ones, of different
    crops and scales, so that they compare only roughly; `source` says which.  The layers of the SEP-Nets were not
    published: what is counted is the catalogue's reconstruction, and the accuracies are not its own.

    >>> vgg = history()[2]
    >>> vgg.title, vgg.params, vgg.differences[1].talk, vgg.differences[1].ours
    ('VGG-16', 138357544, '14.4 M, 10.4 %', '14.71 M, 10.6 %')
    """
    return tuple(map(_row, _ENTRIES))


def _row(entry: _Entry) -> HistoryRow:
    counts = _count(entry.network) if entry.network else None
    figures = _count(entry.network or entry.made_of).figures() if entry.claims else {}
    differences = tuple(
        Difference(claim.what, claim.talk, claim.ours.format(**figures), claim.reason.format(**figures))
        for claim in entry.claims
    )
    return HistoryRow(
        entry.title,
        entry.network,
        entry.year,
        counts.params if counts else None,
        counts.conv if counts else None,
        counts.fc if counts else None,
        entry.top1,
        entry.top5,
        entry.source,
        entry.published,
        differences,
    )


@dataclass(frozen=True)
class _Counts:
    """Learnable numbers, and how many layers hold them.

    `pattern_weights` are those of the pattern residual blocks' k x k convolutions, in `pattern_kernels`; `weights` are
    those of all convolutions but the first and of fully connected layers.
    """

    params: int
    conv: int
    fc: int
    convs: int
    fcs: int
    weights: int
    pattern_weights: int
    pattern_kernels: int

    @property
    def pattern_bytes(self) -> float:
        """What those convolutions take at one bit a weight and one float32 a kernel."""
        return self.pattern_weights / 8 + 4 * self.pattern_kernels

    def figures(self) -> dict[str, float]:
        """What the words of a claim may name."""
        patterns = 4 * (self.params - self.pattern_weights) + self.pattern_bytes
        quantized = patterns - 3 * (self.weights - self.pattern_weights)
        return {
            "params_m": self.params / 1e6,
            "conv_m": self.conv / 1e6,
            "fc_m": self.fc / 1e6,
            "conv_share": 100 * self.conv / self.params,
            "fc_share": 100 * self.fc / self.params,
            "mb": 4 * self.params / 1e6,
            "mib": 4 * self.params / 2**20,
            "pattern_m": patterns / 4e6,
            "pattern_mb": patterns / 1e6,
            "quantized_mb": quantized / 1e6,
            "convs": self.convs,
            "fcs": self.fcs,
        }


def _count(network: str) -> _Counts:
    with torch.device("meta"):
        model = build(network)
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    fcs = [module for module in model.modules() if isinstance(module, nn.Linear)]
    weights = [module.weight for module in convs[1:]] + [module.weight for module in fcs]
    patterns = [weight for name, weight in model.named_parameters() if name.endswith(".kxk.weight")]
    return _Counts(
        sum(parameter.numel() for parameter in model.parameters()),
        sum(parameter.numel() for module in convs for parameter in module.parameters()),
        sum(parameter.numel() for module in fcs for parameter in module.parameters()),
        len(convs),
        len(fcs),
        sum(weight.numel() for weight in weights),
        sum(weight.numel() for weight in patterns),
        sum(weight[:, :, 0, 0].numel() for weight in patterns),
    )
