"""ONNX Runtime on the graph with the decoded weights: the default, and the reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import FormatError, NetworkError, UsageError
from sepnet.core.packed_model import PackedModel
from sepnet.core.ports import NUMBERS, described, fitted
from sepnet.core.runtime import Run, Runtime
from sepnet.graphs.ports import ports_of
from sepnet.packing.restore import onnx_model
from sepnet.runtimes.probe import Probe
from sepnet.runtimes.session import Session

__all__ = ["OnnxRuntime"]


class OnnxRuntime(Runtime):
    """Runs on the CPU."""

    name: ClassVar[str] = "onnxruntime"
    takes: ClassVar[str] = ".onnx"
    gains: ClassVar[str] = (
        "fewer channels or layers, and int8 activations (export --to onnx); not by pruned weights, few bits or sign patterns"
    )

    def __init__(self, model: PackedModel, threads: int | None = None) -> None:
        data = onnx_model(model)
        try:
            self.session = Session(data, threads=threads, exact=True)
        except NetworkError as error:
            raise FormatError(str(error).replace("the network", "the packed file's graph", 1)) from error
        self.inputs, self.outputs = ports_of(model.graph)
        kinds = {port.type for port in (*self.session.inputs, *self.session.outputs)}
        if not self.inputs or not self.outputs or not kinds <= set(NUMBERS):
            raise FormatError(
                f"the packed file's graph takes {described(self.inputs)} and gives {described(self.outputs)}; expected numbers"
            )
        self.session.inputs = self.inputs  # which tell a scalar from what is of any shape

    @classmethod
    def of_file(cls, path: Path, threads: int | None = None) -> Run:
        probe = Probe(path, threads=threads)
        return lambda batch: probe.run(batch)[0]

    def first(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if [port.of_floats for port in self.inputs] != [True]:
            raise UsageError(f"found one array of floats, and the network takes {described(self.inputs)}")
        name = self.outputs[0].name
        return np.asarray(self._run(fitted(batch, self.inputs), [name])[name], np.float32)

    def answers(self, feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        return self._run(feed)

    def _run(
        self, feed: Mapping[str, npt.NDArray[Any]], names: Sequence[str] | None = None
    ) -> dict[str, npt.NDArray[Any]]:
        try:
            return self.session.run(feed, names)
        except NetworkError as error:
            raise FormatError(str(error).replace("the network", "the packed file's graph", 1)) from error
