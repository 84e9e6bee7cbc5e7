"""MNIST: the real files where they are at hand, and made-up broken ones."""

import gzip
import hashlib
import os
import time
from pathlib import Path

import numpy as np
import pytest

from sepnet.core.errors import DataError
from sepnet.datasets import load, mnist
from sepnet.datasets.folder import channel_statistics

REAL = Path(os.environ.get("SEPNET_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
real = pytest.mark.skipif(not (REAL / "mnist").is_dir(), reason="MNIST is not at hand; set SEPNET_DATA")

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(values: np.ndarray) -> bytes:
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + sizes + values.astype(np.uint8).tobytes()


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A data directory with 20 + 10 random images in MNIST's files."""
    (tmp_path / "mnist").mkdir()
    numbers = np.random.default_rng(0)
    for prefix, n in (("train", 20), ("t10k", 10)):
        pixels = idx(numbers.integers(0, 256, (n, 28, 28)))
        (tmp_path / "mnist" / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(pixels, 1))
        (tmp_path / "mnist" / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.arange(n) % 10)))
    return tmp_path


@real
def test_real() -> None:
    start = time.perf_counter()
    data = load("mnist", REAL)
    seconds = time.perf_counter() - start
    assert (len(data.train), len(data.test), data.input_shape) == (60_000, 10_000, (1, 28, 28))
    assert seconds < 3, "a slow machine is allowed for; a usual one takes 0.2 s"
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (60_000, 28, 28))
    digest = hashlib.md5(header + data.train.images.tobytes(), usedforsecurity=False).hexdigest()
    assert digest == "6bbc9ace898e44ae57da46a324031adb"
    assert data.train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.test.labels[:5].tolist() == [7, 2, 1, 0, 4]
    mean, std = channel_statistics(data.train.images)
    assert (round(mean[0], 4), round(std[0], 4)) == (mnist.MEAN[0], mnist.STD[0])


@real
def test_real_held_out() -> None:
    data = load("mnist?holdout=5000", REAL)
    assert (len(data.train), len(data.test)) == (55_000, 5_000)


def test_small(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("mnist", small)
    assert (len(data.train), len(data.test), data.test.labels.tolist()) == (20, 10, list(range(10)))
    monkeypatch.setenv("SEPNET_DATA", str(small))
    assert np.array_equal(load("mnist").train.images, data.train.images)


def test_plain_and_torchvisions_place(small: Path) -> None:
    before = load("mnist", small)
    for name in NAMES:
        file = small / "mnist" / f"{name}.gz"
        file.with_suffix("").write_bytes(gzip.decompress(file.read_bytes()))
        file.unlink()
    assert np.array_equal(load("mnist", small).test.images, before.test.images)
    (small / "MNIST").mkdir(exist_ok=True)
    (small / "mnist").rename(small / "MNIST" / "raw")
    assert np.array_equal(load("mnist", small).test.images, before.test.images)


def test_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"neither in .*mnist nor in .*raw; expected"):
        load("mnist", tmp_path)
    with pytest.raises(DataError, match=r"neither in"):
        load("mnist", tmp_path / "nowhere")


def test_one_file_missing(small: Path) -> None:
    (small / "mnist" / f"{NAMES[3]}.gz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte: no such file"):
        load("mnist", small)


GOOD = idx(np.zeros((20, 28, 28)))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (gzip.compress(GOOD)[:-20], "broken or truncated"),
        (gzip.compress(GOOD)[:5], "broken or truncated"),
        (b"", "found the first bytes none"),
        (b"not gzip at all", "broken or truncated"),
        (gzip.compress(GOOD)[:30] + b"\xff" * 40, "broken or truncated"),
        (gzip.compress(GOOD)[:-8] + b"\x00" * 8, "broken or truncated"),
        (gzip.compress(b""), "found the first bytes none"),
        (gzip.compress(GOOD[:15]), "expected 00000803"),
        (gzip.compress(GOOD[:16]), "found 0 bytes after the header; expected 15680"),
        (gzip.compress(GOOD[:-1]), "found 15679 bytes after the header; expected 15680 for 20 x 28 x 28"),
        (gzip.compress(GOOD + b"x"), "found more than 15680 bytes"),
        (gzip.compress(idx(np.zeros(20))), "expected 00000803"),
        (gzip.compress(b"\x00\x00\x0d\x03" + GOOD[4:]), "found the first bytes 00000d03"),
        (gzip.compress(idx(np.zeros((20, 27, 28)))), "found images of 27x28"),
        (gzip.compress(idx(np.zeros((19, 28, 28)))), "found 20 labels for the 19 images"),
        (gzip.compress(idx(np.zeros((0, 28, 28)))), "found 20 labels for the 0 images"),
        (gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12), "expected at most 1073741824 bytes"),
        (gzip.compress(bytes([0, 0, 8, 3, 0, 0, 0, 20]) + b"\xff" * 8), "expected at most 1073741824 bytes"),
        (gzip.compress(bytes([0, 0, 8, 3, 0, 0, 64, 0, 0, 0, 1, 0, 0, 0, 1, 0])), "found 0 bytes after"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else None,
)
def test_broken_images(small: Path, content: bytes, words: str) -> None:
    (small / "mnist" / "train-images-idx3-ubyte.gz").write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        load("mnist", small)
    assert "train-" in str(caught.value)


def test_broken_labels(small: Path) -> None:
    (small / "mnist" / f"{NAMES[1]}.gz").write_bytes(gzip.compress(idx(np.full(20, 10))))
    with pytest.raises(DataError, match=r"found label 10; expected 0..9"):
        load("mnist", small)


def test_empty_split(small: Path) -> None:
    (small / "mnist" / f"{NAMES[2]}.gz").write_bytes(gzip.compress(idx(np.zeros((0, 28, 28)))))
    (small / "mnist" / f"{NAMES[3]}.gz").write_bytes(gzip.compress(idx(np.zeros(0))))
    with pytest.raises(DataError, match=r"the test split is empty"):
        load("mnist", small)


def test_a_folder_in_place_of_a_file(small: Path) -> None:
    (small / "mnist" / f"{NAMES[0]}.gz").unlink()
    (small / "mnist" / f"{NAMES[0]}.gz").mkdir()
    with pytest.raises(DataError, match=r"no such file"):
        load("mnist", small)
