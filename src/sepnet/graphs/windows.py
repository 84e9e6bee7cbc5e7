"""Windows of convolutions and poolings: what is around the map, and what each window holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

__all__ = ["Around", "around", "reach", "windows"]

Number = TypeVar("Number", bound=np.generic)
Around = tuple[tuple[int, int], ...]
"""Numbers before and after each side of the map."""


def reach(kernel: Sequence[int], dilations: Sequence[int]) -> tuple[int, ...]:
    """Sides of the part of a map that a window spans.

    >>> reach((3, 3), (1, 2))
    (3, 5)
    """
    return tuple((side - 1) * gap + 1 for side, gap in zip(kernel, dilations, strict=True))


def around(
    auto_pad: str, pads: Sequence[int], *, sides: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> Around:
    """What ONNX's `auto_pad` and `pads` come to: `pads` holds the numbers before each side, then those after; () for none.

    >>> around("NOTSET", (1, 0, 1, 0), sides=(6, 6), reach=(3, 1), strides=(1, 1))
    ((1, 1), (0, 0))
    >>> [around(mode, (), sides=(6,), reach=(3,), strides=(2,)) for mode in ("SAME_UPPER", "SAME_LOWER")]
    [((0, 1),), ((1, 0),)]
    """
    if not auto_pad.startswith("SAME"):
        given = tuple(pads) or (0,) * (2 * len(sides))
        return tuple(zip(given[: len(sides)], given[len(sides) :], strict=True))
    found = []
    for side, long, stride in zip(sides, reach, strides, strict=True):
        total = max(0, (-(-side // stride) - 1) * stride + long - side)
        ends = total // 2, total - total // 2
        found.append(ends if auto_pad == "SAME_UPPER" else ends[::-1])
    return tuple(found)


def windows(
    numbers: npt.NDArray[Number],
    kernel: Sequence[int],
    strides: Sequence[int],
    around: Around,
    *,
    dilations: Sequence[int] = (),
    fill: int = 0,
) -> npt.NDArray[Number]:
    """A view (n, channels, *sides of the output, *kernel) of maps (n, channels, *sides) with `fill` around them.

    >>> windows(np.arange(4).reshape(1, 1, 4), (2,), (2,), ((0, 0),)).tolist()
    [[[[0, 1], [2, 3]]]]
    """
    gaps = dilations or (1,) * len(kernel)
    padded = np.pad(numbers, ((0, 0), (0, 0), *around), constant_values=fill)
    found = np.lib.stride_tricks.sliding_window_view(padded, reach(kernel, gaps), axis=tuple(range(2, 2 + len(kernel))))
    steps = (slice(None, None, step) for step in (*strides, *gaps))
    return found[(slice(None), slice(None), *steps)]
