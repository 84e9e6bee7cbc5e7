"""The adaptive codec of sign patterns: a prefix tree over the bits of a kernel, mixed with what lies around."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sepnet.codecs.adaptive.codec import MAX_SIDE, MOST_CODES_A_BYTE, engine
from sepnet.codecs.bounds import check_codes, element_count
from sepnet.core.codec import Codec, CodecUnfitError, IntArray
from sepnet.core.errors import FormatError

__all__ = ["KERNELS_AB1", "KERNELS_AB1_NEXT", "AdaptiveKernels"]


class AdaptiveKernels(Codec):
    """Codes 0 and 1 of kernels of several weights: shape (filters, channels, ...).

    "kernels_ab1+" goes on where the tensor before it that was coded by "kernels_ab1" or "kernels_ab1+" stopped; alone,
    it is the same as "kernels_ab1".

    >>> bits = np.tile(np.arange(9) % 2, (8, 8, 1)).reshape(8, 8, 3, 3)
    >>> data = KERNELS_AB1.encode(bits)
    >>> len(data), bool((KERNELS_AB1.decode(data, bits.shape) == bits).all())
    (4, True)
    """

    remembers = True

    def __init__(self, name: str, memory: Any = None) -> None:
        self.name = name  # type: ignore[misc]  # one instance, not one class, is a variant here
        self._memory = memory

    def remembering(self, before: Codec | None) -> Codec:
        """This codec with the memory of `before`, which changes with every tensor; a new memory for "kernels_ab1"."""
        if self.name == KERNELS_AB1.name:
            return AdaptiveKernels(self.name, engine().KernelMemory())
        if not isinstance(before, AdaptiveKernels):
            raise FormatError(f"codec {self.name!r} found, but no tensor before it is of codec {KERNELS_AB1.name!r}")
        return AdaptiveKernels(self.name, before._memory)

    def encode(self, codes: IntArray) -> bytes:
        """The bits, a payload without header."""
        codes = check_codes(codes)
        if codes.size == 0:
            return b""
        kernel = math.prod(codes.shape[2:])
        if kernel < 2 or int(codes.min()) < 0 or int(codes.max()) > 1:
            raise CodecUnfitError(f"{self.name} writes codes 0 and 1 of kernels of several weights only")
        bits = codes.astype(np.uint8).reshape(codes.shape[0], codes.shape[1], kernel)
        data: bytes = (self._memory or engine().KernelMemory()).write(bits)
        return data

    def decode(self, data: bytes, shape: tuple[int, ...]) -> IntArray:
        """The codes, int64, of `shape`, which is trusted up to what so many bytes can hold."""
        size = element_count(data, shape)
        if not size:
            return np.zeros(shape, dtype=np.int64)
        kernel = math.prod(shape[2:])
        if kernel < 2 or max(shape) > MAX_SIDE or size > (len(data) + 4) * MOST_CODES_A_BYTE:
            raise FormatError(f"{len(data)} bytes found, for kernels of shape {shape}")
        try:
            memory = self._memory or engine().KernelMemory()
            bits, whole = memory.read(bytes(data), shape[0], shape[1], kernel)
        except MemoryError:
            raise FormatError(f"an array of shape {shape} does not fit into memory") from None
        if not whole:
            raise FormatError(f"the {len(data)} bytes do not end where the last of their kernels does")
        codes: IntArray = bits.astype(np.int64).reshape(shape)
        return codes


KERNELS_AB1 = AdaptiveKernels("kernels_ab1")
KERNELS_AB1_NEXT = AdaptiveKernels("kernels_ab1+")
