"""The runtime noun: what runs a packed model."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from sepnet.core.errors import UsageError

if TYPE_CHECKING:  # a process that runs a compiled network needs little memory
    import numpy.typing as npt

    from sepnet.core.packed_model import PackedModel

__all__ = ["Run", "Runtime"]

Run = Callable[["npt.NDArray[np.float32]"], "npt.NDArray[np.float32]"]


class Runtime(abc.ABC):
    """A packed model made ready to run.

    Contract, tested for every runtime: outputs equal those of the torch network that loaded the unpacked weights, within a
    stated tolerance; of those that `calibrates` they equal those of the runtime "integer", bit for bit.
    """

    name: ClassVar[str]
    gains: ClassVar[str]
    """What makes a network faster on it, and what does not: the end of a sentence "faster by ..."."""
    calibrates: ClassVar[bool] = False
    """Whether it computes in integers by the ranges of calibration images, and cannot be made without."""
    takes: ClassVar[str] = ""
    """How the names of other files end that it runs: ".onnx"."""

    @abc.abstractmethod
    def __init__(self, model: PackedModel, threads: int | None = None) -> None:
        """Decode the weights and build whatever runs them; `threads` None leaves the choice to the runtime."""

    @classmethod
    def calibrated(
        cls, model: PackedModel, images: Iterable[npt.NDArray[np.float32]], threads: int | None = None
    ) -> Self:
        """The same by what the network's values are on batches of training images, which only those that `calibrates` look at."""
        return cls(model, threads)

    @classmethod
    def compiled(cls, model: PackedModel, images: Iterable[npt.NDArray[np.float32]], folder: Path) -> Path | None:
        """A library in the folder that runs the network without whatever made it; None for runtimes that do not compile."""
        return None

    @classmethod
    def of_file(cls, path: Path, threads: int | None = None) -> Run:
        """The first output of a file that ends like `takes`, for a batch.  Raises `SepnetError` when it cannot be run."""
        raise UsageError(f"the runtime {cls.name} takes packed files; found {path.name}")

    @abc.abstractmethod
    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs (n, classes) for inputs (n, channels, height, width), float32, normalized as the header says."""
