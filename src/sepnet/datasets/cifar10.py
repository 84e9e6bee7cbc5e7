"""CIFAR-10 from the official binary version, or from lossless mosaics of the same images."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import DataError, brief
from sepnet.datasets.normalization import mean_and_std

__all__ = ["CLASSES", "cifar10", "read_batch", "read_mosaic"]

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FOLDERS = ("cifar10", "cifar-10-batches-bin")
TRAIN, TEST = tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",)
RECORDS = 10_000
RECORD_BYTES = 1 + 3 * 32 * 32
MOSAIC_SIDE = 3200

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]


def cifar10(data_dir: Path, normalize: str = "imagenet") -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 images of 3x32x32 in the official order, `mirror` true.

    Read from `data_dir/cifar10` or `data_dir/cifar-10-batches-bin`, in one of two forms:

    - the official "binary version": `data_batch_1.bin` .. `data_batch_5.bin` and `test_batch.bin`, each of 10,000
      records of a label byte and 3,072 pixels, R, G, B planes;
    - mosaics: `data_batch_1.webp` .. and `test_batch.webp`, lossless, 100 x 100 images each row by row, and
      `labels.npz` with `train` (50,000) and `test` (10,000).  About 5 s, and 0.2 GB.

    The "python version" is pickles, which run code when opened, and is not read.

    Args:
        data_dir: where the data sets lie.
        normalize: `imagenet`, with which most published CIFAR-10 networks were trained; `cifar10`, the statistics of
            its own training images; `half`, mean and std 0.5.

    Raises:
        DataError: a file that is missing, truncated or broken, by its name.
        UsageError: another `normalize`.
    """
    mean, std = mean_and_std(normalize)
    folder = _folder(Path(data_dir))
    read = _splits_of_batches if (folder / "test_batch.bin").is_file() else _splits_of_mosaics
    train, test = read(folder)
    return Dataset("cifar10", CLASSES, train, test, mean, std, mirror=True)


def _folder(data_dir: Path) -> Path:
    for name in FOLDERS:
        for file in ("test_batch.bin", "test_batch.webp"):
            if (data_dir / name / file).is_file():
                return data_dir / name
    places = " nor in ".join(str(data_dir / name) for name in FOLDERS)
    pickles = any((data_dir / name / "test_batch").is_file() for name in (*FOLDERS, "cifar-10-batches-py"))
    hint = "; found the python version, whose pickles are not read" if pickles else ""
    raise DataError(
        f"CIFAR-10 is neither in {places}{hint}; expected there test_batch.bin and the five data_batch_N.bin of the "
        "official binary version"
    )


def _splits_of_batches(folder: Path) -> tuple[Split, Split]:
    def split(names: tuple[str, ...]) -> Split:
        parts = [read_batch(folder / f"{name}.bin") for name in names]
        return Split(np.concatenate([p for p, _ in parts]), np.concatenate([labels for _, labels in parts]))

    return split(TRAIN), split(TEST)


def _splits_of_mosaics(folder: Path) -> tuple[Split, Split]:
    labels = _labels(folder / "labels.npz")

    def split(key: str, names: tuple[str, ...]) -> Split:
        images = np.empty((len(names) * RECORDS, 3, 32, 32), np.uint8)
        for at, name in enumerate(names):
            images[at * RECORDS : (at + 1) * RECORDS] = read_mosaic(folder / f"{name}.webp")
        return Split(images, labels[key])

    return split("train", TRAIN), split("test", TEST)


def read_batch(path: Path) -> tuple[Pixels, Labels]:
    """Images (10000, 3, 32, 32) and labels of one file of the binary version.

    Raises:
        DataError: no such file, another size, or a label above 9.
    """
    expected = RECORDS * RECORD_BYTES
    try:
        found = path.stat().st_size
        data = path.read_bytes() if found == expected else b""
    except OSError as problem:
        raise DataError(f"{path}: {problem.strerror or problem}") from problem
    if len(data) != expected:
        raise DataError(f"{path}: found {found} bytes; expected {expected}, {RECORDS} records of {RECORD_BYTES}")
    records = np.frombuffer(data, np.uint8).reshape(RECORDS, RECORD_BYTES)
    labels = records[:, 0].astype(np.int64)
    if labels.max() > 9:
        raise DataError(f"{path}: found label {labels.max()}; expected 0..9")
    return records[:, 1:].reshape(-1, 3, 32, 32), labels


def read_mosaic(path: Path) -> Pixels:
    """Images (10000, 3, 32, 32) of one mosaic, 100 rows of 100.

    Raises:
        DataError: no such file, broken, or another size than 3200 x 3200.
    """
    try:
        with Image.open(path) as image:
            if image.size != (MOSAIC_SIDE, MOSAIC_SIDE):
                raise DataError(
                    f"{path}: found {image.width}x{image.height}; expected {MOSAIC_SIDE}x{MOSAIC_SIDE}, 100 x 100 images"
                )
            pixels = np.asarray(image.convert("RGB"))
    except DataError:
        raise
    except FileNotFoundError as problem:
        raise DataError(f"{path}: no such file; expected the six mosaics of CIFAR-10 there") from problem
    except Exception as problem:  # Pillow's decoders raise anything at a broken file
        text = brief(problem)
        raise DataError(f"{path}: broken, or no image: {type(problem).__name__}: {text}") from problem
    tiles = pixels.reshape(100, 32, 100, 32, 3).transpose(0, 2, 4, 1, 3)
    return np.ascontiguousarray(tiles).reshape(-1, 3, 32, 32)


def _labels(path: Path) -> dict[str, Labels]:
    """`train` and `test` of labels.npz, never unpickled."""
    found: dict[str, Labels] = {}
    try:
        with np.load(path, allow_pickle=False) as file:
            for key, count in (("train", 5 * RECORDS), ("test", RECORDS)):
                array = file[key]
                if array.shape != (count,) or array.dtype.kind not in "iu":
                    raise DataError(
                        f"{path}: found {key} {array.dtype} {array.shape}; expected {count} integers, one an image"
                    )
                found[key] = array.astype(np.int64)
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as problem:
        text = brief(problem)
        raise DataError(f"{path}: missing or broken: {type(problem).__name__}: {text}") from problem
    for key, labels in found.items():
        if labels.min() < 0 or labels.max() > 9:
            raise DataError(f"{path}: found {key} labels {labels.min()}..{labels.max()}; expected 0..9")
    return found
