"""The adaptive coder compiled from adaptive.c, called without bindings; same functions as twin.py.

The library lies beside this file when sepnet was installed where there was a C compiler.
"""

from __future__ import annotations

import ctypes
import functools
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["KernelMemory", "library", "read_codes", "write_codes"]

LIBRARY = Path(__file__).with_name(f"_adaptive.{ {'win32': 'dll', 'darwin': 'dylib'}.get(sys.platform, 'so') }")
CODER_BYTES = 32000

Codes = npt.NDArray[np.int32]
Bits = npt.NDArray[np.uint8]


@functools.cache
def library() -> ctypes.CDLL | None:
    """The compiled coder, or None where there is none that loads."""
    try:
        found = ctypes.CDLL(str(LIBRARY))
    except OSError:
        return None
    p, n, size = ctypes.c_void_p, ctypes.c_int32, ctypes.c_size_t
    found.sepnet_reset.argtypes = [p, n]
    found.sepnet_reset.restype = None
    found.sepnet_read_codes.argtypes = [p, p, size, p, n, n, n, p, n]
    found.sepnet_read_kernels.argtypes = [p, p, size, p, n, n, n]
    found.sepnet_write_codes.argtypes = [p, p, size, p, n, n, n, p, n]
    found.sepnet_write_kernels.argtypes = [p, p, size, p, n, n, n]
    found.sepnet_write_codes.restype = found.sepnet_write_kernels.restype = size
    return found


def _loaded() -> ctypes.CDLL:
    found = library()
    if found is None:
        raise OSError(f"{LIBRARY.name} does not load")
    return found


def _coder(mixes: bool) -> ctypes.Array[ctypes.c_uint64]:
    coder = (ctypes.c_uint64 * (CODER_BYTES // 8))()
    _loaded().sepnet_reset(coder, int(mixes))
    return coder


def _pointer(array: npt.NDArray[Any]) -> ctypes.c_void_p:
    return array.ctypes.data_as(ctypes.c_void_p)


def read_codes(data: bytes, rows: int, columns: int, *, kernel: int, mixes: bool) -> tuple[Codes, bool]:
    """A matrix of codes, int32, and whether the data ended where a writer would have ended it."""
    codes, means = np.zeros((rows, columns), np.int32), np.zeros(columns, np.uint32)
    given = _coder(mixes), data, len(data), _pointer(codes), rows, columns, kernel, _pointer(means), int(mixes)
    return codes, bool(_loaded().sepnet_read_codes(*given))


def write_codes(codes: Codes, kernel: int, mixes: bool) -> bytes:
    """The bytes of a matrix of codes, each from -2**22 to 2**22."""
    codes, means = np.ascontiguousarray(codes, np.int32), np.zeros(codes.shape[1], np.uint32)
    room = codes.size + 64
    while True:
        data = ctypes.create_string_buffer(room)
        given = _pointer(codes), *codes.shape, kernel, _pointer(means), int(mixes)
        size = int(_loaded().sepnet_write_codes(_coder(mixes), data, room, *given))
        if size <= room:
            return data.raw[:size]
        room = size


class KernelMemory:
    """A coder of sign patterns, which remembers from layer to layer."""

    def __init__(self) -> None:
        self._coder = _coder(mixes=False)

    def copy(self) -> KernelMemory:
        """One that goes its own way from here."""
        other = KernelMemory()
        ctypes.memmove(other._coder, self._coder, CODER_BYTES)
        return other

    def read(self, data: bytes, rows: int, kernels: int, kernel: int) -> tuple[Bits, bool]:
        """Bits of shape (rows, kernels, kernel), and whether the data ended where a writer would have ended it."""
        bits = np.zeros((rows, kernels, kernel), np.uint8)
        given = data, len(data), _pointer(bits), rows, kernels, kernel
        return bits, bool(_loaded().sepnet_read_kernels(self._coder, *given))

    def write(self, bits: Bits) -> bytes:
        """The bytes of bits of that shape."""
        bits = np.ascontiguousarray(bits, np.uint8)
        room = 4 * bits.size + 64
        data = ctypes.create_string_buffer(room)
        size = int(_loaded().sepnet_write_kernels(self._coder, data, room, _pointer(bits), *bits.shape))
        return data.raw[:size]
