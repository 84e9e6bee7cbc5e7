"""For all tests.  Where an extra is not installed, what needs it is skipped, so that the rest runs without it."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from sepnet.core.errors import MissingExtraError

MISSING = {name for name in ("onnx", "onnxscript", "sklearn", "torch") if importlib.util.find_spec(name) is None}
collect_ignore = ["training"] if "torch" in MISSING else []


def skip_if_missing(error: BaseException | None) -> None:
    """Skip if that is why: a package of an extra that is not installed here."""
    while error is not None:
        if isinstance(error, MissingExtraError) or (isinstance(error, ModuleNotFoundError) and error.name in MISSING):
            pytest.skip(str(error))
        error = error.__cause__ or error.__context__


class Module(pytest.Module):
    """A file of tests, skipped if it imports what is missing."""

    def collect(self) -> Iterable[pytest.Item | pytest.Collector]:
        """Its tests."""
        try:
            return super().collect()
        except self.CollectError as error:
            skip_if_missing(error)
            raise


if MISSING:

    def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module:
        return Module.from_parent(parent, path=module_path)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup() -> Iterator[None]:
        try:
            yield
        except Exception as error:
            skip_if_missing(error)
            raise

    pytest_runtest_call = pytest_runtest_setup


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
