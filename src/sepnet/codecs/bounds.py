"""What every codec takes, and what a reader may be asked for."""

from __future__ import annotations

import math

import numpy as np

from sepnet.core.codec import CodecUnfitError, IntArray
from sepnet.core.errors import FormatError, UsageError

__all__ = ["MAX_CODE", "MIN_CODE", "check_codes", "element_count"]

MIN_CODE, MAX_CODE = -(2**31), 2**32 - 1
MAX_ELEMENTS = 1 << 40


def check_codes(codes: IntArray) -> IntArray:
    """The codes as int64.  Raises `UsageError` unless they are integers, `CodecUnfitError` unless they are in range."""
    if codes.dtype.kind not in "iu":
        raise UsageError(f"codes of dtype {codes.dtype} found, expected integers")
    if codes.size and (int(codes.min()) < MIN_CODE or int(codes.max()) > MAX_CODE):
        raise CodecUnfitError(f"codes {codes.min()}..{codes.max()} found, expected {MIN_CODE}..{MAX_CODE}")
    return codes.astype(np.int64, copy=False)


def element_count(data: bytes, shape: tuple[int, ...]) -> int:
    """How many codes an array of `shape` has, which must be none for no bytes.  Raises `FormatError`."""
    if any(extent < 0 for extent in shape):
        raise FormatError(f"shape {shape} has a negative extent")
    size = math.prod(shape)
    if size > MAX_ELEMENTS:
        raise FormatError(f"shape {shape} found, expected at most 2**40 elements")
    if size == 0 and data:
        raise FormatError(f"{len(data)} unused bytes after an array without elements")
    return size
