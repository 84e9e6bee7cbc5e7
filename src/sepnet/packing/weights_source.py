"""A `.safetensors` file as packing wants it: every tensor by name, in the type that it has.  No torch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any, BinaryIO

import msgspec
import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.errors import WeightsError
from sepnet.packing.dtypes import BFLOAT16

__all__ = ["exact_codes", "read_metadata", "read_shapes", "read_tensors"]

TYPES = {
    "BOOL": "bool",
    **{f"{sign}{bits}": f"{kind}int{bits}" for bits in (8, 16, 32, 64) for sign, kind in (("U", "u"), ("I", ""))},
    **{"F16": "float16", "BF16": BFLOAT16, "F32": "float32", "F64": "float64"},
}
LONGEST_HEADER = 100 << 20


class _Metadata(msgspec.Struct):
    metadata: dict[str, str] = msgspec.field(name="__metadata__", default_factory=dict)


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_tensors(path: str | os.PathLike[str]) -> Iterator[tuple[str, str, npt.NDArray[Any]]]:
    """Name, type and numbers of every tensor, in the order of the bytes; one is in memory at a time.

    Numbers of bfloat16 come as float32, which holds them exactly.

    Raises `WeightsError` for what is no safetensors file, and for types that sepnet does not know.
    """
    try:
        with open(path, "rb") as file:
            text, start, size = _header(file, path)
            for name, entry in _entries(text, size - start, path):
                file.seek(start + entry.data_offsets[0])
                yield name, TYPES[entry.dtype], _numbers(file.read(_bytes(entry)), entry)
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error


def read_shapes(path: str | os.PathLike[str]) -> list[tuple[str, tuple[int, ...]]]:
    """Name and shape of every tensor, in the same order.  Raises `WeightsError` as `read_tensors` does."""
    try:
        with open(path, "rb") as file:
            text, start, size = _header(file, path)
            return [(name, entry.shape) for name, entry in _entries(text, size - start, path)]
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error


def read_metadata(path: str | os.PathLike[str]) -> dict[str, str]:
    """What the file says of itself, texts by name.  Raises `WeightsError` as `read_tensors` does."""
    try:
        with open(path, "rb") as file:
            return msgspec.json.decode(_header(file, path)[0], type=_Metadata).metadata
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WeightsError(f"{path} is not a safetensors file: its header does not parse: {error}") from error


def _header(file: BinaryIO, path: str | os.PathLike[str]) -> tuple[bytes, int, int]:
    """Text of the header, where the numbers start, and the size of the file."""
    size = os.path.getsize(path)
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, LONGEST_HEADER):
        raise WeightsError(f"{path} is not a safetensors file: {size} bytes, a header of {length}")
    return file.read(length), 8 + length, size


def _entries(text: bytes, size: int, path: str | os.PathLike[str]) -> list[tuple[str, _Entry]]:
    try:
        raw = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        raw.pop("__metadata__", None)
        found = {name: msgspec.json.decode(entry, type=_Entry) for name, entry in raw.items()}
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise WeightsError(f"{path} is not a safetensors file: its header does not parse: {error}") from error
    if not found:
        raise WeightsError(f"{path} holds no tensors")
    for name, entry in found.items():
        if entry.dtype not in TYPES:
            raise WeightsError(f"{path}: {name} is of type {entry.dtype}; expected one of {', '.join(TYPES)}")
        begin, end = entry.data_offsets
        if min(entry.shape, default=0) < 0 or not 0 <= begin <= end <= size or end - begin != _bytes(entry):
            raise WeightsError(
                f"{path} is damaged: {name} of {entry.dtype} {list(entry.shape)} lies at {begin} to {end} of {size} bytes"
            )
    return sorted(found.items(), key=lambda item: item[1].data_offsets)


def _bytes(entry: _Entry) -> int:
    name = TYPES[entry.dtype]
    return math.prod(entry.shape) * (2 if name == BFLOAT16 else np.dtype(name).itemsize)


def _numbers(data: bytes, entry: _Entry) -> npt.NDArray[Any]:
    if TYPES[entry.dtype] == BFLOAT16:
        wide = np.frombuffer(data, "<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(entry.shape)
    stored = np.frombuffer(data, np.dtype(TYPES[entry.dtype]).newbyteorder("<"))
    return stored.astype(stored.dtype.newbyteorder("="), copy=False).reshape(entry.shape)


def exact_codes(name: str, dtype: str, numbers: npt.NDArray[Any]) -> CodedTensor:
    """Codes that give every bit of the numbers back.

    Integers are their own codes; of float32 and float16 the codes are the bits, signs of zeros and all; bfloat16 and, where
    nothing is lost, float64 are kept as float32.

    Raises `WeightsError` for float64 that float32 cannot hold, and for integers beyond -2^31 .. 2^32 - 1.

    >>> exact_codes("w", "int8", np.array([-3, 5], np.int8)).codes.tolist()
    [-3, 5]
    """
    if numbers.dtype.kind in "iub":
        low, high = (int(numbers.min()), int(numbers.max())) if numbers.size else (0, 0)
        if low < -(1 << 31) or high >= 1 << 32:
            raise WeightsError(f"{name} holds integers from {low} to {high}; expected -2^31 to 2^32 - 1")
        return CodedTensor(name, numbers.astype(np.int64), "int64", dtype="" if dtype == "int64" else dtype)
    if numbers.dtype == np.float16:
        return CodedTensor(name, numbers.view(np.uint16).astype(np.int64), "float16", dtype=dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        single = numbers.astype(np.float32)
    if not np.array_equal(single.astype(numbers.dtype), numbers, equal_nan=True):
        raise WeightsError(
            f"{name} is of float64 with digits that float32 cannot hold; save it as float32, or give --bits"
        )
    bits = single.view(np.uint32).astype(np.int64)
    return CodedTensor(name, bits, "float32", dtype="" if dtype == "float32" else dtype)
