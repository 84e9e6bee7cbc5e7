"""Arrays in files of numpy: examples in numbers, as a network takes them."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError
from sepnet.core.examples import Arrays

__all__ = ["arrays_of", "is_array_file", "load_arrays"]

ENDINGS = (".npz", ".npy")


def is_array_file(spec: str | os.PathLike[str]) -> bool:
    """Whether a text names such a file rather than a data set: `examples.npz`, `examples.npy`.

    >>> is_array_file("inputs.NPZ"), is_array_file("mnist")
    (True, False)
    """
    return os.fspath(spec).lower().endswith(ENDINGS)


def load_arrays(path: str | os.PathLike[str]) -> Arrays:
    """All arrays of an `.npz` file by their names, or the one of an `.npy` file, without a name.

    Raises `DataError` when there is no such file, it is damaged, or it holds something else than numbers.
    """
    name = Path(path).name
    try:
        found = np.load(path, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return arrays_of(found, name)
        with found:
            return arrays_of({key: found[key] for key in found.files}, name)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, KeyError, EOFError, MemoryError, zipfile.BadZipFile, NotImplementedError) as error:
        raise DataError(f"{path} is no file of arrays of numbers as numpy.savez writes them: {error}") from error


def arrays_of(given: npt.ArrayLike | Mapping[str, npt.ArrayLike], name: str = "arrays") -> Arrays:
    """An array, or a mapping of names and arrays.  Raises `DataError` for what is no numbers.

    >>> arrays_of({"x": [[1.0, 2.0]]}).arrays["x"].shape
    (1, 2)
    """
    named = given if isinstance(given, Mapping) else {"": given}
    return Arrays(name, {str(key): _numbers(value, str(key), name) for key, value in named.items()})


def _numbers(given: Any, key: str, name: str) -> npt.NDArray[Any]:
    try:
        found = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{name}: {key or 'it'} is no array: {error}") from error
    if found.dtype.kind not in "fiub":
        raise DataError(f"{name}: {key or 'it'} is of type {found.dtype}; expected numbers")
    return found
