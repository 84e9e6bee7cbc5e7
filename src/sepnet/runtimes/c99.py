"""Generated C99, compiled for this machine and called through ctypes."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.c99.host import HostProgram, compile_host
from sepnet.core.packed_model import PackedModel
from sepnet.runtimes.integer import Integer

__all__ = ["C99Runtime"]


class C99Runtime(Integer):
    """What a microcontroller computes, bit for bit; signs stay bits.  Needs a C compiler."""

    name: ClassVar[str] = "c99"
    gains: ClassVar[str] = (
        "fewer channels; without AVX2 or NEON also by pruned weights and sign patterns, which it computes with as they are packed"
    )

    def __init__(
        self, model: PackedModel, threads: int | None = None, images: Iterable[npt.NDArray[np.float32]] | None = None
    ) -> None:
        super().__init__(model, threads, images)
        self._program = HostProgram(self.model)

    @classmethod
    def compiled(cls, model: PackedModel, images: Iterable[npt.NDArray[np.float32]], folder: Path) -> Path | None:
        return compile_host(Integer(model, images=images).model, folder)

    def _compute(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        return self._program.run_floats(batch)
