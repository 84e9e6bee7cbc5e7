"""Checkpoints: what is on disk after every epoch so that an interrupted run goes on to the same result."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from sepnet.core.errors import UsageError, WeightsError
from sepnet.core.files import write_bytes
from sepnet.core.progress import is_first

__all__ = ["Checkpoint", "fingerprint"]


class Checkpoint:
    """A file beside the output, `OUT.checkpoint`, that belongs to one run.

    Args:
        output: the result's path.
        run: what makes two runs the same (network, data, recipe digest, seed, ...), compared on resume.
        resume: go on from the file; without it a file that is there is an error, so that no work is lost unasked.
        restart: throw the file away.
    """

    def __init__(
        self, output: Path, run: dict[str, str | int | float], resume: bool = False, restart: bool = False
    ) -> None:
        self.path = output.with_name(output.name + ".checkpoint")
        self.run = run
        self.state: dict[str, Any] | None = None
        if not self.path.exists():
            return
        if resume:
            self.state = self._load()
        elif not restart:
            raise UsageError(
                f"{self.path} holds an interrupted run; choices: resume it (--resume) or throw it away (--restart)"
            )

    def _load(self) -> dict[str, Any]:
        try:
            data = self.path.read_bytes()
            if hashlib.sha256(data[32:]).digest() != data[:32]:
                raise ValueError("its checksum does not match")
            state = torch.load(io.BytesIO(data[32:]), weights_only=True, map_location="cpu")
            found = dict(state["run"])
        except Exception as error:  # a damaged pickle raises almost anything
            raise self._unreadable(error) from error
        for key in self.run:
            if found.get(key) != self.run[key]:
                raise UsageError(
                    f"{self.path} belongs to another run: its {key} is {found.get(key)!r}, now {self.run[key]!r}; start over with --restart"
                )
        return dict(state)

    def _unreadable(self, error: Exception) -> UsageError:
        return UsageError(
            f"{self.path} is not a checkpoint that can be read ({error or type(error).__name__}); start over with --restart"
        )

    @contextlib.contextmanager
    def loading(self) -> Iterator[None]:
        """While a run takes over `state`: `UsageError` if it is not what the run saves, such as one of another sepnet."""
        try:
            yield
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise self._unreadable(error) from error

    def save(self, **state: Any) -> None:
        """Replace the file: the SHA-256 of what follows, then what torch saves, which has no checksum that torch looks at."""
        if not is_first():
            return
        data = io.BytesIO()
        torch.save({"run": self.run, **state}, data)
        write_bytes(self.path, hashlib.sha256(data.getbuffer()).digest() + data.getbuffer())

    def remove(self) -> None:
        """The run is over."""
        if not is_first():
            return
        self.path.unlink(missing_ok=True)


def fingerprint(path: Path) -> str:
    """Sixteen hex digits of a file's SHA-256."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
