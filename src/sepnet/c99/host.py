"""A generated program compiled for this machine and called through ctypes."""

from __future__ import annotations

import ctypes
import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sepnet.c99.compilers import compile_library, has_lanes
from sepnet.c99.program import Program, generate
from sepnet.core.errors import DataError
from sepnet.integer.model import IntegerModel
from sepnet.integer.reference import dequantize, quantize

__all__ = ["HostProgram"]

_BATCH = """#include <string.h>

#include "model.h"

void model_batch(const uint8_t *inputs, int16_t *outputs, int count);

void model_batch(const uint8_t *inputs, int16_t *outputs, int count)
{
    int image, at;

    for (image = 0; image < count; image++) {
        memcpy(model_input(), inputs + (size_t)image * MODEL_INPUT_BYTES, MODEL_INPUT_BYTES);
        model_run();
        for (at = 0; at < MODEL_OUTPUTS; at++)
            *outputs++ = (int16_t)model_output(at);
    }
}
"""


class HostProgram:
    """Computes what `sepnet.integer.reference` defines.  It has one arena, so one thread may call it at a time.

    Args:
        model: the network.
        program: its program; None generates the one that is fastest here.

    Raises `UsageError` where there is no C compiler.
    """

    def __init__(self, model: IntegerModel, program: Program | None = None) -> None:
        self._source, self._target = model.values[model.input], model.values[model.output]
        folder = tempfile.mkdtemp(prefix="sepnet-")
        weakref.finalize(self, shutil.rmtree, folder, True)
        library = ctypes.CDLL(str(compile_library(program or generate(model, has_lanes()), _BATCH, Path(folder))))
        self._batch = library.model_batch
        self._batch.restype = None
        self._batch.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]

    def run(self, q: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
        """The output's q (n, channels, height, width) for the input's."""
        if q.shape[1:] != self._source.shape or q.dtype != np.uint8:
            raise DataError(
                f"the network takes uint8 of shape {['n', *self._source.shape]}; found {q.dtype} {list(q.shape)}"
            )
        inputs = np.ascontiguousarray(q.transpose(0, 2, 3, 1))
        outputs = np.empty((len(q), *self._target.shape), np.int16)
        self._batch(inputs.ctypes.data, outputs.ctypes.data, len(q))
        return outputs

    def run_floats(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs for inputs as the network takes them: (n, classes), or (n, channels, height, width) of a map."""
        found = dequantize(self._target, self.run(quantize(self._source, batch)))
        return found.reshape(len(found), -1) if self._target.shape[1:] == (1, 1) else found
