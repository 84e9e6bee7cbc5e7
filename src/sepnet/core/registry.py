"""A shelf: names of variants and where each one lives, imported on first use.

A shelf's `__init__` lists its variants as `name -> "module:attribute"`, one line each, so that listing the choices costs
no import and a variant that needs torch is only imported when it is asked for.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar, cast

from sepnet.core.errors import MissingExtraError, UnknownNameError

__all__ = ["Shelf", "require_torch"]

T = TypeVar("T")


class Shelf(Generic[T]):
    """Variants of one noun by name.

    Args:
        noun: what is on the shelf, for messages ("codec").
        entries: name -> "module:attribute".

    >>> shelf = Shelf("function", {"sqrt": "math:sqrt"})
    >>> shelf["sqrt"](9.0)
    3.0
    >>> "cbrt2" in shelf, list(shelf)
    (False, ['sqrt'])
    """

    def __init__(self, noun: str, entries: Mapping[str, str]) -> None:
        self.noun = noun
        self._entries = dict(entries)

    def __getitem__(self, name: str) -> T:
        """The variant called `name`; `UnknownNameError` with the choices if there is none."""
        try:
            module, _, attribute = self._entries[name].partition(":")
        except KeyError:
            raise UnknownNameError(self.noun, name, self._entries) from None
        return cast(T, getattr(importlib.import_module(module), attribute))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def require_torch(what: str) -> None:
    """Raise `MissingExtraError` with a hint when torch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise MissingExtraError(what, "torch", "torch")
