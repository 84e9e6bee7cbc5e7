"""Streamed images: the same whatever the workers, few at a time, and an end that comes soon."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sepnet.core.dataset import Pixels, Split, StreamedImages
from sepnet.core.errors import DataError
from sepnet.datasets import folder, load
from sepnet.datasets.file_images import AHEAD, FileImages, check_workers
from sepnet.datasets.images import _random_part, read_crop, read_random_crop

SHAPE = (3, 24, 24)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of 20 + 4 noisy JPEGs of different sizes."""
    root = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(0)
    for part, n in (("train", 20), ("val", 4)):
        for name in "abc":
            (root / part / name).mkdir(parents=True)
            for at in range(n):
                height, width = random.integers(30, 60, 2)
                pixels = random.integers(0, 256, (height, width, 3), np.uint8)
                Image.fromarray(pixels).save(root / part / name / f"{at}.jpg")
    return root


def streamed(split: Split) -> FileImages:
    assert isinstance(split.images, FileImages)
    return split.images


def mine() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("sepnet-images")]


def drawn(images: StreamedImages, draw: tuple[int, int], order: Any = None) -> Pixels:
    order = np.arange(len(images)) if order is None else order
    return np.concatenate(list(images.stream([order[:25], order[25:30], order[30:]], draw)))


