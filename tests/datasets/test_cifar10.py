"""CIFAR-10: both forms of its files, the real one, and every way in which they can be broken."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepnet.core.errors import DataError, UsageError
from sepnet.datasets import cifar10, load
from sepnet.datasets.folder import channel_statistics
from sepnet.datasets.normalization import mean_and_std

REAL = Path(os.environ.get("SEPNET_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
real = pytest.mark.skipif(
    not (REAL / "cifar10" / "labels.npz").is_file(), reason="the mosaics of CIFAR-10 are not at hand; set SEPNET_DATA"
)
BATCHES = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]


def batch(seed: int) -> tuple[np.ndarray, np.ndarray]:  # type: ignore[type-arg]
    """10,000 images that compress well, each of one colour, and labels."""
    random = np.random.default_rng(seed)
    colours = random.integers(0, 256, (10_000, 3, 1, 1), np.uint8)
    images = np.broadcast_to(colours, (10_000, 3, 32, 32)).copy()
    images[:, :, 0, 31] = 7  # not symmetric, so that a turned image shows
    return images, random.integers(0, 10, 10_000)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin/cifar10` and `webp/cifar10` with the same images."""
    root = tmp_path_factory.mktemp("cifar")
    (root / "bin" / "cifar10").mkdir(parents=True)
    (root / "webp" / "cifar10").mkdir(parents=True)
    images, labels = batch(0)
    records = np.column_stack([labels.astype(np.uint8), images.reshape(10_000, -1)])
    mosaic = images.reshape(100, 100, 3, 32, 32).transpose(0, 3, 1, 4, 2).reshape(3200, 3200, 3)
    Image.fromarray(mosaic).save(root / "mosaic.webp", lossless=True, method=0, quality=0)
    (root / "batch.bin").write_bytes(records.tobytes())
    for name in BATCHES:
        os.link(root / "batch.bin", root / "bin" / "cifar10" / f"{name}.bin")
        os.link(root / "mosaic.webp", root / "webp" / "cifar10" / f"{name}.webp")
    np.savez(root / "webp" / "cifar10" / "labels.npz", train=np.tile(labels, 5).astype(np.uint8), test=labels)
    return root


def folder_of_links(source: Path, target: Path) -> Path:
    """A folder with the same files, each of which can be taken away."""
    (target / "cifar10").mkdir(parents=True)
    for file in (source / "cifar10").iterdir():
        os.link(file, target / "cifar10" / file.name)
    return target / "cifar10"


def replace(file: Path, data: bytes) -> None:
    file.unlink()
    file.write_bytes(data)


def test_both_forms_are_one_data_set(both: Path) -> None:
    official, mosaics = load("cifar10", both / "bin"), load("cifar10", both / "webp")
    images, labels = batch(0)
    for data in (official, mosaics):
        assert (data.input_shape, data.mirror, data.classes[3], data.name) == ((3, 32, 32), True, "cat", "cifar10")
        assert (data.mean, data.std) == mean_and_std("imagenet")
        assert data.train.images.shape == (50_000, 3, 32, 32)
        assert np.array_equal(data.test.images, images)
        assert np.array_equal(data.train.images[20_000:30_000], images)
        assert np.array_equal(data.test.labels, labels) and np.array_equal(data.train.labels, np.tile(labels, 5))
    assert len(load("cifar10?holdout=5000", both / "bin").test) == 5000


def test_the_official_folder_name(both: Path, tmp_path: Path) -> None:
    folder = folder_of_links(both / "bin", tmp_path)
    folder.rename(tmp_path / "cifar-10-batches-bin")
    assert len(load("cifar10", tmp_path).test) == 10_000


def test_normalizations(both: Path) -> None:
    """`imagenet` unless told: the published networks with option A were trained with it (tests/networks)."""
    data = load("cifar10?normalize=half", both / "bin")
    assert (data.mean, data.std) == ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert mean_and_std("imagenet") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    with pytest.raises(UsageError, match=r"found normalize='gcn'; expected imagenet or cifar10 or half"):
        load("cifar10?normalize=gcn", both / "bin")
    with pytest.raises(UsageError, match="found normalize=3"):
        load("cifar10?normalize=3", both / "bin")


