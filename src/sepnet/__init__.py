"""sepnet makes trained neural networks small enough to ship, and proves that they still work.

`inspect` shows where the parameters are, `compress` makes a `PackedModel`, `read` opens one.  Reading and running need no
torch; the extra `torch` adds training and compressing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sepnet.api import PackedModel, compress, inspect, pack, read, rewrite
    from sepnet.core.dataset import Dataset, Split
    from sepnet.core.errors import SepnetError
    from sepnet.core.limits import Limits
    from sepnet.core.recipe import Recipe, load_recipe

__all__ = [
    "Dataset",
    "Limits",
    "PackedModel",
    "Recipe",
    "SepnetError",
    "Split",
    "compress",
    "inspect",
    "load_recipe",
    "pack",
    "read",
    "rewrite",
]

_HOMES = {
    "Dataset": "sepnet.core.dataset",
    "Limits": "sepnet.core.limits",
    "PackedModel": "sepnet.api",
    "Recipe": "sepnet.core.recipe",
    "SepnetError": "sepnet.core.errors",
    "Split": "sepnet.core.dataset",
    "compress": "sepnet.api",
    "inspect": "sepnet.api",
    "load_recipe": "sepnet.core.recipe",
    "pack": "sepnet.api",
    "read": "sepnet.api",
    "rewrite": "sepnet.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("sepnet")
    if name not in _HOMES:
        raise AttributeError(f"module 'sepnet' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__", "__version__"])
