"""What flows between the operators of an integer model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Shape", "Value"]

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class Value:
    """What flows between operators.

    Attributes:
        name: of the value in the packed file's graph.
        shape: (channels, height, width) of one example.
        scale, zero: a number q stands for scale * (q - zero).
        wide: signed 16-bit instead of unsigned 8-bit numbers, for the outputs of a network.
    """

    name: str
    shape: Shape
    scale: float
    zero: int
    wide: bool = False

    @property
    def elements(self) -> int:
        """Numbers of one example."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def bytes(self) -> int:
        """Bytes of one example."""
        return self.elements * (2 if self.wide else 1)

    @property
    def limits(self) -> tuple[int, int]:
        """The least and the largest q."""
        return (-32768, 32767) if self.wide else (0, 255)

    def q(self, number: float) -> int:
        """The q of a number: clamp(floor(number / scale + zero + 1/2))."""
        low, high = self.limits
        return int(min(max(np.floor(number / self.scale + self.zero + 0.5), low), high))