def test_no_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"CIFAR-10 is neither in .*cifar10 nor in .*cifar-10-batches-bin; expected"):
        load("cifar10", tmp_path)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    (tmp_path / "cifar-10-batches-py" / "test_batch").write_bytes(b"\x80\x04.")
    with pytest.raises(DataError, match="found the python version, whose pickles are not read"):
        load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("data_batch_3.bin", None, r"data_batch_3.bin: No such file"),
        ("test_batch.bin", b"", r"found 0 bytes; expected 30730000"),
        ("data_batch_1.bin", bytes(30_730_001), r"found 30730001 bytes"),
        ("data_batch_2.bin", b"\x0a" * 30_730_000, r"found label 10; expected 0..9"),
    ],
)
def test_broken_batches(both: Path, tmp_path: Path, name: str, data: bytes | None, words: str) -> None:
    folder = folder_of_links(both / "bin", tmp_path)
    (folder / name).unlink() if data is None else replace(folder / name, data)
    with pytest.raises(DataError, match=words):
        load("cifar10", tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("data_batch_1.webp", None, r"data_batch_1.webp: no such file"),
        ("data_batch_1.webp", b"RIFF broken", r"data_batch_1.webp: broken, or no image: UnidentifiedImageError"),
        ("labels.npz", None, r"labels.npz: missing or broken"),
        ("labels.npz", b"PK broken", r"labels.npz: missing or broken"),
        ("labels.npz", b"", r"labels.npz: missing or broken"),
    ],
)
def test_broken_mosaics(both: Path, tmp_path: Path, name: str, data: bytes | None, words: str) -> None:
    folder = folder_of_links(both / "webp", tmp_path)
    (folder / name).unlink() if data is None else replace(folder / name, data)
    with pytest.raises(DataError, match=words) as caught:
        load("cifar10", tmp_path)
    assert "\n" not in str(caught.value)


def test_a_mosaic_of_another_size(tmp_path: Path) -> None:
    Image.new("RGB", (320, 320)).save(tmp_path / "m.webp")
    with pytest.raises(DataError, match=r"found 320x320; expected 3200x3200"):
        cifar10.read_mosaic(tmp_path / "m.webp")
    (tmp_path / "cut.webp").write_bytes((tmp_path / "m.webp").read_bytes()[:-10])
    with pytest.raises(DataError, match=r"cut.webp"):
        cifar10.read_mosaic(tmp_path / "cut.webp")


@pytest.mark.parametrize(
    ("train", "test", "words"),
    [
        (np.zeros(50_000, np.uint8), np.full(10_000, 10, np.uint8), r"found test labels 10..10"),
        (np.full(50_000, -1), np.zeros(10_000, np.uint8), r"found train labels -1..-1"),
        (np.zeros(50_000), np.zeros(10_000, np.uint8), r"found train float64 \(50000,\); expected 50000 integers"),
        (np.zeros(7, np.uint8), np.zeros(10_000, np.uint8), r"found train uint8 \(7,\)"),
        (np.array([{}]), np.zeros(10_000, np.uint8), r"allow_pickle=False"),
    ],
)
def test_strange_labels(tmp_path: Path, train: object, test: object, words: str) -> None:
    np.savez(tmp_path / "labels.npz", train=train, test=test)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=words):
        cifar10._labels(tmp_path / "labels.npz")


@real
@pytest.mark.slow
def test_the_real_one() -> None:
    data = load("cifar10", REAL)
    assert np.bincount(data.train.labels).tolist() == [5000] * 10
    assert np.bincount(data.test.labels).tolist() == [1000] * 10
    mean, std = channel_statistics(data.train.images)
    expected = load("cifar10?normalize=cifar10", REAL)
    assert np.abs(np.subtract(mean, expected.mean)).max() < 5e-6, "official figures; 95 images here are JPEG copies"
    assert np.abs(np.subtract(std, expected.std)).max() < 5e-6
    assert [data.classes[i] for i in data.test.labels[:6]] == ["cat", "ship", "ship", "airplane", "frog", "frog"]
    assert [data.classes[i] for i in data.train.labels[:4]] == ["frog", "truck", "truck", "deer"]
