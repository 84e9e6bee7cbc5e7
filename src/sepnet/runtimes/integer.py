"""The integer model in numpy: slow, and the definition of what generated programs compute."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import UsageError
from sepnet.core.packed_model import PackedModel
from sepnet.core.runtime import Runtime
from sepnet.graphs.ports import one_float_input
from sepnet.integer.lower import lower
from sepnet.integer.reference import run_floats
from sepnet.runtimes.activation_ranges import activation_ranges

__all__ = ["Integer"]


class Integer(Runtime):
    """uint8 activations whose scales come from examples, integer weights, on one thread."""

    name: ClassVar[str] = "integer"
    gains: ClassVar[str] = "nothing: it is the definition of what the others compute in integers"
    calibrates: ClassVar[bool] = True

    def __init__(
        self, model: PackedModel, threads: int | None = None, images: Iterable[npt.NDArray[np.float32]] | None = None
    ) -> None:
        if images is None:
            raise UsageError(f"the runtime {self.name} makes its scales by examples, and found none")
        self.inputs, self.outputs = one_float_input(model, self.name)
        batches = list(images)
        shape = None if model.header.input else batches[0].shape[1:]
        self.model = lower(model, activation_ranges(model, batches), shape)

    @classmethod
    def calibrated(
        cls, model: PackedModel, images: Iterable[npt.NDArray[np.float32]], threads: int | None = None
    ) -> Self:
        return cls(model, threads, images)

    def first(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._compute(batch)[self.outputs[0].name]

    def answers(self, feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return dict(self._compute(feed[self.inputs[0].name]))

    def _compute(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        return run_floats(self.model, batch)
