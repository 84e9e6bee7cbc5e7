"""cutout greys a square, mixup blends a batch with itself; the images given stay as they are."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sepnet.core.train_options import TrainOptions
from sepnet.training.augment import augment, mix


def images(count: int = 40, side: int = 9) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, side, side), dtype=np.uint8)


@pytest.mark.parametrize(
    "options", [{"cutout": 4}, {"mirror": True}, {"shift": 2}, {"shift": 1, "mirror": True, "cutout": 3}]
)
def test_the_images_given_stay_and_the_seed_decides(options: dict[str, int]) -> None:
    given = images()
    before = given.copy()
    first, again = (augment(given, TrainOptions(**options), True, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(given, before) and np.array_equal(first, again) and not np.array_equal(first, given)


def test_without_options_nothing_is_copied() -> None:
    given = images()
    assert augment(given, TrainOptions(), True, np.random.default_rng(0)) is given


@pytest.mark.parametrize("side", [1, 4, 5, 30])
def test_cutout_greys_at_most_one_square(side: int) -> None:
    given = images()
    cut = augment(given, TrainOptions(cutout=side), True, np.random.default_rng(1))
    sizes = []
    for before, after in zip(given, cut, strict=True):
        rows, columns = np.nonzero((before != after).any(0))
        assert rows.size, "the square covers at least its centre"
        box = after[:, rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
        assert max(box.shape[1:]) <= side
        assert (box == before.mean((1, 2)).astype(np.uint8)[:, None, None]).all()
        sizes.append(box[0].size)
    assert max(sizes) == min(side, 9) ** 2


def test_mixup_is_a_blend_of_two_images_and_their_labels() -> None:
    batch, labels = torch.randn(8, 1, 2, 2), torch.arange(8)
    torch.manual_seed(0)
    mixed = mix(batch, labels, 1.0)
    assert mixed.others is not None and 0 <= mixed.share <= 1 and torch.equal(mixed.labels, labels)
    wanted = mixed.share * batch + (1 - mixed.share) * batch[mixed.others]
    assert torch.allclose(mixed.images, wanted, atol=1e-6)
    torch.manual_seed(0)
    assert torch.equal(mix(batch, labels, 1.0).images, mixed.images)
