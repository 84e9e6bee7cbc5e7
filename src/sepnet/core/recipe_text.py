"""A recipe as the TOML text that reads back to it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from sepnet.core.recipe import Recipe

__all__ = ["recipe_text"]


def recipe_text(recipe: Recipe) -> str:
    """TOML that `load_recipe` reads as an equal recipe; keys at their default are left out, and so is the name.

    >>> from sepnet.core.recipe import Rule, Stage
    >>> rule = Rule(({"scheme": "linear", "bits": 4},), ("fc*",))
    >>> print(recipe_text(Recipe("four bits", rule=(rule,), stage=(Stage("a", ("linear",), 2),))), end="")
    title = "four bits"
    <BLANKLINE>
    [[rule]]
    schemes = [{ scheme = "linear", bits = 4 }]
    layers = ["fc*"]
    <BLANKLINE>
    [[stage]]
    name = "a"
    start = ["linear"]
    epochs = 2
    """
    given = _given(msgspec.structs.replace(recipe, name=""))
    tables = {key: value for key, value in given.items() if isinstance(value, dict) or _are_tables(value)}
    lines = [f"{key} = {_value(value)}" for key, value in given.items() if key not in tables]
    for key, value in tables.items():
        for table in value if isinstance(value, list) else [value]:
            head = f"[[{key}]]" if isinstance(value, list) else f"[{key}]"
            lines += ["", head, *(f"{_key(name)} = {_value(part)}" for name, part in table.items())]
    return "\n".join(lines) + "\n"


def _given(options: msgspec.Struct) -> dict[str, Any]:
    """The fields that differ from their defaults, structs as dictionaries, tuples as lists."""
    found = {}
    for field in msgspec.structs.fields(options):
        value = getattr(options, field.name)
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
        default = default() if callable(default) else default
        if value != default:
            found[field.name] = _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _given(value)
    return [_plain(part) for part in value] if isinstance(value, (tuple, list)) else value


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(part, dict) for part in value)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(part)}" for name, part in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(_value, value)) + "]"
    return repr(value)
