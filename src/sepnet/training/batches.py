"""Batches of a split, shuffled and augmented by seed."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from sepnet.core.dataset import Dataset, Pixels, Rows, Split, StreamedImages
from sepnet.core.train_options import TrainOptions
from sepnet.training.augment import augment

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
        split, size = self.data.train, self.options.batch
        order = random.permutation(len(split))
        chosen = [order[step * size : (step + 1) * size] for step in range(self.steps)]
        for rows, images in zip(chosen, self._images(chosen, epoch, random), strict=True):
            yield torch.from_numpy(self.data.batch(images)), torch.from_numpy(split.labels[rows])

    def _images(self, chosen: list[Rows], epoch: int, random: np.random.Generator) -> Iterator[Pixels]:
        """The images of each batch, augmented: those in memory all at once, streamed ones batch by batch."""
        images = self.data.train.images
        if isinstance(images, StreamedImages):
            for batch in images.stream(chosen, (self.seed, epoch)):
                yield augment(batch, self.options, self.data.mirror, random)
        else:
            images = augment(images, self.options, self.data.mirror, random)
            for rows in chosen:
                yield images[rows]


def eval_batches(data: Dataset, split: Split, batch: int | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(images float32 normalized, labels) of a split, in order; `batch` as in `Split.batches`."""
    for images, labels in split.batches(batch):
        yield torch.from_numpy(data.batch(images)), torch.from_numpy(labels)
