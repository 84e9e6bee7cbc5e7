"""Checkpoints: what is on disk after every epoch so that an interrupted run goes on to the same result."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch

from sepnet.core.errors import UsageError, WeightsError
from sepnet.core.files import replacing

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
            state = torch.load(self.path, weights_only=True)
            found = dict(state["run"])
        except (OSError, RuntimeError, KeyError, TypeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise UsageError(
                f"{self.path} is not a checkpoint that can be read ({type(error).__name__}); start over with --restart"
            ) from error
        for key in self.run:
            if found.get(key) != self.run[key]:
                raise UsageError(
                    f"{self.path} belongs to another run: its {key} is {found.get(key)!r}, now {self.run[key]!r}; start over with --restart"
                )
        return dict(state)

    def save(self, **state: Any) -> None:
        """Replace the file."""
        with replacing(self.path) as temporary:
            torch.save({"run": self.run, **state}, temporary)

    def remove(self) -> None:
        """The run is over."""
        self.path.unlink(missing_ok=True)


def fingerprint(path: Path) -> str:
    """Sixteen hex digits of a file's SHA-256."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    except OSError as error:
        raise WeightsError(f"cannot read {path}: {error.strerror or error}") from error
