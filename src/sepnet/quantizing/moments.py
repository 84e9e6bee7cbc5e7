"""What goes into the layers of a network on some images: the second moments and the means that quantization weighs errors by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepnet.quantizing.layers import Layer, rows_of

__all__ = ["Moments", "layer_moments"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
LEAST_ROWS = 50_000
ROWS_A_COLUMN = 24
"""So many rows a layer are enough for its moments; of more, as many are drawn."""


@dataclass(frozen=True)
class Moments:
    """Of the rows x that the filters of a layer are multiplied with.

    Attributes:
        covariance: (groups, n, n), the mean of (x - mean)(x - mean)^T if the layer has a bias that takes the mean's part
            of an error, else the mean of x x^T; float32.
        mean: (groups, n).
    """

    covariance: Floats
    mean: Doubles


class _Sums:
    """Sums over the batches so far."""

    def __init__(self, layer: Layer, size: int) -> None:
        self.layer = layer
        self.square = np.zeros((layer.groups, size, size), np.float64 if size <= 1024 else np.float32)
        self.sum = np.zeros((layer.groups, size))
        self.rows = 0

    def add(self, values: Floats, share: float, random: np.random.Generator) -> None:
        """Of the rows of one batch, which is `share` of the images, so many that all batches together have enough."""
        rows = rows_of(self.layer, values)
        wanted = int(share * max(LEAST_ROWS, ROWS_A_COLUMN * rows.shape[2]))
        if rows.shape[1] > 2 * wanted > 0:
            rows = rows[:, np.sort(random.choice(rows.shape[1], wanted, replace=False))]
        for group, part in enumerate(rows):
            self.square[group] += part.T @ part
            self.sum[group] += part.sum(axis=0, dtype=np.float64)
        self.rows += rows.shape[1]

    def moments(self) -> Moments:
        """The means over all rows."""
        count = max(1, self.rows)
        self.square /= count
        mean = self.sum / count
        if self.layer.bias:
            for group, middle in enumerate(mean):
                self.square[group] -= np.outer(middle, middle)
        return Moments(self.square.astype(np.float32, copy=False), mean)


def layer_moments(
    layers: Sequence[Layer],
    run: Callable[[Floats], Sequence[Floats]],
    batches: Iterable[Floats],
    images: int,
    seed: int = 0,
) -> list[Moments]:
    """Moments of every layer.

    Args:
        layers: whose inputs `run` gives, in this order.
        run: from a batch to the values that go into the layers.
        batches: the images, normalized; `images` of them in all.
        seed: of the rows that are drawn where there are more than enough.
    """
    random = np.random.default_rng(seed)
    sums: list[_Sums] = []
    for batch in batches:
        values = run(batch)
        for at, (layer, value) in enumerate(zip(layers, values, strict=True)):
            if len(sums) == at:
                sums.append(_Sums(layer, _size(layer, value)))
            sums[at].add(value, len(batch) / images, random)
    return [each.moments() for each in sums]


def _size(layer: Layer, value: Floats) -> int:
    if not layer.kernel:
        return int(value.shape[-1])
    return int(value.shape[1] // layer.groups * np.prod(layer.kernel))
