"""Windows of maps, and what is wanted of the numbers that they hold."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.graphs.windows import windows as windows_of
from sepnet.integer.operator import Integers, Wish
from sepnet.integer.value import Shape

__all__ = ["scattered", "windows"]


def windows(
    source: Integers,
    kernel: tuple[int, int],
    *,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    fill: int,
    dilations: tuple[int, int] = (1, 1),
    dtype: type = np.int64,
) -> npt.NDArray[Any]:
    """(n, channels, height, width, kernel height, kernel width)."""
    ends = ((pads[0], pads[2]), (pads[1], pads[3]))
    numbers: npt.NDArray[Any] = source.astype(dtype)
    return windows_of(numbers, kernel, strides, ends, dilations=dilations, fill=fill)


def scattered(
    part: Callable[[int, int], Wish],
    shape: Shape,
    *,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int] = (1, 1),
) -> Wish:
    """The sum of what each place of a kernel wants of the numbers that it reads."""
    channels, high, wide = shape
    back: npt.NDArray[Any] = np.zeros((channels, high + pads[0] + pads[2], wide + pads[1] + pads[3]))
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            wanted = part(row, column)
            top, left = row * dilations[0], column * dilations[1]
            rows = slice(top, top + strides[0] * wanted.shape[1], strides[0])
            back[:, rows, left : left + strides[1] * wanted.shape[2] : strides[1]] += wanted
    return np.asarray(back[:, pads[0] : pads[0] + high, pads[1] : pads[1] + wide])
