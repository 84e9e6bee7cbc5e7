"""How many processors a container leaves."""

from __future__ import annotations

from pathlib import Path

import pytest

from sepnet.core import processors as module
from sepnet.core.processors import processors


@pytest.fixture
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def files(folder: Path, **texts: str) -> Path:
    for name, text in texts.items():
        path = folder / name.replace("__", "/").replace("cpu_max", "cpu.max").replace("cfs", "cpu.cfs")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("texts", "count"),
    [
        ({}, 8),
        ({"cpu_max": "max 100000\n"}, 8),
        ({"cpu_max": "200000 100000\n"}, 2),
        ({"cpu_max": "150000 100000\n"}, 2),
        ({"cpu_max": "10000 100000\n"}, 1),
        ({"cpu_max": "9000000 100000\n"}, 8),
        ({"cpu_max": "2 of\n"}, 8),
        ({"cpu_max": "3 0\n"}, 8),
        ({"cpu_max": "400000 100000\n", "a__b__cpu_max": "300000 100000\n"}, 3),
        ({"a__cpu_max": "300000 100000\n", "a__b__cpu_max": "max 100000\n"}, 3),
        ({"c__cpu_max": "300000 100000\n"}, 8),
        ({"cpu__cfs_quota_us": "-1\n", "cpu__cfs_period_us": "100000\n"}, 8),
        ({"cpu__cfs_quota_us": "250000\n", "cpu__cfs_period_us": "100000\n"}, 3),
    ],
    ids=str,
)
@pytest.mark.usefixtures("eight")
def test_quota(tmp_path: Path, texts: dict[str, str], count: int) -> None:
    own = tmp_path / "own"
    own.write_text("12:cpu:/elsewhere\n0::/a/b\n")
    assert processors(files(tmp_path / "groups", **texts), own) == count


@pytest.mark.usefixtures("eight")
def test_no_groups(tmp_path: Path) -> None:
    assert processors(tmp_path / "none", tmp_path / "none") == 8
