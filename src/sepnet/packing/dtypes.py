"""Types of numbers that a packed file does not compute with, but gives back: the header key `dtype`."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import FormatError
from sepnet.core.packed_model import PackedModel

__all__ = ["BFLOAT16", "FLOATS", "INTEGERS", "METADATA", "as_stored", "rounded_to_bfloat16", "stored_types"]

INTEGERS = ("bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "int64")
METADATA = "metadata"
"""Key of `made` under which the metadata of a weights file is kept, as a JSON object of texts."""
BFLOAT16 = "bfloat16"
FLOATS = ("float16", BFLOAT16, "float32", "float64")


def stored_types(model: PackedModel) -> dict[str, str]:
    """Name -> type, for the tensors whose type is known and not the one that restoring gives."""
    known = (*INTEGERS, *FLOATS)
    return {entry.name: entry.dtype for entry in model.header.tensors if entry.dtype in known}


def as_stored(name: str, array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    """The numbers in their type; of bfloat16, which numpy lacks, the float32 ones.  `FormatError` if they do not fit.

    >>> as_stored("n", np.array([1, 255]), "uint8").dtype
    dtype('uint8')
    """
    if dtype == BFLOAT16:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        typed = array.astype(dtype)
    if dtype in INTEGERS and (array.dtype.kind != "i" or not np.array_equal(typed.astype(np.int64), array)):
        raise FormatError(f"tensor {name!r} is said to be of type {dtype}, which its numbers do not fit")
    return typed


def rounded_to_bfloat16(numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.uint16]:
    """The bits of the nearest bfloat16 numbers, ties to even.

    >>> [hex(bits) for bits in rounded_to_bfloat16(np.float32([1.0, -0.0, 1.00390625]))]
    ['0x3f80', '0x8000', '0x3f80']
    """
    bits = numbers.view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(numbers), bits >> 16, rounded).astype("<u2")
