"""A packed file wrapped in a `.safetensors` file, for hubs that take nothing else: docs/format.md, "Containers"."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import msgspec

from sepnet.core.errors import FormatError, UsageError

__all__ = ["CONTAINERS", "Container", "check_container", "in_container", "is_container", "unwrap", "wrap"]

Container = Literal["none", "safetensors"]
CONTAINERS: tuple[str, ...] = get_args(Container)
TENSOR = "sepnet"
_LONGEST_HEADER = 1 << 20


class _Entry(msgspec.Struct):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def check_container(name: str) -> Container:
    """`name` if it is that of a container; else `UsageError`.

    >>> check_container("zip")
    Traceback (most recent call last):
    ...
    sepnet.core.errors.UsageError: container 'zip': expected one of none, safetensors
    """
    if name not in CONTAINERS:
        raise UsageError(f"container {name!r}: expected one of {', '.join(CONTAINERS)}")
    return "safetensors" if name == "safetensors" else "none"


def wrap(data: bytes, about: Mapping[str, str]) -> bytes:
    """A safetensors file of one tensor, `sepnet`: the bytes of a packed file.  `about` is its `__metadata__`.

    >>> file = wrap(b"packed", {"format": "sepnet"})
    >>> len(file) - len(b"packed"), unwrap(file)
    (104, b'packed')
    """
    entry = {"dtype": "U8", "shape": [len(data)], "data_offsets": [0, len(data)]}
    text = msgspec.json.encode({"__metadata__": dict(sorted(about.items())), TENSOR: entry})
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data


def in_container(start: bytes) -> bool:
    """Whether a file that starts like this is a safetensors file."""
    return start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= _LONGEST_HEADER


def is_container(path: Path) -> bool:
    """Whether a file is a safetensors file with a packed file in it; False for what cannot be read."""
    try:
        with open(path, "rb") as file:
            start = file.read(9)
            header = file.read(int.from_bytes(start[:8], "little") - 1) if in_container(start) else b""
    except OSError:
        return False
    return set(_tensors(start[8:] + header) or ()) == {TENSOR}


def _tensors(header: bytes) -> dict[str, msgspec.Raw] | None:
    try:
        raw = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    raw.pop("__metadata__", None)
    return raw


def unwrap(data: bytes) -> bytes:
    """The packed file in a safetensors file; what is no safetensors file comes back as it is.

    A truncated tensor comes back truncated, so that what is whole in it can still be read.

    Raises `FormatError` for a safetensors file that holds something else.
    """
    if not in_container(data):
        return data
    length = int.from_bytes(data[:8], "little")
    raw = _tensors(data[8 : 8 + length])
    if raw is None:
        return data
    if set(raw) != {TENSOR}:
        raise FormatError(
            f"a safetensors file of {len(raw)} tensors; expected one, {TENSOR!r}, with a packed file in it (`sepnet pack` makes one of weights)"
        )
    try:
        entry = msgspec.json.decode(raw[TENSOR], type=_Entry)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise FormatError(f"damaged safetensors file: {TENSOR!r} does not parse: {error}") from error
    size = len(data) - 8 - length
    begin, end = entry.data_offsets
    if entry.dtype != "U8" or begin != 0 or entry.shape != (end,) or size > end:
        raise FormatError(
            f"damaged safetensors file: {TENSOR!r} is {entry.dtype} {list(entry.shape)} at {begin} to {end} of {size} bytes; expected U8 that fills the file"
        )
    return data[8 + length :]