def test_the_workers_change_nothing(photos: Path) -> None:
    sets = [load(f"folder:{photos}?crop=24&workers={workers}") for workers in (0, 1, 2, 7)]
    first, *others = [streamed(data.train) for data in sets]
    for other in others:
        assert other.names == first.names
        assert np.array_equal(drawn(other, (5, 1)), drawn(first, (5, 1)))
        assert np.array_equal(other[:], first[:])
    crops = [drawn(first, draw) for draw in ((5, 1), (5, 2), (6, 1))]
    assert not any(np.array_equal(crops[a], crops[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_a_crop_depends_on_seed_epoch_and_row_alone(photos: Path) -> None:
    images = streamed(load(f"folder:{photos}?crop=24&workers=2").train)
    order = np.random.default_rng(1).permutation(len(images))
    assert np.array_equal(drawn(images, (3, 4), order), drawn(images, (3, 4))[order])


def test_evaluation_sees_the_evaluation_transform(photos: Path) -> None:
    data = load(f"folder:{photos}?crop=24&resize=30&interpolation=bicubic")
    images = streamed(data.test)
    assert data.input_shape == SHAPE and len(images) == 12 and images.shape == (12, *SHAPE)
    parts = list(data.test.batches(5))
    assert [len(labels) for _, labels in parts] == [5, 5, 2]
    assert np.array_equal(np.concatenate([labels for _, labels in parts]), data.test.labels)
    wanted = [read_crop(photos / "val" / name, 30, 24, interpolation="bicubic") for name in images.names]
    assert np.array_equal(np.concatenate([pixels for pixels, _ in parts]), wanted)
    assert np.array_equal(images[3:5], wanted[3:5])
    assert np.array_equal(images[np.array([7, 2])], np.stack([wanted[7], wanted[2]]))
    assert [data.classes[label] for label in data.test.labels] == [name[0] for name in images.names]
    plain = streamed(load(f"folder:{photos}?crop=24&resize=30&min_area=None").train)
    assert np.array_equal(drawn(plain, (0, 0)), plain[:])


def test_holding_out_reads_nothing(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load(f"folder:{photos}?crop=24")
    monkeypatch.setattr(Image, "open", None)
    data = load(f"folder:{photos}?crop=24&holdout=15")
    assert (len(data.train), len(data.test)) == (45, 15)
    assert list(streamed(data.test).names) == list(streamed(whole.train).names[45:])
    assert np.array_equal(data.test.labels, whole.train.labels[45:])


def test_small_folders_stay_in_memory(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = load(f"folder:{photos}?size=24")
    assert isinstance(kept.train.images, np.ndarray)
    monkeypatch.setattr(folder, "MEMORY_BYTES", 72 * 3 * 24 * 24 - 1)
    large = load(f"folder:{photos}?size=24")
    assert np.array_equal(streamed(large.train)[:], kept.train.images)
    assert np.array_equal(drawn(streamed(large.train), (1, 2)), kept.train.images), "no random crops without crop="
    assert (large.mean, large.std) == (kept.mean, kept.std), "fewer than 1,000 images: all were measured"
    monkeypatch.setattr(folder, "SAMPLE", 10)
    assert load(f"folder:{photos}?size=24").mean == folder.channel_statistics(kept.train.images[:10])[0]
    assert load(f"folder:{photos}?size=24&normalize=half").mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_a_broken_image_in_the_middle(photos: Path, tmp_path: Path, workers: int) -> None:
    images = streamed(load(f"folder:{photos}?crop=24&workers={workers}").train)
    for name in images.names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        whole = (photos / "train" / name).read_bytes()
        (tmp_path / name).write_bytes(whole if name != images.names[33] else whole[:400])
    broken = FileImages(tmp_path, images.names, SHAPE, images.read, images.draw, workers)
    stream = broken.stream(np.arange(60).reshape(6, 10), (0, 0))
    assert [len(next(stream)) for _ in range(3)] == [10, 10, 10]
    with pytest.raises(DataError, match=rf"{images.names[33]}: broken, or no image"):
        next(stream)
    assert not mine()
    (tmp_path / images.names[33]).unlink()
    with pytest.raises(DataError, match=r"no such image file"):
        list(broken.stream(np.arange(60).reshape(6, 10)))


class Counted:
    """A reader that makes its image of nothing, and counts."""

    def __init__(self) -> None:
        self.lock, self.read = threading.Lock(), 0

    def __call__(self, path: Path) -> Pixels:
        with self.lock:
            self.read += 1
        return np.full((3, 100, 100), int(path.name) % 256, np.uint8)


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_memory_is_bounded(workers: int) -> None:
    count, n, batch = Counted(), 1000, 20
    images = FileImages(Path("x"), [str(i) for i in range(n)], (3, 100, 100), count, None, workers)
    tracemalloc.start()
    for at, pixels in enumerate(images.stream(np.arange(n).reshape(-1, batch))):
        assert (pixels[:, 0, 0, 0] == np.arange(at * batch, (at + 1) * batch) % 256).all()
        assert count.read <= (at + 1 + AHEAD) * batch
        del pixels
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count.read == n
    assert peak < (AHEAD + 1) * batch * 30_000 + 1_000_000 < n * 30_000 / 10


def test_a_stream_that_is_dropped_leaves_no_thread() -> None:
    count = Counted()
    images = FileImages(Path("x"), [str(i) for i in range(1000)], (3, 100, 100), count, None, 3)
    stream = images.stream(np.arange(1000).reshape(-1, 10))
    next(stream)
    assert mine()
    stream.close()  # type: ignore[attr-defined]
    assert not mine() and count.read <= 10 * (AHEAD + 1)
    assert list(images.stream([])) == []


ENDLESS = """
import signal, time, numpy as np
from pathlib import Path
from sepnet.datasets.file_images import FileImages
signal.signal(signal.SIGINT, signal.default_int_handler)
def read(path):
    time.sleep(0.05)
    return np.zeros((1, 8, 8), np.uint8)
images = FileImages(Path("x"), [str(i) for i in range(100_000)], (1, 8, 8), read, None, WORKERS)
for pixels in images.stream(np.arange(100_000).reshape(-1, 2000)[:, :SIZE]):
    print("ready", flush=True)
"""


@pytest.mark.parametrize(("workers", "size"), [(0, 2), (2, 2), (2, 2000)])
def test_ctrl_c_ends_it(workers: int, size: int) -> None:
    """In the third case while the first batch of 2,000, 50 seconds' work, is waited for."""
    code = ENDLESS.replace("WORKERS", str(workers)).replace("SIZE", str(size))
    code = code if size == 2 else code.replace("for pixels", "print('ready', flush=True)\nfor pixels")
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None and child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=20)
    finally:
        child.kill()
    assert "KeyboardInterrupt" in said.splitlines()[-1]


def test_random_parts_are_what_they_say() -> None:
    """Inside, of the area and aspect asked for, anywhere; else the largest centred one of an aspect of 3/4 to 4/3."""
    random = np.random.default_rng(0)
    parts = np.array([_random_part((400, 300), random, 0.25) for _ in range(2000)])
    left, upper, width, height = parts.T
    assert left.min() == 0 and upper.min() == 0 and (left + width).max() == 400 and (upper + height).max() == 300
    share, aspect = width * height / 120_000, width / height
    assert 0.245 < share.min() < 0.27 and 0.9 < share.max() <= 1.0
    assert 0.74 < aspect.min() < 0.77 and 1.3 < aspect.max() < 1.345
    assert _random_part((1000, 10), random, 1.0) == (493, 0, 13, 10)
    assert _random_part((10, 1000), random, 1.0) == (0, 493, 10, 13)
    assert _random_part((1, 1), random, 0.01) == (0, 0, 1, 1)


def test_a_random_crop_is_pillows(photos: Path) -> None:
    file = next((photos / "train" / "a").iterdir())
    image = Image.open(file)
    left, upper, width, height = _random_part(image.size, np.random.default_rng(3), 0.08)
    part = image.crop((left, upper, left + width, upper + height)).resize((24, 24), Image.Resampling.BILINEAR)
    found = read_random_crop(file, np.random.default_rng(3), 24)
    assert np.array_equal(found, np.asarray(part).transpose(2, 0, 1))
    assert read_random_crop(file, np.random.default_rng(3), 24, channels=1).shape == (1, 24, 24)


def test_workers_by_default() -> None:
    assert 1 <= check_workers(None) <= 8
