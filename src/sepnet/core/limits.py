"""What a reader is willing to take of a packed file, and whether a header keeps within that and within the rules."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, fields

from sepnet.core.errors import FormatError, UnknownNameError, UsageError
from sepnet.core.header import Header, TensorEntry, ZeroEntry, state_names

__all__ = ["UNLIMITED", "Limits", "check_header", "check_sizes", "limits_of", "raising"]

_MOST = {
    "elements": 1 << 59,  # of 8 bytes each, an array that numpy can address
    "header_bytes": (1 << 32) - 1,  # what the field of the file holds
    "graph_bytes": (1 << 32) - 1,
    "tensors": 1 << 32,
    "dimensions": 32,  # of an array of numpy 1
    "file_bytes": 1 << 62,
}


@dataclass(frozen=True)
class Limits:
    """What a reader is willing to allocate.  Elements are numbers, of all tensors together.

    `file_bytes` is for what is read from a stream, which cannot be asked for its size.

    Raises `UsageError` for limits that no file can have.

    >>> Limits(dimensions=70)
    Traceback (most recent call last):
    ...
    sepnet.core.errors.UsageError: limit dimensions=70: expected 1 to 32
    """

    elements: int = 1 << 28
    header_bytes: int = 16 << 20
    graph_bytes: int = 256 << 20
    tensors: int = 65536
    dimensions: int = 8
    file_bytes: int = 4 << 30

    def __post_init__(self) -> None:
        for field in fields(self):
            found, most = getattr(self, field.name), _MOST[field.name]
            if not 1 <= found <= most:
                raise UsageError(f"limit {field.name}={found}: expected 1 to {most:,}")


UNLIMITED = Limits(**_MOST)
"""For a file that another process of this command has read within its limits."""


def limits_of(settings: Iterable[str] | None) -> Limits:
    """The default limits, but for those that texts `NAME=N` set.  Raises `UsageError` for what is no such text.

    >>> limits_of(["elements=1_000_000_000"]).elements
    1000000000
    """
    names = [field.name for field in fields(Limits)]
    changed: dict[str, int] = {}
    for setting in settings or ():
        name, _, number = setting.partition("=")
        if name not in names:
            raise UnknownNameError("limit", name, names)
        try:
            changed[name] = int(number)
        except ValueError:
            raise UsageError(f"limit {setting}: expected {name}=N, a whole number") from None
    return Limits(**changed)


def raising(name: str) -> str:
    """How messages say that the limit `name` can be raised.

    >>> raising("elements")
    '(raise it with --limit elements=N, in Python with Limits(elements=N), if the file is yours)'
    """
    return f"(raise it with --limit {name}=N, in Python with Limits({name}=N), if the file is yours)"


def check_sizes(header_bytes: int, graph_bytes: int, limits: Limits) -> None:
    """Raise `FormatError` for a header or graph of more bytes, once inflated, than allowed."""
    for name, found in (("header_bytes", header_bytes), ("graph_bytes", graph_bytes)):
        _check(found, name, f"bytes of {name.removesuffix('_bytes')}", limits)


def check_header(header: Header, limits: Limits) -> None:
    """Raise `FormatError` for what is above the limits or against the rules of docs/format.md."""
    _check(len(header.tensors), "tensors", "tensors", limits)
    _check_elements(header, limits)
    _check_names(header)
    for zero in header.zeros:
        if zero.dtype not in ("float32", "int64"):
            raise FormatError(f"tensor {zero.name!r} is of type {zero.dtype!r}; expected float32 or int64")
    given = header.input
    if given is not None and (
        not 0 < math.prod(given.shape) <= limits.elements
        or min(given.shape, default=1) < 1
        or not len(given.mean) == len(given.std) in (0, given.shape[0] if given.shape else 0)
        or min(given.std, default=1.0) <= 0
    ):
        raise FormatError(
            f"packed file wants input of shape {list(given.shape)} with mean {list(given.mean)} and std {list(given.std)}; "
            "expected sides above 0, and one mean and one std above 0 a channel"
        )


def _check(found: int, name: str, what: str, limits: Limits) -> None:
    limit = getattr(limits, name)
    if found > limit:
        raise FormatError(f"found {found:,} {what}; the limit is {limit:,} {raising(name)}")


def _check_elements(header: Header, limits: Limits) -> None:
    entries: list[TensorEntry | ZeroEntry] = [*header.tensors, *header.zeros]
    for entry in entries:
        _check(len(entry.shape), "dimensions", f"dimensions of tensor {entry.name!r}", limits)
        if 0 in entry.shape and math.prod(side or 1 for side in entry.shape) > limits.elements:
            raise FormatError(f"tensor {entry.name!r} is of the impossible shape {list(entry.shape)}")
    sizes = {entry.name: math.prod(entry.shape) for entry in entries}
    elements = sum(math.prod(entry.shape) for entry in entries)
    elements += sum(sizes.get(first, 0) for first in header.aliases.values())
    _check(elements, "elements", "numbers", limits)


def _check_names(header: Header) -> None:
    entries: list[TensorEntry | ZeroEntry] = [*header.tensors, *header.zeros]
    for place, entry in enumerate(entries, 1):
        if not entry.name:
            raise FormatError(f"tensor {place} of {len(entries)}, of shape {list(entry.shape)}, is without a name")
    names = Counter(state_names(header))
    if "" in names:
        raise FormatError("an alias is without a name")
    name, times = max(names.items(), key=lambda item: item[1], default=("", 1))
    if times > 1:
        raise FormatError(f"packed file names {name!r} {times} times; names must be unique")
    for alias, first in header.aliases.items():
        if first not in names or first in header.aliases:
            raise FormatError(f"packed file says {alias!r} is tied to {first!r}, which it does not hold")
    stored = {entry.name for entry in header.tensors}
    for norm in header.norms:
        for part in ("bias",) if norm.folded else ("weight", "bias"):
            if f"{norm.name}.{part}" not in stored:
                raise FormatError(f"packed file lacks the {part} of the batch normalization {norm.name!r}")
