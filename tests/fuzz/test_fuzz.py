"""Every fuzzing target for a few seconds; `make fuzz` gives them ten minutes."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="module", autouse=True)
def _importable() -> Iterator[None]:
    sys.path.insert(0, str(HERE))
    yield
    sys.path.remove(str(HERE))


def test_every_seed_is_survived() -> None:
    from targets import TARGETS, seeds

    for name in ("safetensors", "recipe", "codec-ab1", "codec-kernels_ab1+", "codec-dense_ans"):
        given = list(seeds(name))
        assert given
        for seed in given:
            TARGETS[name](seed)
            TARGETS[name](seed[: len(seed) // 2])


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")
def test_every_target_for_some_seconds() -> None:
    pytest.importorskip("atheris")
    from fuzz import fuzz, names

    for name in names():
        count, finding = fuzz(name, 3)
        assert not finding, f"{name}: {finding}"
        assert count > 10
