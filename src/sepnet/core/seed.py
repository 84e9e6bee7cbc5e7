"""The seed noun: what all random numbers of a run are made from."""

from __future__ import annotations

from sepnet.core.errors import UsageError

__all__ = ["LARGEST_SEED", "check_seed"]

LARGEST_SEED = 2**53 - 1
"""So that a seed is exact in JSON whoever reads it, and the seeds of 1,000 stages that come from it fit in 63 bits."""


def check_seed(seed: int) -> None:
    """Raise `UsageError` unless `seed` is an integer from 0 to `LARGEST_SEED`.

    >>> check_seed(-1)
    Traceback (most recent call last):
    ...
    sepnet.core.errors.UsageError: found seed = -1; expected an integer from 0 to 9007199254740991
    """
    if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= LARGEST_SEED:
        raise UsageError(f"found seed = {seed!r}; expected an integer from 0 to {LARGEST_SEED}")
