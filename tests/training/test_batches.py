"""Batches: every image once an epoch, and augmentation that does what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import pytest

from sepnet.core.dataset import Dataset, Pixels, Rows, Split, StreamedImages
from sepnet.core.train_options import TrainOptions
from sepnet.training.batches import Batches, eval_batches


def numbered(images: int, mirror: bool = True) -> Dataset:
    """Images whose only bright row and column tell where they were moved; labels tell which image it is."""
    pixels = np.zeros((images, 2, 6, 9), np.uint8)
    pixels[:, 0, 2, 3] = 200
    pixels[:, 1, 4, 1] = 100
    split = Split(pixels, np.arange(images))
    return Dataset("numbered", tuple(map(str, range(images))), split, split, (0.0, 0.0), (1.0, 1.0), mirror)


def epoch(data: Dataset, number: int = 0, seed: int = 0, **options: object) -> tuple[np.ndarray, np.ndarray]:
    batches = Batches(data, TrainOptions(**options), seed)  # type: ignore[arg-type]
    parts = list(batches.epoch(number))
    assert len(parts) == batches.steps
    pixels = np.concatenate([images.numpy() for images, _ in parts])
    return (pixels * 255).round().astype(np.uint8), np.concatenate([labels.numpy() for _, labels in parts])


@pytest.mark.parametrize(
    "images, batch, steps, seen", [(10, 4, 3, 10), (9, 4, 2, 8), (8, 4, 2, 8), (3, 8, 1, 3), (1, 8, 1, 1)]
)
def test_every_image_once_but_a_single_last_one(images: int, batch: int, steps: int, seen: int) -> None:
    data = numbered(max(images, 2))
    split = Split(data.train.images[:images], data.train.labels[:images])
    data = Dataset("numbered", data.classes, split, data.test, data.mean, data.std)
    _, labels = epoch(data, batch=batch)
    assert Batches(data, TrainOptions(batch=batch), 0).steps == steps
    assert len(labels) == len(set(labels.tolist())) == seen


def test_order_depends_on_seed_and_epoch_alone() -> None:
    data = numbered(50)
    orders = {(seed, number): epoch(data, number, seed)[1].tolist() for seed in (0, 1) for number in (0, 1)}
    assert len({tuple(order) for order in orders.values()}) == 4
    for (seed, number), order in orders.items():
        assert epoch(data, number, seed)[1].tolist() == order


@pytest.mark.parametrize("most", [1, 2, 20])
def test_shift_moves_content_by_at_most_that_and_fills_with_zeros(most: int) -> None:
    data = numbered(400, mirror=False)
    before = data.train.images.copy()
    images, _ = epoch(data, shift=most)
    moves = set()
    for image in images:
        bright = [np.argwhere(image[channel]) for channel in (0, 1)]
        found = [tuple(place[0] - home) for place, home in zip(bright, ([2, 3], [4, 1]), strict=True) if len(place)]
        assert all(len(place) <= 1 for place in bright) and len(set(found)) <= 1
        moves |= set(found)
        wanted = np.zeros_like(image)
        for channel, (row, column), value in ((0, (2, 3), 200), (1, (4, 1), 100)):
            if found and 0 <= row + found[0][0] < 6 and 0 <= column + found[0][1] < 9:
                wanted[channel, row + found[0][0], column + found[0][1]] = value
        assert np.array_equal(image, wanted)
    assert max(abs(side) for move in moves for side in move) <= most
    if most == 1:
        assert moves == {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    assert np.array_equal(data.train.images, before)


@pytest.mark.parametrize("shift", [0, 1])
def test_mirror_flips_about_half_and_only_where_allowed(shift: int) -> None:
    data = numbered(400)
    before = data.train.images.copy()
    images, _ = epoch(data, mirror=True, shift=shift)
    flipped = sum(int(np.argwhere(image[1])[0][1] > 4) for image in images if image[1].any())
    assert 150 < flipped < 250
    plain, _ = epoch(numbered(400, mirror=False), mirror=True)
    assert np.array_equal(plain, before) and np.array_equal(data.train.images, before)


def test_normalized_as_the_data_set_says() -> None:
    data = numbered(6)
    data = Dataset("n", data.classes, data.train, data.test, (0.5, 0.25), (0.5, 2.0))
    (images, labels), *_ = Batches(data, TrainOptions(batch=6), 0).epoch(0)
    assert images.dtype.is_floating_point and images.shape == (6, 2, 6, 9)
    assert np.allclose(images.numpy(), data.batch(data.train.images[labels.numpy()]))
    assert float(images[0, 1, 0, 0]) == pytest.approx(-0.125)


def test_test_batches_keep_the_order() -> None:
    data = numbered(23)
    parts = list(eval_batches(data, data.test, batch=10))
    assert [len(labels) for _, labels in parts] == [10, 10, 3]
    assert np.concatenate([labels.numpy() for _, labels in parts]).tolist() == list(range(23))


class Streamed(StreamedImages):
    """The images of an array, one after the other; the upper left pixel tells the epoch in which they were drawn."""

    def __init__(self, pixels: np.ndarray) -> None:
        self.pixels = pixels

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.pixels.shape  # type: ignore[return-value]

    def part(self, rows: slice) -> Streamed:
        return Streamed(self.pixels[rows])

    def stream(self, batches: Iterable[Rows], draw: tuple[int, int] | None = None) -> Iterator[Pixels]:
        for rows in batches:
            pixels = self.pixels[rows].copy()
            pixels[:, 0, 0, 0] = 0 if draw is None else draw[1] + 1
            yield pixels


def test_streamed_images_come_in_the_same_order_and_are_augmented() -> None:
    data = numbered(23)
    split = Split(Streamed(data.train.images), data.train.labels)  # type: ignore[arg-type]
    large = dataclasses.replace(data, train=split, test=split)
    assert large.input_shape == data.input_shape
    images, labels = epoch(large, 6, batch=10)
    assert labels.tolist() == epoch(data, 6, batch=10)[1].tolist()
    assert (images[:, 0, 0, 0] == 7).all()
    moved, _ = epoch(large, 6, batch=10, shift=1)
    assert not np.array_equal(moved, images) and np.array_equal(epoch(large, 6, batch=10, shift=1)[0], moved)
    parts = list(eval_batches(large, large.test, batch=10))
    assert [len(labels) for _, labels in parts] == [10, 10, 3]
    assert not any(part[:, 0, 0, 0].any() for part, _ in parts)
