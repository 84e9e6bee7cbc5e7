"""What other people's libraries print."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator

__all__ = ["quiet"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep what libraries print, from C++ too, off this process's output."""
    with tempfile.TemporaryFile() as nowhere:
        kept = [os.dup(each) for each in (1, 2)]
        try:
            for each in (1, 2):
                os.dup2(nowhere.fileno(), each)
            yield
        finally:
            for each, before in zip((1, 2), kept, strict=True):
                os.dup2(before, each)
                os.close(before)
