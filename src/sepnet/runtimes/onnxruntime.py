"""ONNX Runtime on the graph with the decoded weights: the default, and the reference."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import onnxruntime

from sepnet.core.errors import DataError, FormatError, brief
from sepnet.core.packed_model import PackedModel
from sepnet.core.runtime import Run, Runtime
from sepnet.packing.restore import onnx_model
from sepnet.runtimes.probe import Probe

__all__ = ["OnnxRuntime"]

_ERRORS_ONLY = 3


class OnnxRuntime(Runtime):
    """Runs on the CPU."""

    name: ClassVar[str] = "onnxruntime"
    takes: ClassVar[str] = ".onnx"
    gains: ClassVar[str] = (
        "fewer channels or layers, and int8 activations (export --to onnx); not by pruned weights, few bits or sign patterns"
    )

    def __init__(self, model: PackedModel, threads: int | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY + 1
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                onnx_model(model), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except FormatError:
            raise
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise FormatError(f"ONNX Runtime refuses the packed file's graph: {brief(error)}") from error
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if [value.type for value in inputs] != ["tensor(float)"] or not outputs or outputs[0].type != "tensor(float)":
            found = (
                ", ".join(value.type for value in inputs) or "nothing",
                ", ".join(v.type for v in outputs) or "nothing",
            )
            raise FormatError(
                f"the packed file's graph takes {found[0]} and gives {found[1]}; expected float32 tensors"
            )
        self._input = inputs[0]

    @classmethod
    def of_file(cls, path: Path, threads: int | None = None) -> Run:
        probe = Probe(path, threads=threads)
        return lambda batch: probe.run(batch)[0]

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        try:
            outputs = self._session.run(None, {self._input.name: np.ascontiguousarray(batch, np.float32)})
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            reason = brief(error)
            if self._fits(batch.shape):
                raise FormatError(f"ONNX Runtime cannot run the packed file's graph: {reason}") from error
            expected = ["n", *self._input.shape[1:]]
            raise DataError(
                f"the network cannot run on input of shape {list(batch.shape)}; expected {expected}: {reason}"
            ) from error
        return np.asarray(outputs[0], np.float32)

    def _fits(self, shape: tuple[int, ...]) -> bool:
        wanted = self._input.shape
        return len(shape) == len(wanted) and all(
            side == want or not isinstance(want, int) for side, want in zip(shape, wanted, strict=True)
        )
