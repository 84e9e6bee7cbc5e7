"""The dataset noun: labelled images, in memory or read when they are asked for, and how a network wants to see them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError
from sepnet.core.header import InputSpec

__all__ = ["Dataset", "Pixels", "Rows", "Split", "StreamedImages", "normalize"]

Pixels = npt.NDArray[np.uint8]
"""Images (n, channels, height, width)."""
Rows = npt.NDArray[np.int64]
"""Row numbers of images in their split."""
MOST_IMAGES, MOST_NUMBERS = 250, 5_000_000  # of a batch of `Split.batches`


class StreamedImages(ABC):
    """Images that are read when they are asked for; what `Split.images` is where an array would not fit in memory.

    As of an array, `len`, `shape` and `images[rows]` work; the latter reads those rows, as evaluation sees them.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int, int, int]:
        """(n, channels, height, width)."""

    @abstractmethod
    def part(self, rows: slice) -> StreamedImages:
        """These rows alone; none is read."""

    @abstractmethod
    def stream(self, batches: Iterable[Rows], draw: tuple[int, int] | None = None) -> Iterator[Pixels]:
        """Read batch after batch, in order, taking memory for a few batches at most.

        Args:
            batches: row numbers, an array a batch.
            draw: (seed, epoch) of random crops, where the set has them in training: those of a row depend on
                (seed, epoch, row) alone.  None gives the images as evaluation sees them.

        Raises:
            DataError: an image that cannot be read, by its name, when its batch comes.
        """

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice | Rows) -> Pixels:
        chosen = np.arange(len(self))[rows]
        return next(iter(self.stream([chosen])))


@dataclass(frozen=True)
class Split:
    """Images uint8 (n, channels, height, width), an array or `StreamedImages`, and labels int64 (n,)."""

    images: Pixels | StreamedImages
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if isinstance(self.images, np.ndarray) and (self.images.ndim != 4 or self.images.dtype != np.uint8):
            raise DataError(
                f"images must be uint8 of shape (n, channels, height, width); found {self.images.dtype} {self.images.shape}"
            )
        if self.labels.shape != (len(self.images),):
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels; the two must be as many")

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, rows: slice) -> Split:
        """These rows alone: views of the arrays; of streamed images none is read."""
        images = self.images.part(rows) if isinstance(self.images, StreamedImages) else self.images[rows]
        return Split(images, self.labels[rows])

    def batches(self, size: int | None = None) -> Iterator[tuple[Pixels, npt.NDArray[np.int64]]]:
        """(images, labels) of all rows in order, as evaluation sees them.

        Args:
            size: images a batch.  None takes 250 of small images and fewer of large ones: 5 million numbers at most, 33
                images of 3x224x224.

        >>> split = Split(np.zeros((5, 1, 2, 2), np.uint8), np.arange(5))
        >>> [labels.tolist() for _, labels in split.batches(2)]
        [[0, 1], [2, 3], [4]]
        """
        numbers = int(np.prod(self.images.shape[1:]))
        size = size or max(1, min(MOST_IMAGES, MOST_NUMBERS // max(1, numbers)))
        starts = range(0, len(self), size)
        if isinstance(self.images, StreamedImages):
            pixels = self.images.stream(np.arange(start, min(len(self), start + size)) for start in starts)
        else:
            pixels = (self.images[start : start + size] for start in starts)
        for start, images in zip(starts, pixels, strict=True):
            yield images, self.labels[start : start + size]


@dataclass(frozen=True)
class Dataset:
    """A classification data set.

    Attributes:
        name: as the user asked for it.
        classes: class names, index = label.
        train, test: the two splits.
        mean, std: per channel, of pixels scaled to 0..1; a network sees `(pixel / 255 - mean) / std`.
        mirror: whether a left-right flipped image keeps its label (photographs yes, digits no).
    """

    name: str
    classes: tuple[str, ...]
    train: Split
    test: Split
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirror: bool = False

    def normalization(self, wanted: InputSpec | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """(mean, std) for a packed network: those its file says, or else those of the set."""
        return (wanted.mean, wanted.std) if wanted is not None and wanted.mean else (self.mean, self.std)

    def __post_init__(self) -> None:
        for label, split in (("train", self.train), ("test", self.test)):
            if len(split) == 0:
                raise DataError(f"{self.name}: the {label} split is empty")
            if split.labels.min() < 0 or split.labels.max() >= len(self.classes):
                raise DataError(f"{self.name}: a {label} label lies outside 0..{len(self.classes) - 1}")
        if len(self.classes) < 2:
            raise DataError(
                f"{self.name}: found one class ({', '.join(self.classes)}); a classifier needs at least two"
            )

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one image."""
        channels, height, width = self.test.images.shape[1:]
        return int(channels), int(height), int(width)

    def batch(self, images: Pixels) -> npt.NDArray[np.float32]:
        """Images as the network sees them: float32, same shape, `(pixel / 255 - mean) / std`."""
        return normalize(images, self.mean, self.std)


def normalize(images: Pixels, mean: tuple[float, ...], std: tuple[float, ...]) -> npt.NDArray[np.float32]:
    """`(pixel / 255 - mean) / std` per channel, float32, for images (n, channels, height, width).

    >>> normalize(np.full((1, 1, 1, 2), 255, np.uint8), (0.5,), (0.25,)).tolist()
    [[[[2.0, 2.0]]]]
    """
    middle = np.asarray(mean, np.float32).reshape(1, -1, 1, 1)
    spread = np.asarray(std, np.float32).reshape(1, -1, 1, 1)
    return ((images.astype(np.float32) / np.float32(255.0) - middle) / spread).astype(np.float32)
