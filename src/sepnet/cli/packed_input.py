"""How commands read packed files: whole ones, damaged ones, and from the standard input where the name is `-`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, NoReturn

from sepnet.cli import terminal
from sepnet.core.chunks import Damage, read_exactly
from sepnet.core.errors import FormatError
from sepnet.core.packed_model import Limits, PackedModel, read_bytes

__all__ = ["fail_for", "read_data", "read_packed", "read_salvaged"]

_STREAM = "standard input"


def read_packed(file: Path) -> PackedModel:
    """The whole packed file."""
    if str(file) != "-":
        return PackedModel.read(file)
    try:
        return PackedModel.read_from(_standard_input())
    except FormatError as error:
        raise FormatError(f"{_STREAM}: {error}") from error


def read_data(file: Path) -> bytes:
    """Its bytes."""
    if str(file) != "-":
        return read_bytes(file)
    most = Limits().file_bytes
    data = read_exactly(_standard_input(), most + 1)
    if len(data) > most:
        raise FormatError(f"{_STREAM}: more than {most:,} bytes")
    return data


def read_salvaged(file: Path) -> tuple[PackedModel, tuple[Damage, ...]]:
    """What is left of it, and what is lost."""
    from sepnet.packing.salvage import readable

    try:
        return readable(*PackedModel.salvage(read_data(file)))
    except FormatError as error:
        raise FormatError(str(error) if str(error).startswith(_STREAM) else f"{_name(file)}: {error}") from error


def fail_for(file: Path, damage: Sequence[Damage], rest: str) -> NoReturn:
    """A line for each damage, and one about the whole, with which the command ends."""
    for each in damage:
        terminal.print_error(str(each), "damaged" if not each.tensor else "lost")
    raise FormatError(f"{_name(file)} is damaged in {len(damage)} place{'s' * (len(damage) > 1)}; {rest}")


def _name(file: Path) -> str:
    return _STREAM if str(file) == "-" else str(file)


def _standard_input() -> BinaryIO:
    if sys.stdin is None or sys.stdin.closed:
        raise FormatError(f"{_STREAM} is closed")
    return sys.stdin.buffer
