"""How large sums can be."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["sum_bounds"]

Integers = npt.NDArray[np.int64]


def sum_bounds(weight: npt.NDArray[np.int8]) -> tuple[Integers, Integers]:
    """The least and the largest sum of weight * q of each filter, each q being 0 to 255.

    Every part of such a sum, in whatever order it is added up, lies between them.

    >>> sum_bounds(np.int8([[1, -2, 3], [-1, -1, -1]]))
    (array([-510, -765]), array([1020,    0]))
    """
    rows = weight.reshape(len(weight), -1).astype(np.int64)
    return 255 * np.minimum(rows, 0).sum(axis=1), 255 * np.maximum(rows, 0).sum(axis=1)
