"""A folder of images, one sub-folder a class."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import DataError, UsageError
from sepnet.datasets.images import EXTENSIONS, check_crop, image_shape, read_crop, read_image

__all__ = ["channel_statistics", "folder"]

Files = dict[str, list[Path]]
"""Class name -> its image files."""
Reader = Callable[[Path], npt.NDArray[np.uint8]]


def folder(
    path: str,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    mirror: bool = False,
    resize: int | None = None,
    crop: int | None = None,
    interpolation: str = "bilinear",
) -> Dataset:
    """Load `path/train/CLASS/*` and `path/test/CLASS/*` (or `val` for `test`), or else just `path/CLASS/*`.

    Without a folder `train`, the images of each class are sorted by the SHA-256 of "CLASS/file name" and the first
    fifth of them (rounded, at least one) is the test split: the same images whatever the machine, and an image stays
    on its side when others are added, but for the few at the border.  Training images of all classes are mixed in the
    order of that hash.  Classes are sorted by name.  Files with another extension than an image's, and hidden ones, are
    left out.  mean and std are those of the training images, std at least 1/255.

    All images are decoded at once and kept as uint8, `n * channels * height * width` bytes: 50,000 of 3x224x224, as
    many as the ILSVRC validation set has, take 7.5 GB.  A set that does not fit in memory is not for this loader.

    Args:
        path: the folder.
        size: side in pixels of a square, or (height, width); None takes that of the first image.  Images of another
            size are resized as `read_image` says.
        channels: 1 or 3; None takes that of the first image.
        mirror: whether a left-right flipped image keeps its label.
        resize, crop: both or none, in place of `size`: the evaluation transform of ImageNet, `resize=256&crop=224`,
            as `read_crop` says.  The shorter side is resized, then the centre is taken.
        interpolation: of `resize`, `bilinear` or `bicubic`.

    Raises:
        DataError: no folder or an empty one, fewer than two classes, a broken image (named), a class in the test split
            that is not in the training one.
        UsageError: a size, number of channels or interpolation that cannot be.
    """
    root = Path(path).expanduser()
    train, test = _two_splits(root) if (root / "train").is_dir() else _one_split(root)
    classes = tuple(sorted(train))
    if len(classes) < 2:
        raise DataError(
            f"{root}: found one class ({classes[0]}); a classifier needs at least two sub-folders with images"
        )
    strange = sorted(set(test) - set(train))
    if strange:
        raise DataError(
            f"{root}: class {strange[0]!r} is in the test split but not in train; train has {', '.join(classes)}"
        )
    first = train[classes[0]][0]
    if resize is None and crop is None:
        shape = _shape(first, size, channels)
        read: Reader = functools.partial(read_image, shape=shape)
    else:
        shape, read = _crops(first, size, channels, resize, crop, interpolation)
    train_split, test_split = _read(train, classes, shape, read), _read(test, classes, shape, read)
    mean, std = channel_statistics(train_split.images)
    return Dataset(f"folder:{path}", classes, train_split, test_split, mean, std, bool(mirror))


def channel_statistics(images: npt.NDArray[np.uint8]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) per channel of pixels scaled to 0..1, rounded to 6 decimals; std (population) is at least 1/255.

    Exact sums over a histogram, so that the result does not depend on the order of the images.

    >>> channel_statistics(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
    ((0.5,), (0.5,))
    """
    means, stds = [], []
    levels = np.arange(256, dtype=np.float64) / 255
    for channel in range(images.shape[1]):
        counts = np.zeros(256, np.int64)
        for start in range(0, len(images), 1024):
            counts += np.bincount(images[start : start + 1024, channel].ravel(), minlength=256)
        share = counts / counts.sum()
        mean = float(share @ levels)
        means.append(round(mean, 6))
        stds.append(round(max(float(share @ (levels - mean) ** 2) ** 0.5, 1 / 255), 6))
    return tuple(means), tuple(stds)


def _two_splits(root: Path) -> tuple[Files, Files]:
    for name in ("test", "val"):
        if (root / name).is_dir():
            return _files(root / "train"), _files(root / name)
    raise DataError(f"{root}: found train/ but neither test/ nor val/ beside it")


def _one_split(root: Path) -> tuple[Files, Files]:
    train: Files = {}
    test: Files = {}
    for name, files in _files(root).items():
        if len(files) < 2:
            raise DataError(
                f"{root / name}: found 1 image; a class needs 2 or more, since a fifth is taken for the test"
            )
        held = max(1, (len(files) + 2) // 5)
        test[name], train[name] = files[:held], files[held:]
    return train, test


def _files(root: Path) -> Files:
    """The images of each class below `root`, sorted by `_order`."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one with a sub-folder of images for each class")
    found: Files = {}
    for folder_of_class in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        files = [
            p
            for p in folder_of_class.iterdir()
            if p.suffix.lower() in EXTENSIONS and not p.name.startswith(".") and p.is_file()
        ]
        if not files:
            raise DataError(
                f"{folder_of_class}: no images; expected files of {' '.join(sorted(e[1:] for e in EXTENSIONS))}"
            )
        found[folder_of_class.name] = sorted(files, key=_order)
    if not found:
        raise DataError(f"{root}: empty; expected a sub-folder of images for each class")
    return found


def _order(file: Path) -> tuple[bytes, str]:
    return hashlib.sha256(f"{file.parent.name}/{file.name}".encode("utf-8", "surrogateescape")).digest(), file.name


def _shape(first: Path, size: Any, channels: Any) -> tuple[int, int, int]:
    if channels is not None and channels not in (1, 3):
        raise UsageError(f"found channels={channels!r}; expected 1 or 3")
    sides = (size, size) if isinstance(size, int) else size
    if sides is not None and not (isinstance(sides, tuple) and len(sides) == 2 and all(_is_side(s) for s in sides)):
        raise UsageError(f"found size={size!r}; expected a number of pixels >= 1, or (height, width)")
    if sides is not None and channels is not None:
        return int(channels), sides[0], sides[1]
    own = image_shape(first)
    height, width = own[1:] if sides is None else sides
    return own[0] if channels is None else int(channels), height, width


def _crops(
    first: Path, size: Any, channels: Any, resize: Any, crop: Any, interpolation: Any
) -> tuple[tuple[int, int, int], Reader]:
    """Shape and reader of the evaluation transform."""
    if size is not None:
        raise UsageError(f"found size={size!r} beside resize or crop; expected either size, or resize and crop")
    check_crop(resize, crop, interpolation)
    shape = _shape(first, crop, channels)
    return shape, functools.partial(read_crop, resize=resize, crop=crop, channels=shape[0], interpolation=interpolation)


def _is_side(side: Any) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= 65_536


def _read(files: Files, classes: tuple[str, ...], shape: tuple[int, int, int], read: Reader) -> Split:
    """Decode all images, in the order of `_order` over all classes."""
    rows = sorted(
        ((file, label) for label, name in enumerate(classes) for file in files.get(name, ())),
        key=lambda row: _order(row[0]),
    )
    images = np.empty((len(rows), *shape), np.uint8)
    for row, (file, _) in enumerate(rows):
        images[row] = read(file)
    return Split(images, np.array([label for _, label in rows], np.int64))
