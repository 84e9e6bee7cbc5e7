"""OpenVINO on the graph with the decoded weights, on the CPU, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError, FormatError, MissingExtraError, brief
from sepnet.core.packed_model import PackedModel
from sepnet.core.parts import batch_in_parts
from sepnet.core.runtime import Run, Runtime
from sepnet.graphs.ports import one_float_input, ports_of
from sepnet.packing.restore import onnx_model

__all__ = ["OpenVino"]


class OpenVino(Runtime):
    """Runs on the CPU; on some of them OpenVINO would compute in bfloat16 if it were not told otherwise."""

    name: ClassVar[str] = "openvino"
    takes: ClassVar[str] = ".onnx"
    gains: ClassVar[str] = "fewer channels or layers; not by pruned weights, few bits or sign patterns"

    def __init__(self, model: PackedModel, threads: int | None = None) -> None:
        self.inputs, self.outputs = one_float_input(model, self.name)
        self._run = _compiled(onnx_model(model), "the packed file's graph", threads)

    @classmethod
    def of_file(cls, path: Path, threads: int | None = None) -> Run:
        run, inputs = _compiled(str(path), path.name, threads), ports_of(path.read_bytes())[0]
        return lambda batch: batch_in_parts(run, batch, inputs[0].fixed)

    def first(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return batch_in_parts(self._run, batch, self.inputs[0].fixed)


def _compiled(model: bytes | str, what: str, threads: int | None) -> Run:
    try:
        import openvino
    except ImportError as error:
        raise MissingExtraError("the runtime openvino", "openvino", "openvino") from error
    options: dict[str, object] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    try:
        compiled = core.compile_model(core.read_model(model), "CPU", options)
    except RuntimeError as error:
        raise FormatError(f"OpenVINO refuses {what}: {brief(error)}") from error

    def run(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        try:
            outputs = compiled([np.ascontiguousarray(batch, np.float32)])
        except RuntimeError as error:
            reason = brief(error)
            raise DataError(f"the network cannot run on input of shape {list(batch.shape)}: {reason}") from error
        return np.array(outputs[0], np.float32)

    return run
