"""MNIST from its four idx files, every header and size checked."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import DataError

__all__ = ["FOLDERS", "MEAN", "STD", "mnist", "read_idx"]

MEAN, STD = (0.1307,), (0.3081,)  # of the 60,000 training images, pixels scaled to 0..1; the tests compute them anew
FOLDERS = ("mnist", "MNIST/raw")
MAX_BYTES = 2**30
CHUNK_BYTES = 2**24


def mnist(data_dir: Path) -> Dataset:
    """MNIST, or another set of ten classes in its files (Fashion-MNIST): 60,000 + 10,000 images of 1x28x28.

    The four files `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
    `t10k-labels-idx1-ubyte`, plain or with `.gz`, lie in `data_dir/mnist` or `data_dir/MNIST/raw` (torchvision's).

    Raises:
        DataError: a file that is missing, truncated or broken, by its name.
    """
    folder = _folder(Path(data_dir))
    train, test = _split(folder, "train"), _split(folder, "t10k")
    return Dataset(name="mnist", classes=tuple("0123456789"), train=train, test=test, mean=MEAN, std=STD)


def _folder(data_dir: Path) -> Path:
    for name in FOLDERS:
        if any((data_dir / name).glob("*-idx?-ubyte*")):
            return data_dir / name
    places = " nor in ".join(str(data_dir / name) for name in FOLDERS)
    raise DataError(f"MNIST is neither in {places}; expected there train-images-idx3-ubyte.gz and its three companions")


def _split(folder: Path, prefix: str) -> Split:
    images_file = _find(folder, f"{prefix}-images-idx3-ubyte")
    labels_file = _find(folder, f"{prefix}-labels-idx1-ubyte")
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1)
    if images.shape[1:] != (28, 28):
        raise DataError(f"{images_file}: found images of {images.shape[1]}x{images.shape[2]}; expected 28x28")
    if len(images) != len(labels):
        raise DataError(f"{labels_file}: found {len(labels)} labels for the {len(images)} images of {images_file.name}")
    if len(labels) and labels.max() > 9:
        raise DataError(f"{labels_file}: found label {labels.max()}; expected 0..9")
    return Split(images[:, None], labels.astype(np.int64))


def _find(folder: Path, name: str) -> Path:
    for file in (folder / name, folder / f"{name}.gz"):
        if file.is_file():
            return file
    raise DataError(f"{folder / name}: no such file, neither with .gz; expected the four files of MNIST there")


def read_idx(path: Path, ndim: int) -> npt.NDArray[np.uint8]:
    """Read one idx file of unsigned bytes, plain or gzip (by its name's `.gz`).

    The format: magic 0x0000 08 `ndim`, then `ndim` sizes as big-endian uint32, then the bytes, and nothing after them.
    At most 2^30 bytes, and memory is taken as they come, so that a hostile header cannot ask for all of it.

    Returns:
        Read-only uint8 of `ndim` dimensions.

    Raises:
        DataError: the file cannot be read, is truncated or too long, or its header is of something else.
    """
    header_bytes = 4 + 4 * ndim
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(header_bytes)
            shape = _shape(path, header, ndim)
            expected = math.prod(shape)
            body = _read(file, expected + 1)
    except (OSError, EOFError, zlib.error) as problem:
        raise DataError(f"{path}: broken or truncated: {problem}") from problem
    if len(body) != expected:
        found = f"{len(body)} bytes" if len(body) < expected else f"more than {expected} bytes"
        raise DataError(
            f"{path}: found {found} after the header; expected {expected} for {' x '.join(map(str, shape))}"
        )
    return np.frombuffer(body, np.uint8).reshape(shape)


def _read(file: gzip.GzipFile | IO[bytes], most: int) -> bytes:
    """Up to `most` bytes; a single `read(most)` would take that much memory before there is anything to put there."""
    parts: list[bytes] = []
    while most > 0 and (part := file.read(min(most, CHUNK_BYTES))):
        parts.append(part)
        most -= len(part)
    return b"".join(parts)


def _shape(path: Path, header: bytes, ndim: int) -> tuple[int, ...]:
    magic = bytes([0, 0, 8, ndim])
    if len(header) < 4 + 4 * ndim or header[:4] != magic:
        found = header[:4].hex() or "none"
        raise DataError(f"{path}: found the first bytes {found}; expected {magic.hex()} and {ndim} sizes (idx, uint8)")
    shape = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(4, len(header), 4))
    if math.prod(shape) > MAX_BYTES:
        raise DataError(f"{path}: found sizes {' x '.join(map(str, shape))}; expected at most {MAX_BYTES} bytes in all")
    return shape
