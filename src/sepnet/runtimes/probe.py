"""A graph in ONNX Runtime whose inner values can be looked at."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import onnxruntime

from sepnet.core.errors import DataError, NetworkError, brief
from sepnet.packing.wire import with_outputs

__all__ = ["Probe"]

Array = npt.NDArray[np.float32]
_SILENT = 4


class Probe:
    """A serialized ONNX model, or the path of one, with one float32 input.

    Args:
        model: the model with its weights.
        values: names of inner values that are wanted besides the first output; only of a serialized model.
        threads: None leaves the choice to the runtime.
        floats_only: leave out those of `values` that are not float32; `values` tells which are left.
        optimized: False computes node by node, pairs of QuantizeLinear and DequantizeLinear in floats, so that the numbers
            do not depend on the integer kernels of the processor.

    Raises `NetworkError` when ONNX Runtime does not take it.
    """

    def __init__(
        self,
        model: bytes | str | os.PathLike[str],
        values: Sequence[str] = (),
        *,
        threads: int | None = None,
        floats_only: bool = False,
        optimized: bool = True,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _SILENT
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if threads is not None:
            options.intra_op_num_threads = threads
        source = with_outputs(model, values) if isinstance(model, bytes) else os.fspath(model)
        try:
            self._session = onnxruntime.InferenceSession(
                source, options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise NetworkError(f"ONNX Runtime refuses the network: {brief(error)}") from error
        self._input = self._session.get_inputs()[0]
        outputs = self._session.get_outputs()
        floats = {value.name for value in outputs if value.type == "tensor(float)"}
        self.values = tuple(name for name in values if name in floats or not floats_only)
        self._wanted = [outputs[0].name, *self.values]

    def run(self, batch: Array) -> list[Array]:
        """The first output, and the values that were asked for, in that order."""
        try:
            found = self._session.run(self._wanted, {self._input.name: np.ascontiguousarray(batch, np.float32)})
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            reason = brief(error)
            expected = ["n", *self._input.shape[1:]]
            raise DataError(
                f"the network cannot run on input of shape {list(batch.shape)}; expected {expected}: {reason}"
            ) from error
        return [np.asarray(value, np.float32) for value in found]
