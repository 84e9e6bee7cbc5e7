"""Values that are never zero (or seldom) as unsigned symbols: counted from the smallest, leaving zero out."""

from __future__ import annotations

import numpy as np

from sepnet.core.codec import IntArray
from sepnet.core.errors import FormatError

__all__ = ["symbols_of_values", "values_of_symbols"]


def symbols_of_values(values: IntArray, minimum: int, has_zero: bool) -> IntArray:
    """symbol = value - minimum, one less for values > 0 when zero never occurs and minimum < 0.

    >>> import numpy as np
    >>> symbols_of_values(np.array([-1, 1, 2]), -1, has_zero=False).tolist()
    [0, 1, 2]
    """
    if has_zero or minimum > 0:
        return values - minimum
    return values - minimum - (values > 0)


def values_of_symbols(symbols: IntArray, minimum: int, has_zero: bool) -> IntArray:
    """The inverse of `symbols_of_values`.  Raises `FormatError` for a minimum that no code can have.

    >>> import numpy as np
    >>> values_of_symbols(np.array([0, 1, 2]), -1, has_zero=False).tolist()
    [-1, 1, 2]
    """
    if abs(minimum) >= 1 << 33:
        raise FormatError(f"smallest value {minimum} found, expected -2**31..2**32-1")
    values = symbols + minimum
    if not (has_zero or minimum > 0):
        values += values >= 0
    return np.asarray(values, dtype=np.int64)
