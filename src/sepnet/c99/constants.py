"""The constants of a generated program."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Constants"]


class Constants:
    """Numbers of 1, 2 and 4 bytes, each kind in one array; what is there already is used again."""

    def __init__(self) -> None:
        self._parts: dict[int, list[int]] = {1: [], 2: [], 4: []}
        self._known: dict[tuple[int, bytes], int] = {}

    def add(self, numbers: npt.NDArray[Any] | bytes, size: int) -> str:
        """Puts numbers into the array of that size; gives the C expression of their address."""
        array = np.frombuffer(numbers, np.uint8) if isinstance(numbers, bytes) else numbers
        key = size, np.asarray(array, np.int64).tobytes()
        at = self._known.setdefault(key, len(self._parts[size]))
        if at == len(self._parts[size]):
            self._parts[size] += [int(each) for each in array.ravel()]
        return f"model_{_NAMES[size]} + {at}"

    def arrays(self) -> list[tuple[str, str, list[int]]]:
        """(C type, name, numbers) of each array, whole words of 32 bits, so that nothing has to lie between them."""
        return [
            (_TYPES[size], f"model_{_NAMES[size]}", part + [0] * (-len(part) % (4 // size)))
            for size, part in sorted(self._parts.items(), reverse=True)
            if part
        ]

    @property
    def bytes(self) -> int:
        """Bytes of all arrays."""
        return sum(-(-len(part) * size // 4) * 4 for size, part in self._parts.items())


_NAMES = {1: "bytes", 2: "shorts", 4: "longs"}
_TYPES = {1: "uint8_t", 2: "int16_t", 4: "int32_t"}
