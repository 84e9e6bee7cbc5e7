"""For all tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def forget_modules_of_this_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """A user's module that a test wrote and imported must not be found by the next test, which writes another."""
    before = set(sys.modules)
    yield
    ours = (Path(request.config.rootpath), Path(sys.prefix), Path(sys.base_prefix))
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and not any(Path(file).is_relative_to(folder) for folder in ours):
            del sys.modules[name]
