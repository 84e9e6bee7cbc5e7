"""Where to compute."""

from __future__ import annotations

import torch

from sepnet.core.errors import UsageError
from sepnet.core.processors import processors

__all__ = ["find_device", "use_threads"]


def find_device(name: str) -> str:
    """A device's name for torch: "auto" is the first accelerator there is, else the processor.

    Raises `UsageError` for a device that torch does not know or that this machine lacks.

    >>> find_device("cpu")
    'cpu'
    """
    there = ["cpu"] + [kind for kind in ("cuda", "mps") if _is_there(kind)]
    if name == "auto":
        return there[-1]
    kind, _, index = name.partition(":")
    count = torch.cuda.device_count() if kind == "cuda" else 1
    if kind not in there or (index and (not index.isdecimal() or int(index) >= count)):
        raise UsageError(f"device {name!r} found; choices here: auto, {', '.join(there)}")
    return name


def _is_there(kind: str) -> bool:
    return torch.cuda.is_available() if kind == "cuda" else torch.backends.mps.is_available()


def use_threads(count: int | None) -> None:
    """Compute with so many threads; None is torch's own number, but no more than the processors this program may use."""
    torch.set_num_threads(count or min(torch.get_num_threads(), processors()))
