"""How commands read packed files: whole ones, damaged ones, and from the standard input where the name is `-`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from sepnet.cli import terminal
from sepnet.core.chunks import Damage, read_at_most
from sepnet.core.container import unwrap
from sepnet.core.errors import FormatError
from sepnet.core.limits import Limits
from sepnet.core.packed_model import PackedModel, read_bytes

__all__ = ["fail_for", "is_stream", "name_of", "note_limits", "read_data", "read_packed", "read_salvaged"]

_STREAM = "standard input"


def is_stream(file: Path) -> bool:
    """Whether it names the standard input."""
    return str(file) == "-"


def read_packed(file: Path, limits: Limits) -> PackedModel:
    """The whole packed file."""
    if not is_stream(file):
        return PackedModel.read(file, limits)
    try:
        return PackedModel.read_from(_standard_input(), limits)
    except FormatError as error:
        raise FormatError(f"{_STREAM}: {error}") from error


def read_data(file: Path, limits: Limits) -> bytes:
    """Its bytes."""
    if not is_stream(file):
        return read_bytes(file)
    try:
        return unwrap(read_at_most(_standard_input(), limits.file_bytes))
    except FormatError as error:
        raise FormatError(f"{_STREAM}: {error}") from error


def read_salvaged(file: Path, limits: Limits) -> tuple[PackedModel, tuple[Damage, ...]]:
    """What is left of it, and what is lost."""
    from sepnet.packing.salvage import readable

    data = read_data(file, limits)
    try:
        return readable(*PackedModel.salvage(data, limits))
    except FormatError as error:
        raise FormatError(f"{name_of(file)}: {error}") from error


def note_limits(file: Path, limits: Limits) -> None:
    """Say of a file just written with raised limits that it needs them, if it does."""
    if limits == Limits():
        return
    try:
        PackedModel.read(file)
    except FormatError as error:
        terminal.print_error(f"whoever reads this file has to raise a limit, too: {error}", "note")


def fail_for(file: Path, damage: Sequence[Damage], rest: str) -> NoReturn:
    """A line for each damage, and one about the whole, with which the command ends."""
    for each in damage:
        terminal.print_error(str(each), "damaged" if not each.tensor else "lost")
    raise FormatError(f"{name_of(file)} is damaged in {len(damage)} place{'s' * (len(damage) > 1)}; {rest}")


def name_of(file: Path) -> str:
    """What messages call it."""
    return _STREAM if is_stream(file) else str(file)


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise FormatError("it is closed")
    return sys.stdin.buffer
