"""A compiled program, called through ctypes.  Needs numpy and nothing else of what made it."""

from __future__ import annotations

import ctypes
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from sepnet.core.errors import DataError
from sepnet.integer.view import View

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
        text = ctypes.string_at(ctypes.addressof(ctypes.c_char.in_dll(library, "model_ports")))
        ports = json.loads(text)
        self._shape, self._view = tuple(ports["shape"]), _view(ports)
        self._outputs = [(each["name"], tuple(each["shape"]), _view(each)) for each in ports["outputs"]]
        self._numbers, self._floats = library.model_numbers, library.model_floats
        for call in (self._numbers, self._floats):
            call.restype = None
            call.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int]

    def run_all(self, q: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.int16]]:
        """The q (n, channels, height, width) of every output for the input's."""
        if q.dtype != np.uint8 or q.shape[1:] != self._shape:
            raise DataError(f"the network takes uint8 of shape {['n', *self._shape]}; found {q.dtype} {list(q.shape)}")
        parts = self._called(self._numbers, np.ascontiguousarray(q), np.int16)
        return [view.put(part, shape) for part, (_, shape, view) in zip(parts, self._outputs, strict=True)]

    def run(self, q: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
        """The q of the first output."""
        return self.run_all(q)[0]

    def run_floats(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Every output by name for inputs as the network takes them."""
        sides = self._view.sides
        if batch.shape[1:] != sides[1:]:
            raise DataError(
                f"the network cannot run on input of shape {list(batch.shape)}; expected {['n', *sides[1:]]}"
            )
        maps = np.ascontiguousarray(self._view.put(batch, self._shape), np.float32)
        parts = self._called(self._floats, maps, np.float32)
        return {
            name: part.reshape(len(maps) * view.sides[0], *view.sides[1:])
            for part, (name, _, view) in zip(parts, self._outputs, strict=True)
        }

    def first(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The first output."""
        return self.run_floats(batch)[self._outputs[0][0]]

    def _called(self, call: Any, maps: npt.NDArray[Any], kind: type) -> list[npt.NDArray[Any]]:
        sizes = [math.prod(shape) for _, shape, _ in self._outputs]
        found = np.empty((len(maps), sum(sizes)), kind)
        call(maps.ctypes.data, found.ctypes.data, len(maps))
        return np.split(found, np.cumsum(sizes)[:-1], axis=1)


def _view(port: dict[str, Any]) -> View:
    return View(tuple(port["sides"]), tuple(tuple((count, step) for count, step in each) for each in port["factors"]))
