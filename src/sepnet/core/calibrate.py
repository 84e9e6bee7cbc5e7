"""What is given to calibrate on."""

from __future__ import annotations

from dataclasses import dataclass

from sepnet.core.dataset import Dataset
from sepnet.core.pack_options import IMAGES

__all__ = ["Calibrate"]


@dataclass(frozen=True)
class Calibrate:
    """Training images to quantize by: `images` to look at, as many again to measure on; `seed` of which ones."""

    data: Dataset
    images: int = IMAGES
    seed: int = 0
