"""The runtime noun: what runs a packed model."""

from __future__ import annotations

import abc
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np

from sepnet.core.errors import UsageError
from sepnet.core.ports import Port, described, fitted

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
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    """What the network takes and gives; `__init__` sets both."""

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

    def run(self, given: npt.ArrayLike | Mapping[str, npt.ArrayLike]) -> Any:
        """What the network gives: an array, or of several outputs a dict of name and array.

        Args:
            given: an array for a network of one input, or a dict of name and array, as `inputs` tells.  Images are (n, channels,
                height, width), float32, normalized as the header says.

        Raises:
            UsageError: names or types that do not fit, or outputs that this runtime does not give.  DataError: shapes that do not fit.
        """
        found = self.answers(fitted(given, self.inputs))
        return next(iter(found.values())) if len(self.outputs) == 1 else found

    @abc.abstractmethod
    def first(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The first output for a batch of the one input, float32."""

    def answers(self, feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Every output by its name, for an array for each input."""
        if len(self.outputs) > 1:
            raise UsageError(
                f"the runtime {self.name} gives one output, and the network has {described(self.outputs)}; expected the runtime onnxruntime"
            )
        return {self.outputs[0].name: self.first(feed[self.inputs[0].name])}
