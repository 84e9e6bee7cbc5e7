"""Batches of a split held in memory, shuffled and augmented by seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from sepnet.core.dataset import Dataset, Split
from sepnet.core.recipe import TrainOptions

__all__ = ["Batches", "eval_batches"]


class Batches:
    """Training batches of a data set.

    Order and augmentation of an epoch depend on (seed, epoch) alone, so an interrupted run goes on exactly where it was.
    """

    def __init__(self, data: Dataset, options: TrainOptions, seed: int) -> None:
        self.data, self.options, self.seed = data, options, seed

    @property
    def steps(self) -> int:
        """Batches an epoch; a last batch of one image is left out, which batch normalization could not use."""
        images, batch = len(self.data.train), self.options.batch
        return max(1, images // batch + (images % batch > 1))

    def epoch(self, epoch: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """(images float32 normalized, labels) of one epoch."""
        random = np.random.default_rng([self.seed, epoch])
        split = self.data.train
        order = random.permutation(len(split))
        images = _augment(split.images, self.options, self.data.mirror, random)
        for step in range(self.steps):
            chosen = order[step * self.options.batch : (step + 1) * self.options.batch]
            yield torch.from_numpy(self.data.batch(images[chosen])), torch.from_numpy(split.labels[chosen])


def _augment(images: np.ndarray, options: TrainOptions, may_mirror: bool, random: np.random.Generator) -> np.ndarray:
    if options.shift:
        images = _shift(images, options.shift, random)
    if options.mirror and may_mirror:
        flip = random.random(len(images)) < 0.5
        images = images.copy() if not options.shift else images
        images[flip] = images[flip][..., ::-1]
    return images


def _shift(images: np.ndarray, most: int, random: np.random.Generator) -> np.ndarray:
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


def eval_batches(data: Dataset, split: Split, batch: int = 500) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(images float32 normalized, labels) of a split, in order."""
    for start in range(0, len(split), batch):
        images = data.batch(split.images[start : start + batch])
        yield torch.from_numpy(images), torch.from_numpy(split.labels[start : start + batch])
