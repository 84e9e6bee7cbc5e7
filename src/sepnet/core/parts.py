"""Any number of examples through what takes a fixed number at once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["batch_in_parts", "in_parts"]


def in_parts(
    run: Callable[[Mapping[str, npt.NDArray[Any]]], Sequence[npt.NDArray[Any]]],
    feed: Mapping[str, npt.NDArray[Any]],
    names: Collection[str],
    size: int,
) -> list[npt.NDArray[Any]]:
    """What `run` gives for all examples, `size` at a time.

    The last part is filled up by repeating its last example, and what that adds is cut off again.

    Args:
        run: from an array for each input to the outputs.
        feed: the arrays; one example or more.
        names: of those along whose first side examples lie, as many in each; the others are passed whole each time.
        size: how many examples `run` takes at once.
    """
    count = len(next(feed[name] for name in names))
    rows = []
    for at in range(0, count, size):
        part = {name: _filled(array[at : at + size], size) if name in names else array for name, array in feed.items()}
        rows.append(run(part))
    return [_joined([np.atleast_1d(part) for part in parts], count, size) for parts in zip(*rows, strict=True)]


def batch_in_parts(
    run: Callable[[npt.NDArray[np.float32]], npt.NDArray[np.float32]], batch: npt.NDArray[np.float32], size: int
) -> npt.NDArray[np.float32]:
    """The same of a function of one array; size 0 is any number.

    >>> batch_in_parts(lambda pair: 2 * pair, np.float32([1, 2, 3]), 2)
    array([2., 4., 6.], dtype=float32)
    """
    if not size or not batch.ndim or len(batch) in (0, size):
        return run(batch)
    (found,) = in_parts(lambda feed: [run(feed["x"])], {"x": batch}, ["x"], size)
    return found


def _filled(part: npt.NDArray[Any], size: int) -> npt.NDArray[Any]:
    return part if len(part) == size else np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])


def _joined(parts: Sequence[npt.NDArray[Any]], count: int, size: int) -> npt.NDArray[Any]:
    """One after the other; values whose first side is no multiple of `size` hold no examples to be cut off."""
    whole, each = np.concatenate(parts), len(parts[0])
    return whole if each % size else whole[: count * each // size]
