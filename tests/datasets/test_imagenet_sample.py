"""The sample of ImageNet: the real files, small ones, and broken ones."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepnet.core.errors import DataError, UsageError
from sepnet.datasets import load

REAL = Path(os.environ.get("SEPNET_DATA") or Path(__file__).parents[2] / ".." / "shared" / "data")
real = pytest.mark.skipif(
    not (REAL / "imagenet-sample" / "images.zip").is_file(),
    reason="the sample of ImageNet is not at hand; set SEPNET_DATA",
)


def jpeg(value: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (12, 12), value).save(out, "JPEG", quality=95)
    return out.getvalue()


def put(root: Path, images: int = 1000, classes: int = 1000, broken: int | None = None) -> Path:
    """A small copy: 12x12, the gray value says which."""
    folder = root / "imagenet-sample"
    folder.mkdir(parents=True)
    made = [jpeg(value) for value in range(100)]
    with zipfile.ZipFile(folder / "images.zip", "w") as archive:
        for at in range(images):
            archive.writestr(f"{at:03d}.jpg", b"no image" if at == broken else made[at % 100])
    names = ["crane" if at in (134, 517) else f"thing {at}" for at in range(classes)]
    (folder / "classes.txt").write_text("".join(f"{at} n{at:08d} {name}\n" for at, name in enumerate(names)))
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return put(tmp_path_factory.mktemp("sample"))


def test_small(small: Path) -> None:
    data = load("imagenet_sample?resize=12&size=8", small)
    assert data.input_shape == (3, 8, 8)
    assert data.mirror and data.mean == (0.485, 0.456, 0.406)
    assert data.test is data.train, "the same images, never validation images"
    assert data.test.labels.tolist() == list(range(1000))
    assert np.abs(data.test.images[:, 0, 0, 0].astype(int) - np.arange(1000) % 100).max() <= 1
    assert data.classes[3] == "thing 3"
    assert data.classes[134] == "crane n00000134" != data.classes[517]
    assert len(set(data.classes)) == 1000
    assert load("imagenet_sample?resize=6&size=6&interpolation=bicubic&normalize=half", small).std == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("size=257", r"found size=257 and resize=256; expected size to be at most resize"),
        ("size=0", r"found size=0; expected a number of pixels"),
        ("size=1.5", r"found size=1.5"),
        ("resize=True", r"found resize=True"),
        ("resize=65537", r"found resize=65537"),
        ("interpolation=nearest", r"found interpolation='nearest'; expected bilinear or bicubic"),
        ("normalize=none", r"found normalize='none'"),
    ],
)
def test_options_that_cannot_be(small: Path, options: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load(f"imagenet_sample?{options}", small)


def test_broken_files(tmp_path: Path) -> None:
    def refused(root: Path, words: str) -> None:
        with pytest.raises(DataError, match=words) as caught:
            load("imagenet_sample?resize=12&size=8", root)
        assert "\n" not in str(caught.value)

    refused(tmp_path, r"classes.txt: missing or broken")
    refused(put(tmp_path / "few", images=999), r"images.zip: missing or broken: KeyError: .*999.jpg")
    refused(put(tmp_path / "short", classes=999), r"classes.txt: expected 1000 lines .*; found 999 lines")
    refused(put(tmp_path / "bad", broken=7), r"images.zip/007.jpg: broken, or no image")
    archive = tmp_path / "bad" / "imagenet-sample" / "images.zip"
    archive.write_bytes(archive.read_bytes()[:-30])
    refused(tmp_path / "bad", r"images.zip: missing or broken: BadZipFile")


def test_a_bomb_in_the_archive(tmp_path: Path) -> None:
    root = put(tmp_path, images=0)
    with zipfile.ZipFile(root / "imagenet-sample" / "images.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("000.jpg", bytes(2**24 + 1))
    with pytest.raises(DataError, match=r"000.jpg would take 16777217 bytes; expected at most 16777216"):
        load("imagenet_sample", root)


@real
@pytest.mark.slow
def test_the_real_one() -> None:
    data = load("imagenet_sample", REAL)
    assert data.input_shape == (3, 224, 224)
    whole = load("imagenet_sample?size=256", REAL)
    assert np.array_equal(whole.test.images[:, :, 16:240, 16:240], data.test.images)
    assert (data.classes[0], data.classes[-1]) == ("tench", "toilet_tissue")
    assert [c for c in data.classes if " " in c] == [
        "crane n02012849",
        "crane n03126707",
        "maillot n03710637",
        "maillot n03710721",
    ]
