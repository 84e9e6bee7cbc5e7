"""The runtime noun: what runs a packed model."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.core.packed_model import PackedModel

__all__ = ["Runtime"]


class Runtime(abc.ABC):
    """A packed model made ready to run.

    Contract, tested for every runtime: outputs equal those of the torch network that loaded the unpacked weights, within a
    stated tolerance.
    """

    name: ClassVar[str]
    gains: ClassVar[str]
    """What makes a network faster on it, and what does not: the end of a sentence "faster by ..."."""

    @abc.abstractmethod
    def __init__(self, model: PackedModel, threads: int | None = None) -> None:
        """Decode the weights and build whatever runs them; `threads` None leaves the choice to the runtime."""

    @abc.abstractmethod
    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs (n, classes) for inputs (n, channels, height, width), float32, normalized as the header says."""
