"""Which images a folder of classes holds, and which of them are for the test.  No image is opened."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError
from sepnet.datasets.images import EXTENSIONS

__all__ = ["ClassFolders", "Listed", "find_images"]

Files = dict[str, list[str]]
"""Class name -> names of its image files, mixed."""


@dataclass(frozen=True)
class Listed:
    """Image files `root / name`, mixed over the classes, with their labels."""

    root: Path
    names: Sequence[str]
    labels: npt.NDArray[np.int64]


@dataclass(frozen=True)
class ClassFolders:
    """Classes by name, index = label, and the files of the two splits."""

    classes: tuple[str, ...]
    train: Listed
    test: Listed


def find_images(root: Path, seed: int = 0, whole: bool = False) -> ClassFolders:
    """List `root/train/CLASS/*` and `root/test/CLASS/*` (or `val` for `test`), or else just `root/CLASS/*`.

    See `folder` for the split and the order.

    Args:
        root: the folder.
        seed: of the split and the order.
        whole: `root/CLASS/*` is not split: all images are in both splits.

    Raises:
        DataError: no folder or an empty one, fewer than two classes, a class in the test split that is not in the
            training one.
    """
    if whole:
        places = root, root
        train = test = _files(root, seed)
    elif (root / "train").is_dir():
        places = root / "train", _test_folder(root)
        train, test = (_files(place, seed) for place in places)
    else:
        places = root, root
        train, test = _split(root, _files(root, seed))
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
    return ClassFolders(classes, _mixed(places[0], train, classes, seed), _mixed(places[1], test, classes, seed))


def _test_folder(root: Path) -> Path:
    for name in ("test", "val"):
        if (root / name).is_dir():
            return root / name
    raise DataError(f"{root}: found train/ but neither test/ nor val/ beside it")


def _split(root: Path, found: Files) -> tuple[Files, Files]:
    """(train, test): the first fifth of each class is for the test."""
    train: Files = {}
    test: Files = {}
    for name, files in found.items():
        if len(files) < 2:
            raise DataError(
                f"{root / name}: found 1 image; a class needs 2 or more, since a fifth is taken for the test"
            )
        held = max(1, (len(files) + 2) // 5)
        test[name], train[name] = files[:held], files[held:]
    return train, test


def _files(root: Path, seed: int) -> Files:
    """The images of each class below `root`, sorted by `_order`."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder; expected one with a sub-folder of images for each class")
    found: Files = {}
    try:
        names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and entry.name[0] != ".")
        for name in names:
            files = [entry.name for entry in os.scandir(root / name) if _is_image(entry)]
            found[name] = sorted(files, key=functools.partial(_order, name, seed))
    except OSError as problem:
        raise DataError(f"{problem.filename or root}: cannot be listed: {problem.strerror or problem}") from problem
    if not found:
        raise DataError(f"{root}: empty; expected a sub-folder of images for each class")
    for name, files in found.items():
        if not files:
            hint = (
                f"; for a folder without train/ use folder:{root / name}?whole=True" if name in ("test", "val") else ""
            )
            raise DataError(
                f"{root / name}: no images; expected files of {' '.join(sorted(e[1:] for e in EXTENSIONS))}{hint}"
            )
    return found


def _is_image(entry: os.DirEntry[str]) -> bool:
    return os.path.splitext(entry.name)[1].lower() in EXTENSIONS and entry.name[0] != "." and entry.is_file()


def _order(name: str, seed: int, file: str) -> tuple[bytes, str]:
    text = f"{name}/{file}" + (f"?{seed}" if seed else "")
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest(), file


def _mixed(root: Path, files: Files, classes: tuple[str, ...], seed: int) -> Listed:
    """The files of all classes in the order of `_order`."""
    rows = [(name, file, label) for label, name in enumerate(classes) for file in files.get(name, ())]
    rows.sort(key=lambda row: _order(row[0], seed, row[1]))
    labels = np.array([label for _, _, label in rows], np.int64)
    return Listed(root, [f"{name}/{file}" for name, file, _ in rows], labels)
