"""Settings, as TOML or `KEY=VALUE` gives them, to a frozen options object; what does not fit is said with the choices."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar, get_args, get_origin

import msgspec

from sepnet.core.errors import RecipeError, UnknownNameError

__all__ = ["convert"]

Options = TypeVar("Options", bound=msgspec.Struct)

_WORDS = {bool: "true or false", int: "an integer", float: "a number", str: "a text in quotes", dict: "a table"}


def convert(data: object, kind: type[Options], where: str) -> Options:
    """An options object from a table.

    Args:
        data: the table; what its keys hold is checked against the fields of `kind`, tables in it likewise.
        kind: the class of the object.
        where: what stands before each message.

    Raises:
        RecipeError: a key that is not known (the message lists those that are, and the nearest), one that is missing, or
            a value that does not fit (the message says what was found and what is expected).

    >>> class Paint(msgspec.Struct):
    ...     colour: typing.Literal["red", "green"]
    ...     layers: int = 1
    >>> convert({"colour": "red"}, Paint, "wall")
    Paint(colour='red', layers=1)
    >>> for table in {"color": "red"}, {"colour": "reed"}, {"colour": "red", "layers": 1.5}, {}:
    ...     try:
    ...         convert(table, Paint, "wall")
    ...     except RecipeError as error:
    ...         print(error)
    wall: unknown key 'color'; did you mean 'colour'? choices: colour, layers
    wall: unknown colour 'reed'; did you mean 'red'? choices: green, red
    wall: found layers = 1.5; expected an integer
    wall: the key 'colour' is missing; expected one of red, green
    """
    if not isinstance(data, Mapping):
        raise RecipeError(f"{where}: found {_shown(data)}; expected a table")
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in data:
        if key not in fields:
            raise RecipeError(f"{where}: {UnknownNameError('key', str(key), fields)}")
    for key, field in fields.items():
        if key in data:
            _check(data[key], field.type, where, key)
        elif field.required:
            raise RecipeError(f"{where}: the key {key!r} is missing; expected {_expected(field.type)}")
    try:
        return msgspec.convert(dict(data), kind, strict=True)
    except (msgspec.ValidationError, ValueError) as error:  # what the class itself refuses
        raise RecipeError(f"{where}: {error}") from error


def _check(value: object, kind: Any, where: str, key: str) -> None:
    """Raise `RecipeError` unless `value` fits the type `kind` of the field `key`."""
    inner = _table_kind(kind)
    if inner is not None and inner is kind:
        convert(value, inner, f"{where}: {key}")
    elif inner is not None:
        if not isinstance(value, (list, tuple)):
            raise RecipeError(f"{where}: found {key} = {_shown(value)}; expected tables, each under [[{key}]]")
        for at, table in enumerate(value):
            convert(table, inner, f"{where}: {key} {at + 1}")
    else:
        try:
            msgspec.convert(value, kind, strict=True)
        except msgspec.ValidationError as error:
            if get_origin(kind) is typing.Literal and isinstance(value, str):
                raise RecipeError(f"{where}: {UnknownNameError(key, value, map(str, get_args(kind)))}") from error
            raise RecipeError(f"{where}: found {key} = {_shown(value)}; expected {_expected(kind)}") from error


def _table_kind(kind: Any) -> type[msgspec.Struct] | None:
    """The options class that `kind` is, or a tuple of; None for others."""
    inner = get_args(kind)[0] if get_origin(kind) is tuple and get_args(kind) else kind
    return inner if isinstance(inner, type) and issubclass(inner, msgspec.Struct) else None


def _expected(kind: Any) -> str:
    """A field's type in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is typing.Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_expected(part) for part in inner if part is not type(None))
    if origin in (tuple, list):
        return f"an array, each {_expected(inner[0])}" if inner else "an array"
    return _WORDS.get(origin or kind, getattr(kind, "__name__", str(kind)))


def _shown(value: object) -> str:
    """A value as TOML writes it, not too long."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
