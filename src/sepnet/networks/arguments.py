"""The checks of the arguments that every network of the shelf takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sepnet.core.errors import NetworkArgumentError

__all__ = ["check_arguments", "check_choice", "check_width"]


def check_arguments(num_classes: int, in_channels: int, image_size: int, *, dropout: float, smallest: int) -> None:
    """Raise `NetworkArgumentError` unless the counts are integers >= 1, `image_size` >= `smallest` and 0 <= dropout < 1."""
    for name, value, least in (
        ("num_classes", num_classes, 1),
        ("in_channels", in_channels, 1),
        ("image_size", image_size, smallest),
    ):
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise NetworkArgumentError(f"found {name}={value!r}; expected an integer >= {least}")
    if not isinstance(dropout, (int, float)) or isinstance(dropout, bool) or not 0.0 <= dropout < 1.0:
        raise NetworkArgumentError(f"found dropout={dropout!r}; expected a number from 0 up to, not including, 1")


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Raise `NetworkArgumentError` unless `value` is one of `choices`, of the same type.

    >>> check_choice("batch_norm", "yes", (True, False))
    Traceback (most recent call last):
    ...
    sepnet.core.errors.NetworkArgumentError: found batch_norm='yes'; expected True or False
    """
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise NetworkArgumentError(f"found {name}={value!r}; expected {' or '.join(map(str, choices))}")


def check_width(width: float) -> None:
    """Raise `NetworkArgumentError` unless `width`, a factor on every layer's channels, is a number above 0 and at most 16."""
    if not isinstance(width, (int, float)) or isinstance(width, bool) or not 0.0 < width <= 16.0:
        raise NetworkArgumentError(f"found width={width!r}; expected a number above 0, at most 16")
