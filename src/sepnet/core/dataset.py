"""The dataset noun: images and labels in memory, and how a network wants to see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError

__all__ = ["Dataset", "Split", "normalize"]


@dataclass(frozen=True)
class Split:
    """Images uint8 (n, channels, height, width) and labels int64 (n,)."""

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise DataError(
                f"images must be uint8 of shape (n, channels, height, width); found {self.images.dtype} {self.images.shape}"
            )
        if self.labels.shape != self.images.shape[:1]:
            raise DataError(f"{len(self.images)} images but {len(self.labels)} labels; the two must be as many")

    def __len__(self) -> int:
        return len(self.images)


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

    def batch(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Images as the network sees them: float32, same shape, `(pixel / 255 - mean) / std`."""
        return normalize(images, self.mean, self.std)


def normalize(
    images: npt.NDArray[np.uint8], mean: tuple[float, ...], std: tuple[float, ...]
) -> npt.NDArray[np.float32]:
    """`(pixel / 255 - mean) / std` per channel, float32, for images (n, channels, height, width).

    >>> normalize(np.full((1, 1, 1, 2), 255, np.uint8), (0.5,), (0.25,)).tolist()
    [[[[2.0, 2.0]]]]
    """
    middle = np.asarray(mean, np.float32).reshape(1, -1, 1, 1)
    spread = np.asarray(std, np.float32).reshape(1, -1, 1, 1)
    return ((images.astype(np.float32) / np.float32(255.0) - middle) / spread).astype(np.float32)
