"""How many processors this program may use."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["processors"]


def processors(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """Processors that this program may use: those of its affinity, or as many as a container's quota is worth if that is less.

    Args:
        root: where the control groups of Linux are.
        own: says which of them this program is in.

    >>> 1 <= processors() <= (os.cpu_count() or 1)
    True
    """
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([mine, *map(math.ceil, _quotas(root, own))]))


def _quotas(root: Path, own: Path) -> Iterator[float]:
    """Processors' worth of time of every group around this program that has a limit."""
    inside = next((line[3:] for line in _text(own).splitlines() if line.startswith("0::/")), "/")
    group = root / inside.strip("/")
    for folder in [group, *group.parents]:
        if folder.is_relative_to(root):
            yield from _quota(_text(folder / "cpu.max").split())
    first = root / "cpu"  # control groups of version 1
    yield from _quota([_text(first / f"cpu.cfs_{key}_us").strip() for key in ("quota", "period")])


def _quota(numbers: list[str]) -> Iterator[float]:
    """Quota over period; there is none where the quota is "max" or -1."""
    if len(numbers) == 2 and all(number.isdecimal() for number in numbers) and int(numbers[1]):
        yield int(numbers[0]) / int(numbers[1])


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
