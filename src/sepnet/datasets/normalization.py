"""The mean and std that published networks were trained with, by name."""

from __future__ import annotations

from typing import Any

from sepnet.core.errors import UsageError

__all__ = ["NORMALIZATIONS", "mean_and_std"]

Statistics = tuple[tuple[float, float, float], tuple[float, float, float]]

NORMALIZATIONS: dict[str, Statistics] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.491400, 0.482158, 0.446531), (0.247032, 0.243485, 0.261588)),
    "half": ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "caffe": ((123 / 255, 117 / 255, 104 / 255), (1 / 255, 1 / 255, 1 / 255)),
    "tflite": ((128 / 255, 128 / 255, 128 / 255), (128 / 255, 128 / 255, 128 / 255)),
}
"""Name -> (mean, std) per channel R, G, B of pixels scaled to 0..1.

`imagenet` is torchvision's, `cifar10` that of the official 50,000 training images, `half` is TensorFlow's: -1..1.
`tflite` is that of its quantized networks, (pixel - 128) / 128; `caffe` subtracts 123, 117, 104 from pixels 0..255 (its
networks take B, G, R: the channels of their first layer must be turned round).
"""


def mean_and_std(normalize: Any) -> Statistics:
    """(mean, std) called `normalize`.  Raises `UsageError` with the choices.

    >>> mean_and_std("half")
    ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    """
    if not isinstance(normalize, str) or normalize not in NORMALIZATIONS:
        raise UsageError(f"found normalize={normalize!r}; expected {' or '.join(NORMALIZATIONS)}")
    return NORMALIZATIONS[normalize]
