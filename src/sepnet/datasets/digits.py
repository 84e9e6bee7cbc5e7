"""scikit-learn's 1,797 handwritten digits, made to look like MNIST: a data set that needs no download."""

from __future__ import annotations

import gzip
import importlib
import importlib.util
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import DataError, MissingExtraError

__all__ = ["MEAN", "STD", "digits", "split_by_class"]

MEAN, STD = (0.2247,), (0.3496,)  # of the 1,437 training images, pixels scaled to 0..1; the tests compute them anew
TEST_IMAGES = 360


def digits() -> Dataset:
    """The 8x8 digits of `sklearn.datasets.load_digits` (UCI "Optical Recognition of Handwritten Digits", test part).

    Pixels 0..16 become `round(pixel * 255 / 16)`, each is repeated 3x3, and 2 black ones are put around on every side:
    1x28x28, digits bright on black, like MNIST.  1,437 training and 360 test images, the same share of every class
    to within one image, chosen and ordered by a fixed permutation.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        DataError: its file is broken.

    >>> data = digits()
    >>> data.train.images.shape, len(data.test)
    ((1437, 1, 28, 28), 360)
    """
    table = _table()
    if table.shape != (1797, 65) or table.min() < 0 or table[:, :64].max() > 16 or table[:, 64].max() > 9:
        raise DataError(
            f"scikit-learn's digits: found {table.shape}; expected 1797 rows of 64 pixels 0..16 and a label 0..9"
        )
    pixels = (table[:, :64].reshape(-1, 1, 8, 8) * 255 + 8) // 16
    images = np.pad(pixels.repeat(3, axis=2).repeat(3, axis=3), ((0, 0), (0, 0), (2, 2), (2, 2))).astype(np.uint8)
    labels = table[:, 64]
    train, test = split_by_class(labels, TEST_IMAGES)
    return Dataset(
        name="digits",
        classes=tuple("0123456789"),
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        mean=MEAN,
        std=STD,
    )


def split_by_class(labels: npt.NDArray[np.int64], test: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Indices (train, test): `test` images in all, from every class its share.

    The images are permuted with seed 0 (`RandomState`, whose numbers numpy promises never to change); of each class
    the first `test * n_class / n` go to the test split, what is lost in rounding down going to the largest remainders.
    """
    order = np.random.RandomState(0).permutation(len(labels)).astype(np.int64)
    counts = np.bincount(labels)
    shares = counts * test // len(labels)
    remainders = counts * test % len(labels)
    shares[np.argsort(-remainders, kind="stable")[: test - int(shares.sum())]] += 1
    chosen = np.zeros(len(labels), bool)
    for label, share in enumerate(shares):
        chosen[np.flatnonzero(labels[order] == label)[:share]] = True
    return order[~chosen], order[chosen]


def _table() -> npt.NDArray[np.int64]:
    """(1797, 65) of 64 pixels and a label, read from the file beside scikit-learn's code: faster than importing it."""
    found = importlib.util.find_spec("sklearn")
    if found is None:
        raise MissingExtraError("data set 'digits'", "scikit-learn", "digits")
    for place in found.submodule_search_locations or ():
        file = Path(place) / "datasets" / "data" / "digits.csv.gz"
        if file.is_file():
            try:
                with gzip.open(file, "rt", encoding="ascii") as lines:
                    return np.loadtxt(lines, delimiter=",").astype(np.int64)
            except (OSError, EOFError, ValueError) as problem:
                raise DataError(f"{file}: {problem}") from problem
    return _table_by_import()


def _table_by_import() -> npt.NDArray[np.int64]:
    """The same table through scikit-learn itself, should it ever ship the file elsewhere."""
    try:
        load_digits = importlib.import_module("sklearn.datasets").load_digits
    except ImportError:
        raise MissingExtraError("data set 'digits'", "scikit-learn", "digits") from None
    data, target = load_digits(return_X_y=True)
    return np.column_stack([data, target]).astype(np.int64)
