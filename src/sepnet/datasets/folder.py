"""A folder of images, one sub-folder a class, in memory if it is small and else streamed."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np

from sepnet.core.dataset import Dataset, Pixels, Split
from sepnet.core.errors import UsageError
from sepnet.datasets.class_folders import Listed, find_images
from sepnet.datasets.file_images import Draw, FileImages, Read, check_workers
from sepnet.datasets.images import check_crop, image_shape, read_crop, read_image, read_random_crop
from sepnet.datasets.normalization import mean_and_std

__all__ = ["channel_statistics", "folder"]

MEMORY_BYTES = 10**9  # pixels of a set that is kept in memory, at most
SAMPLE = 1000  # training images of a streamed set whose mean and std are measured
Shape = tuple[int, int, int]


def folder(
    path: str,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    mirror: bool | None = None,
    resize: int | None = None,
    crop: int | None = None,
    interpolation: str = "bilinear",
    min_area: float | None = 0.08,
    normalize: str | None = None,
    workers: int | None = None,
    seed: int = 0,
    whole: bool = False,
) -> Dataset:
    """Load `path/train/CLASS/*` and `path/test/CLASS/*` (or `val` for `test`), or else just `path/CLASS/*`.

    Without a folder `train`, the images of each class are sorted by the SHA-256 of "CLASS/file name" and the first
    fifth of them (rounded, at least one) is the test split: the same images whatever the machine, and an image stays
    on its side when others are added, but for the few at the border.  Training images of all classes are mixed in the
    order of that hash.  Classes are sorted by name.  Files with another extension than an image's, and hidden ones, are
    left out.

    *ImageNet's way*, `crop=224`: test images have the shorter side resized to 256 and the centre cropped (`read_crop`);
    training images are a random part, resized (`read_random_crop`), anew in each epoch, by (seed, epoch, row) whatever
    the number of workers.  *Else* all images are resized to one `size` (`read_image`).

    With `crop` the images are streamed: files are only listed, and each is decoded when its turn comes, two batches
    ahead at most.  So they are without it if their pixels take more than 1 GB; else they are decoded once and kept.
    A broken image is an error when it is met, which names it.

    Args:
        path: the folder.
        size: side in pixels of a square, or (height, width); None takes that of the first image.
        channels: 1 or 3; None takes 3 with `crop`, and else those of the first image.
        mirror: whether a left-right flipped image keeps its label; None means with `crop`.
        resize: pixels of the shorter side before the crop; None takes 8/7 of `crop`, 256 for 224.
        crop: side in pixels of the square that the network sees, in place of `size`.
        interpolation: of `resize` and of the random parts, `bilinear` or `bicubic`, with Pillow's filters.
        min_area: smallest share of the area of an image that a random part has, above 0, at most 1; None crops
            training images as test images.
        normalize: `imagenet`, `half`, `tflite`, `caffe` or `cifar10`: the mean and std that a published network expects.  None
            takes `imagenet` with `crop` and 3 channels, and else those of the training images (std at least 1/255), of
            the first 1,000 in the mixed order where images are streamed.
        workers: threads that decode; None takes one for each processor, at most 8; 0 decodes in the main thread.
        seed: of the split and the mixed order.
        whole: `path/CLASS/*` is not split, all images are in both splits: to evaluate, not to train.

    Raises:
        DataError: no folder or an empty one, fewer than two classes, a broken image (named), a class in the test split
            that is not in the training one.
        UsageError: an option that cannot be.
    """
    root = Path(path).expanduser()
    threads, seed = check_workers(workers), _seed(seed)
    _check_way(size, resize=resize, crop=crop, interpolation=interpolation, min_area=min_area)
    found = find_images(root, seed, bool(whole))
    shape = _shape(found.train, size if crop is None else crop, 3 if crop and channels is None else channels)
    read, draw = _readers(shape, resize=resize, crop=crop, interpolation=interpolation, min_area=min_area)

    def images(listed: Listed) -> FileImages:
        return FileImages(listed.root, listed.names, shape, read, draw, threads)

    train, test = (Split(images(listed), listed.labels) for listed in (found.train, found.test))
    if crop is None and (len(train) + len(test)) * int(np.prod(shape)) <= MEMORY_BYTES:
        train, test = _kept(train), _kept(test)
    if normalize is None and crop is not None and shape[0] == 3:
        normalize = "imagenet"
    mean, std = _statistics(train, normalize)
    return Dataset(
        f"folder:{path}", found.classes, train, test, mean, std, crop is not None if mirror is None else bool(mirror)
    )


def channel_statistics(images: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
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


def _seed(seed: Any) -> int:
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise UsageError(f"found seed={seed!r}; expected an integer >= 0")
    return seed


def _check_way(size: Any, *, resize: Any, crop: Any, interpolation: Any, min_area: Any) -> None:
    if crop is None and resize is not None:
        raise UsageError(f"found resize={resize!r} without crop; expected both, or size alone")
    if crop is not None and size is not None:
        raise UsageError(f"found size={size!r} beside crop; expected either size, or crop")
    if crop is not None:
        check_crop(_resize(resize, crop), crop, interpolation)
    is_number = isinstance(min_area, (int, float)) and not isinstance(min_area, bool)
    if min_area is not None and not (is_number and 0 < min_area <= 1):
        raise UsageError(f"found min_area={min_area!r}; expected a number above 0, at most 1, or None")


def _resize(resize: Any, crop: Any) -> Any:
    return crop * 8 // 7 if resize is None and isinstance(crop, int) else resize


def _shape(listed: Listed, size: Any, channels: Any) -> Shape:
    """What the options ask for, and for the rest that of the first image of the first class."""
    if channels is not None and channels not in (1, 3):
        raise UsageError(f"found channels={channels!r}; expected 1 or 3")
    sides = (size, size) if isinstance(size, int) else size
    if sides is not None and not (isinstance(sides, tuple) and len(sides) == 2 and all(_is_side(s) for s in sides)):
        raise UsageError(f"found size={size!r}; expected a number of pixels >= 1, or (height, width)")
    if sides is not None and channels is not None:
        return int(channels), sides[0], sides[1]
    own = image_shape(listed.root / listed.names[int(listed.labels.argmin())])
    height, width = own[1:] if sides is None else sides
    return own[0] if channels is None else int(channels), height, width


def _is_side(side: Any) -> bool:
    return isinstance(side, int) and not isinstance(side, bool) and 1 <= side <= 65_536


def _readers(
    shape: Shape, *, resize: int | None, crop: int | None, interpolation: str, min_area: float | None
) -> tuple[Read, Draw | None]:
    """How evaluation and training read a file."""
    if crop is None:
        return functools.partial(read_image, shape=shape), None
    options: dict[str, Any] = {"crop": crop, "channels": shape[0], "interpolation": interpolation}
    read = functools.partial(read_crop, resize=_resize(resize, crop), **options)
    return read, None if min_area is None else functools.partial(read_random_crop, min_area=min_area, **options)


def _kept(split: Split) -> Split:
    """The split with its images in memory."""
    images = np.empty(split.images.shape, np.uint8)
    done = 0
    for pixels, _ in split.batches():
        images[done : done + len(pixels)] = pixels
        done += len(pixels)
    return Split(images, split.labels)


def _statistics(train: Split, normalize: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """mean and std by name, or measured."""
    channels = train.images.shape[1]
    if normalize is not None:
        mean, std = mean_and_std(normalize)
        if len(mean) != channels:
            raise UsageError(f"found normalize={normalize!r} with {channels} channel; its mean and std are of 3")
        return mean, std
    if isinstance(train.images, np.ndarray):
        return channel_statistics(train.images)
    sample = _kept(train.part(slice(SAMPLE)))
    return channel_statistics(np.asarray(sample.images))
