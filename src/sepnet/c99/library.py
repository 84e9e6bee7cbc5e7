"""A compiled program, called through ctypes.  Needs numpy and nothing else of what made it."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sepnet.core.errors import DataError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["Library"]


class Library:
    """Computes what `sepnet.integer.reference` defines.  It has one arena, so one thread may call it at a time.

    Args:
        path: of a shared library that `sepnet.c99.host.compile_host` made.
    """

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        shapes = list((ctypes.c_int * 6).in_dll(library, "model_shapes"))
        self._input, self._output = tuple(shapes[:3]), tuple(shapes[3:])
        self._numbers, self._floats = library.model_numbers, library.model_floats
        for call in (self._numbers, self._floats):
            call.restype = None
            call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]

    def run(self, q: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
        """The output's q (n, channels, height, width) for the input's."""
        if q.dtype != np.uint8:
            raise DataError(f"the network takes uint8; found {q.dtype}")
        outputs = np.empty((len(q), *self._output), np.int16)
        self._call(self._numbers, np.ascontiguousarray(q), outputs)
        return outputs

    def run_floats(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs for inputs as the network takes them: (n, classes), or (n, channels, height, width) of a map."""
        flat = self._output[1:] == (1, 1)
        outputs = np.empty((len(batch), *(self._output[:1] if flat else self._output)), np.float32)
        self._call(self._floats, np.ascontiguousarray(batch, np.float32), outputs)
        return outputs

    def _call(self, call: Any, inputs: npt.NDArray[Any], outputs: npt.NDArray[Any]) -> None:
        if inputs.shape[1:] != self._input:
            raise DataError(f"the network takes input of shape {['n', *self._input]}; found {list(inputs.shape)}")
        call(inputs.ctypes.data, outputs.ctypes.data, len(inputs))
