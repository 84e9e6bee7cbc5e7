"""Augmentation: of uint8 images held in memory, all of an epoch at once, and of a batch as the network sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sepnet.core.train_options import TrainOptions

__all__ = ["Mixed", "augment", "mix"]

Images = npt.NDArray[Any]


def augment(images: Images, options: TrainOptions, may_mirror: bool, random: np.random.Generator) -> Images:
    """Images (n, channels, height, width), each shifted, mirrored and cut as `options` say; the input is left as it is.

    Sources: shift (pad and crop) and mirror as in He et al. 2015 (arXiv 1512.03385, section 4.2), cutout as in DeVries
    and Taylor 2017 (arXiv 1708.04552).
    """
    mine = images
    if options.shift:
        mine = _shifted(mine, options.shift, random)
    if options.mirror and may_mirror:
        mine = mine.copy() if mine is images else mine
        flip = random.random(len(mine)) < 0.5
        mine[flip] = mine[flip][..., ::-1]
    if options.cutout:
        mine = mine.copy() if mine is images else mine
        _cut(mine, options.cutout, random)
    return mine


def _shifted(images: Images, most: int, random: np.random.Generator) -> Images:
    """Every image moved by up to `most` pixels in each direction, zeros moving in."""
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (most, most), (most, most)))
    moves = random.integers(0, 2 * most + 1, (len(images), 2))
    shifted = np.empty_like(images)
    for down in range(2 * most + 1):
        for right in range(2 * most + 1):
            chosen = np.flatnonzero((moves[:, 0] == down) & (moves[:, 1] == right))
            shifted[chosen] = padded[chosen, :, down : down + height, right : right + width]
    return shifted


def _cut(images: Images, side: int, random: np.random.Generator) -> None:
    """A square of `side` pixels of every image set to its channels' means, in place; its centre may lie at the edge."""
    count, _, height, width = images.shape
    fill: Images = images.mean(axis=(2, 3)).astype(images.dtype)
    corners = np.stack([random.integers(0, height, count), random.integers(0, width, count)], 1) - side // 2
    for at, (top, left) in enumerate(corners.tolist()):
        rows, columns = slice(max(0, top), max(0, top + side)), slice(max(0, left), max(0, left + side))
        images[at, :, rows, columns] = fill[at, :, None, None]


@dataclass(frozen=True)
class Mixed:
    """A batch: images, labels, and for mixup the labels of the images blended in and the first ones' share."""

    images: torch.Tensor
    labels: torch.Tensor
    others: torch.Tensor | None = None
    share: float = 1.0

    def part(self, take: Callable[[torch.Tensor], torch.Tensor]) -> Mixed:
        """The images and labels that `take` takes."""
        others = None if self.others is None else take(self.others)
        return Mixed(take(self.images), take(self.labels), others, self.share)


def mix(images: torch.Tensor, labels: torch.Tensor, alpha: float) -> Mixed:
    """mixup (Zhang et al. 2018, arXiv 1710.09412): x = s x + (1 - s) x', s from Beta(alpha, alpha), x' the batch shuffled.

    Random numbers come from torch's global generator.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(images)).to(images.device)
    return Mixed(torch.lerp(images[order], images, share), labels, labels[order], share)
