"""The codec noun: integers to bytes and back, without loss.

A codec knows nothing of networks.  It gets an array of integer codes (0 = pruned, or the commonest value) and returns a
self-contained byte string; given the bytes and the shape it returns the same integers.
"""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np
import numpy.typing as npt

__all__ = ["Codec", "CodecUnfitError", "IntArray"]

IntArray = npt.NDArray[np.int64]


class CodecUnfitError(Exception):
    """This codec cannot write these codes (too many distinct symbols, say).  The search tries the next one."""


class Codec(abc.ABC):
    """Lossless integer codec.

    Contract, tested for every codec on the shelf: `decode(encode(codes), codes.shape)` equals `codes`; damaged bytes raise
    `FormatError` or give wrong integers of the right shape, and never allocate more than `shape` needs.
    """

    name: ClassVar[str]
    remembers: ClassVar[bool] = False
    """Whether what was coded before, in other tensors, changes what it writes; see `remembering`."""

    @abc.abstractmethod
    def encode(self, codes: IntArray) -> bytes:
        """Bytes of `codes` (any shape, values in [-2**31, 2**32)).  Raises `CodecUnfitError` if it cannot write them."""

    @abc.abstractmethod
    def decode(self, data: bytes, shape: tuple[int, ...]) -> IntArray:
        """The codes, int64, of that shape.  Raises `FormatError` when `data` cannot be a result of `encode`."""

    def remembering(self, before: Codec | None) -> Codec:
        """A codec that begins with the memory of `before`, the latest one of the file that remembers; itself if none does.

        Raises `FormatError` when there has to be one and is not.
        """
        return self

    def describe(self, data: bytes) -> str:
        """One or two words on the parameters chosen inside `data`, for `sepnet info` ("5-bit gaps")."""
        return ""
