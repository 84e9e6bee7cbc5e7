"""What goes into the layers of a network on some examples: the second moments and the means that quantization weighs errors by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepnet.quantizing.layers import Layer, rows_of

__all__ = ["Moments", "layer_moments"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
LEAST_ROWS, LEAST_ROWS_A_GROUP = 50_000, 5_000
ROWS_A_COLUMN = 24
"""So many rows a layer are enough for its moments, of one group or of each of several; of more, as many are drawn."""
FEW_ROWS = 8
"""Times the columns: fewer rows tell too little of rows that are still to come."""


@dataclass(frozen=True)
class Moments:
    """Of the rows x that the filters of a layer are multiplied with.

    Attributes:
        covariances: for each span of columns (see `Layer.spans`), of each group the mean of (x - mean)(x - mean)^T if the
            layer has a bias that takes the mean's part of an error, else the mean of x x^T; float32, (groups, n, n).
        mean: (groups, n).
        rows: of one example.
    """

    covariances: tuple[Floats, ...]
    mean: Doubles
    rows: float


def shrink(covariances: Floats, rows: int) -> None:
    """Move each towards a multiple of the identity, the more the fewer rows it is of, since others will be unlike these.

    Oracle approximating shrinkage (Chen, Wiesel, Eldar and Hero 2010, equation 23), in place; covariances (groups, n, n).
    """
    size = covariances.shape[-1]
    for square in covariances:
        trace, squared = float(np.trace(square)), float(np.square(square, dtype=np.float64).sum())
        spread = (rows + 1 - 2 / size) * (squared - trace**2 / size)
        part = 1.0 if spread <= 0 else min(1.0, ((1 - 2 / size) * squared + trace**2) / spread)
        square *= 1 - part
        square[np.diag_indices(size)] += part * trace / size


class _Sums:
    """Sums over the batches so far."""

    def __init__(self, layer: Layer, size: int) -> None:
        self.layer, self.spans = layer, layer.spans(size)
        sides = [span.stop - span.start for span in self.spans]
        self.squares = [np.zeros((layer.groups, side, side), np.float32) for side in sides]
        self.sum = np.zeros((layer.groups, size))
        self.rows, self.every = 0, 0.0

    def add(self, values: Floats, share: float, random: np.random.Generator) -> None:
        """Of the rows of one batch, which is `share` of the examples, so many that all batches together have enough."""
        least = LEAST_ROWS if self.layer.groups == 1 else LEAST_ROWS_A_GROUP
        wanted = int(share * max(least, ROWS_A_COLUMN * self.sum.shape[1]))

        def draw(count: int) -> npt.NDArray[np.int64] | None:
            self.every += count
            return np.sort(random.choice(count, wanted, replace=False)) if count > 2 * wanted > 0 else None

        rows = rows_of(self.layer, values, draw)
        for span, square in zip(self.spans, self.squares, strict=True):
            part = rows[..., span]
            square += part.transpose(0, 2, 1) @ part
        self.sum += rows.sum(axis=1, dtype=np.float64)
        self.rows += rows.shape[1]

    def moments(self, examples: int) -> Moments:
        """The means over all rows."""
        count = max(1, self.rows)
        mean = self.sum / count
        for span, square in zip(self.spans, self.squares, strict=True):
            square /= count
            if self.layer.bias:
                square -= (mean[:, span, None] * mean[:, None, span]).astype(np.float32)
            if count < FEW_ROWS * square.shape[-1]:
                shrink(square, count)
        return Moments(tuple(self.squares), mean, self.every / examples)


def layer_moments(
    layers: Sequence[Layer],
    batches: Iterable[tuple[Sequence[Floats], int]],
    *,
    examples: int,
    seed: int = 0,
) -> Iterator[Moments]:
    """Moments of every layer, one after the other, so that each can be used up before the next.

    Args:
        layers: which ones.
        batches: the values that go into the layers, in this order, and of how many examples they are.
        examples: in all batches.
        seed: of the rows that are drawn where there are more than enough.
    """
    random = np.random.default_rng(seed)
    sums: list[_Sums] = []
    for values, count in batches:
        for at, (layer, value) in enumerate(zip(layers, values, strict=True)):
            if len(sums) == at:
                sums.append(_Sums(layer, _size(layer, value)))
            sums[at].add(value, count / examples, random)
    while sums:
        yield sums.pop(0).moments(examples)


def _size(layer: Layer, value: Floats) -> int:
    if not layer.kernel:
        return int(value.shape[-1])
    return int(value.shape[1] // layer.groups * np.prod(layer.kernel))
