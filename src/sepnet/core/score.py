"""How good a classifier is: top-1, top-5, loss."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Score", "score_batches"]


@dataclass(frozen=True)
class Score:
    """Measured on `n` examples.  `top1` and `top5` are fractions, `loss` is the mean cross-entropy in nats."""

    n: int
    top1: float
    top5: float
    loss: float


def score_batches(batches: Iterable[tuple[npt.NDArray[np.floating], npt.NDArray[np.int64]]]) -> Score:
    """Score from (logits (n, classes), labels (n,)) batches.

    An example counts for top-k when fewer than k classes come before its own: those of a larger logit, and of equal ones
    (which outputs of 8 bits often are) those of a lower index.  NaN logits are always wrong.

    >>> score_batches([(np.float32([[2.0, 1.0], [2.0, 1.0], [1.0, 1.0]]), np.array([0, 1, 1]))]).top1
    0.3333333333333333
    """
    count = first = fifth = 0
    loss = 0.0
    for logits, labels in batches:
        numbers = np.asarray(logits, np.float64)
        own = numbers[np.arange(len(labels)), labels]
        ties = (numbers == own[:, None]) & (np.arange(numbers.shape[1]) < np.asarray(labels)[:, None])
        better = np.where(np.isnan(own), 5, (ties | ~(numbers <= own[:, None])).sum(axis=1))
        count += len(labels)
        first += int((better < 1).sum())
        fifth += int((better < 5).sum())
        top = numbers.max(axis=1)
        with np.errstate(invalid="ignore"):  # infinite logits have no loss
            loss += float((top + np.log(np.exp(numbers - top[:, None]).sum(axis=1)) - own).sum())
    return Score(count, first / max(1, count), fifth / max(1, count), loss / max(1, count))
