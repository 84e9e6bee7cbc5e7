"""One image of each of ImageNet's 1,000 classes, for sanity checks and for comparing a network with its original."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import DataError, brief
from sepnet.datasets.images import check_crop, read_crop
from sepnet.datasets.normalization import mean_and_std

__all__ = ["imagenet_sample"]

IMAGES = 1000
MAX_IMAGE_BYTES = 2**24


def imagenet_sample(
    data_dir: Path, *, size: int = 224, resize: int = 256, interpolation: str = "bilinear", normalize: str = "imagenet"
) -> Dataset:
    """1,000 images, the i-th of class i: shorter side to `resize`, then the centre `size` x `size`; `mirror` true.

    **Never report its accuracy as that of the ILSVRC validation set**: the images are evidently of the training set
    (MobileNet v1 scores 86.6 % on them, and about 70 % on the validation images).  The training and the test split are
    the same 1,000 images, for calibration and for comparing a compressed network with its original.

    Read from `data_dir/imagenet-sample`: `images.zip` with `000.jpg` .. `999.jpg`, the number being the class, and
    `classes.txt`, whose lines are `index wnid name`.  Two classes are called crane and two maillot: these four names
    have their wnid behind them.  Takes 1000 * 3 * size * size bytes, 0.15 GB at 224.

    Args:
        data_dir: where the data sets lie.
        size: pixels of a side, at most `resize`.
        resize: pixels of the shorter side before the crop.  The images are 256 x 256, so that 256 leaves them as they
            are; for a network of 128 x 128 take `resize=146&size=128`, the same part of the picture.
        interpolation: `bilinear` or `bicubic`.
        normalize: a name of `NORMALIZATIONS`: `imagenet`, `half`, `tflite`, `caffe` or `cifar10`.

    Raises:
        DataError: a file that is missing or broken, by its name.
        UsageError: sizes or names that cannot be.
    """
    mean, std = mean_and_std(normalize)
    check_crop(resize, size, interpolation, "size")
    folder = Path(data_dir) / "imagenet-sample"
    classes = _classes(folder / "classes.txt")
    images = np.empty((IMAGES, 3, size, size), np.uint8)
    for at, (name, data) in enumerate(_files(folder / "images.zip")):
        images[at] = read_crop(data, resize, size, channels=3, interpolation=interpolation, name=name)
    split = Split(images, np.arange(IMAGES, dtype=np.int64))
    return Dataset("imagenet_sample", classes, split, split, mean, std, mirror=True)


def _files(path: Path) -> list[tuple[str, bytes]]:
    """(name for messages, bytes) of `000.jpg` to `999.jpg`."""
    found: list[tuple[str, bytes]] = []
    try:
        with zipfile.ZipFile(path) as archive:
            for at in range(IMAGES):
                entry = archive.getinfo(f"{at:03d}.jpg")
                if entry.file_size > MAX_IMAGE_BYTES:
                    raise DataError(
                        f"{path}: {entry.filename} would take {entry.file_size} bytes; expected at most {MAX_IMAGE_BYTES}"
                    )
                found.append((f"{path}/{entry.filename}", archive.read(entry)))
    except (OSError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError) as problem:
        text = brief(problem)
        raise DataError(f"{path}: missing or broken: {type(problem).__name__}: {text}") from problem
    return found


def _classes(path: Path) -> tuple[str, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as problem:
        raise DataError(f"{path}: missing or broken: {problem}") from problem
    rows = [line.split(maxsplit=2) for line in lines]
    if len(rows) != IMAGES or any(len(row) != 3 or row[0] != str(at) for at, row in enumerate(rows)):
        raise DataError(f"{path}: expected {IMAGES} lines 'index wnid name' from index 0 on; found {len(rows)} lines")
    names = [row[2] for row in rows]
    return tuple(name if names.count(name) == 1 else f"{name} {wnid}" for _, wnid, name in rows)
