"""Folders of images, and reading one image."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sepnet.core.errors import DataError, UsageError
from sepnet.datasets import folder, load
from sepnet.datasets.images import EXTENSIONS, image_shape, read_crop, read_image

BROKEN = b"\x89PNG\r\n\x1a\n broken"


def put(path: Path, value: object = 0, size: tuple[int, int] = (8, 8), mode: str = "L") -> Path:
    """Write an image of one colour; `size` is (width, height)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, value).save(path)
    return path


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    """Two classes of ten images."""
    for label, name in enumerate(("cat", "dog")):
        for i in range(10):
            put(tmp_path / name / f"{i}.png", 100 * label + i)
    return tmp_path


@pytest.fixture
def split(tmp_path: Path) -> Path:
    for part, n in (("train", 3), ("test", 2)):
        for label, name in enumerate(("a", "b", "c")):
            for i in range(n):
                put(tmp_path / part / name / f"{i}.png", 50 * label + i)
    return tmp_path


def test_one_level_is_split(flat: Path) -> None:
    data = load(f"folder:{flat}")
    assert (data.classes, data.input_shape) == (("cat", "dog"), (1, 8, 8))
    assert np.bincount(data.train.labels).tolist() == [8, 8]
    assert np.bincount(data.test.labels).tolist() == [2, 2]
    assert data.name == f"folder:{flat}"
    for part in (data.train, data.test):
        assert (part.images[:, 0, 0, 0] // 100 == part.labels).all()
    values = np.concatenate([data.train.images, data.test.images])[:, 0, 0, 0]
    assert len(set(values.tolist())) == 20, "every image once"
    assert data.train.labels.tolist() != sorted(data.train.labels), "mixed, so that the last ones can be held out"
    again = load(f"folder:{flat}?holdout=4")
    assert np.array_equal(again.test.images, data.train.images[-4:])


def test_the_split_depends_on_names_alone(flat: Path) -> None:
    before = load(f"folder:{flat}").test.images[:, 0, 0, 0].tolist()
    moved = flat.parent / (flat.name + "-moved")
    flat.rename(moved)
    for file in sorted(moved.rglob("*.png"), reverse=True):
        file.touch()
    assert load(f"folder:{moved}").test.images[:, 0, 0, 0].tolist() == before


def test_train_and_test(split: Path) -> None:
    data = load(f"folder:{split}")
    assert (len(data.train), len(data.test), data.classes) == (9, 6, ("a", "b", "c"))
    (split / "test").rename(split / "val")
    assert np.array_equal(load(f"folder:{split}").test.images, data.test.images)
    (split / "val").rename(split / "other")
    with pytest.raises(DataError, match=r"neither test/ nor val/"):
        load(f"folder:{split}")


def test_the_seed_makes_the_split(flat: Path) -> None:
    parts = [load(f"folder:{flat}?seed={seed}").test for seed in (0, 1, 2, 1)]
    assert all(np.bincount(part.labels).tolist() == [2, 2] for part in parts)
    assert len({part.images.tobytes() for part in parts}) == 3
    assert np.array_equal(load(f"folder:{flat}").test.images, parts[0].images)


def test_a_whole_folder_to_evaluate_on(split: Path) -> None:
    data = load(f"folder:{split / 'test'}?whole=True")
    assert (len(data.train), len(data.test), data.classes) == (6, 6, ("a", "b", "c"))
    for file in (split / "train").rglob("*.png"):
        file.unlink()
    for place in (*(split / "train").iterdir(), split / "train"):
        place.rmdir()
    with pytest.raises(DataError, match=r"without train/ use folder:.*test\?whole=True"):
        load(f"folder:{split}")


def test_a_folder_that_may_not_be_read(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(place: Path) -> None:
        raise PermissionError(13, "Permission denied", str(place))

    monkeypatch.setattr("os.scandir", refuse)
    with pytest.raises(DataError, match=r"cannot be listed: Permission denied"):
        load(f"folder:{flat}")


def test_what_is_not_an_image_is_left_out(flat: Path) -> None:
    (flat / "cat" / "notes.txt").write_text("x")
    (flat / "cat" / "._1.png").write_bytes(b"x")
    (flat / "cat" / "deep.png").mkdir()
    (flat / ".hidden").mkdir()
    (flat / "readme.png").write_bytes(b"x")
    put(flat / "cat" / "UPPER.PNG")
    assert len(load(f"folder:{flat}").train) + len(load(f"folder:{flat}").test) == 21


def test_size_and_channels(flat: Path) -> None:
    assert load(f"folder:{flat}?size=5&channels=3").input_shape == (3, 5, 5)
    assert load(f"folder:{flat}?size=(4, 6)").input_shape == (1, 4, 6)
    data = load(f"folder:{flat}?channels=3&mirror=True")
    assert (data.input_shape, data.mirror, len(data.mean)) == ((3, 8, 8), True, 3)


def test_the_first_image_gives_the_shape(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(2):
            put(tmp_path / name / f"{i}.png", (1, 2, 3), (10, 6), "RGB")
    assert load(f"folder:{tmp_path}").input_shape == (3, 6, 10)


def test_statistics(flat: Path) -> None:
    data = load(f"folder:{flat}")
    pixels = data.train.images / 255
    assert data.mean[0] == pytest.approx(pixels.mean(), abs=1e-6)
    assert data.std[0] == pytest.approx(pixels.std(), abs=1e-6)


def test_constant_images_have_a_std(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(2):
            put(tmp_path / name / f"{i}.png", 9)
    data = load(f"folder:{tmp_path}")
    assert data.std == (round(1 / 255, 6),)
    assert np.isfinite(data.batch(data.train.images)).all()


@pytest.mark.parametrize(
    "option", ["size=0", "size=-3", "size=big", "size=(1,)", "size=(0, 4)", "size=2.5", "channels=2"]
)
def test_options_that_cannot_be(flat: Path, option: str) -> None:
    with pytest.raises(UsageError, match=r"found .*; expected"):
        load(f"folder:{flat}?{option}")


def test_missing_and_empty(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such folder"):
        load(f"folder:{tmp_path / 'gone'}")
    with pytest.raises(DataError, match=r"empty; expected a sub-folder"):
        load(f"folder:{tmp_path}")
    (tmp_path / "cat").mkdir()
    with pytest.raises(DataError, match=r"cat: no images; expected files of bmp gif"):
        load(f"folder:{tmp_path}")
    put(tmp_path / "cat" / "1.png")
    with pytest.raises(DataError, match=r"found 1 image; a class needs 2"):
        load(f"folder:{tmp_path}")
    put(tmp_path / "cat" / "2.png")
    with pytest.raises(DataError, match=r"found one class \(cat\)"):
        load(f"folder:{tmp_path}")
    (tmp_path / "a_file").write_bytes(b"x")
    with pytest.raises(DataError, match=r"no such folder"):
        load(f"folder:{tmp_path / 'a_file'}")


def test_a_class_that_train_lacks(split: Path) -> None:
    put(split / "test" / "zebra" / "1.png")
    with pytest.raises(DataError, match=r"'zebra' is in the test split but not in train; train has a, b, c"):
        load(f"folder:{split}")


def test_a_class_that_test_lacks(split: Path) -> None:
    for file in (split / "test" / "b").iterdir():
        file.unlink()
    (split / "test" / "b").rmdir()
    assert load(f"folder:{split}").test.labels.tolist().count(1) == 0


def test_broken_image_is_named(flat: Path) -> None:
    (flat / "dog" / "5.png").write_bytes(BROKEN)
    with pytest.raises(DataError, match=r"5.png: broken, or no image"):
        load(f"folder:{flat}?size=8&channels=1")


@pytest.mark.parametrize("suffix", sorted(EXTENSIONS))
def test_every_extension(tmp_path: Path, suffix: str) -> None:
    mode, value = ("RGB", (200, 100, 50)) if suffix != ".pgm" else ("L", 120)
    pixels = read_image(put(tmp_path / f"x{suffix}", value, mode=mode), (3, 8, 8))
    assert pixels.dtype == np.uint8 and pixels.shape == (3, 8, 8)
    expected = np.array(value if mode == "RGB" else (120, 120, 120))
    assert np.abs(pixels.astype(int).mean((1, 2)) - expected).max() < 4


@pytest.mark.parametrize(
    ("mode", "value", "gray"),
    [
        ("1", 1, 255),
        ("L", 77, 77),
        ("LA", (77, 0), 77),
        ("P", 0, 0),
        ("RGBA", (77, 77, 77, 0), 77),
        ("I;16", 77 * 256 + 9, 77),
    ],
)
def test_modes(tmp_path: Path, mode: str, value: object, gray: int) -> None:
    file = put(tmp_path / "x.png", value, mode=mode)
    assert (read_image(file, (1, 8, 8)) == gray).all()
    assert (read_image(file, (3, 8, 8)) == gray).all()
    assert image_shape(file) == (1 if mode in {"1", "L", "LA", "I;16"} else 3, 8, 8)


def test_more_than_16_bits(tmp_path: Path) -> None:
    assert (read_image(put(tmp_path / "i.tif", 513, mode="I"), (1, 8, 8)) == 2).all()
    with pytest.raises(DataError, match=r"found pixels from -1 to -1"):
        read_image(put(tmp_path / "n.tif", -1, mode="I"), (1, 8, 8))
    with pytest.raises(DataError, match=r"floating point"):
        read_image(put(tmp_path / "f.tif", 0.5, mode="F"), (1, 8, 8))


def test_same_size_is_untouched(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    assert np.array_equal(read_image(tmp_path / "x.png", (3, 6, 9)), pixels.transpose(2, 0, 1))


def test_the_longer_side_is_cropped(tmp_path: Path) -> None:
    """The same as fitting the shorter side and then cropping the longer one.

    No pixel leaves 0 to 255 between the two passes of the filter: Pillow before 13 would clip it there.
    """
    pixels = np.random.default_rng(0).integers(64, 192, (20, 40), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    Image.fromarray(np.ascontiguousarray(pixels.T)).save(tmp_path / "tall.png")
    for side in (4, 10, 20, 32):
        fitted = np.asarray(Image.fromarray(pixels).resize((2 * side, side), Image.Resampling.BICUBIC))
        middle = fitted[:, side // 2 : side // 2 + side]
        assert np.array_equal(read_image(tmp_path / "wide.png", (1, side, side))[0], middle)
        tall = read_image(tmp_path / "tall.png", (1, side, side))[0]
        assert np.abs(tall.astype(int) - middle.T).max() <= 1, "the two passes of the filter round in the other order"
    assert read_image(tmp_path / "wide.png", (1, 8, 16)).shape == (1, 8, 16)
    assert read_image(tmp_path / "tall.png", (3, 8, 16)).shape == (3, 8, 16)


def test_same_aspect_is_pillows_bicubic(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    expected = np.asarray(Image.fromarray(pixels).resize((15, 10), Image.Resampling.BICUBIC))
    assert np.array_equal(read_image(tmp_path / "x.png", (1, 10, 15))[0], expected)


def test_extreme_aspects(tmp_path: Path) -> None:
    assert read_image(put(tmp_path / "line.png", 7, (20_000, 1)), (1, 224, 224)).shape == (1, 224, 224)
    assert read_image(put(tmp_path / "dot.png", 7, (1, 1)), (3, 5, 7)).tolist() == np.full((3, 5, 7), 7).tolist()


def test_a_cameras_rotation_is_obeyed(tmp_path: Path) -> None:
    image = Image.new("L", (6, 4), 0)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "x.jpg", exif=exif)
    assert image_shape(tmp_path / "x.jpg") == (1, 6, 4)


@pytest.mark.parametrize(
    "content", [b"", b"text", BROKEN, b"GIF89a", b"P5 99999999 99999999 255\n", b"II*\x00\xff\xff\xff\xff"]
)
def test_hostile_images(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=r"x.png: broken, or no image") as caught:
        read_image(tmp_path / "x.png", (1, 8, 8))
    assert "\n" not in str(caught.value)


def test_truncated_images(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for suffix in (".png", ".jpg", ".bmp", ".gif", ".webp", ".tif"):
        file = tmp_path / f"x{suffix}"
        Image.fromarray(pixels).save(file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
        with pytest.raises(DataError, match=r"broken"):
            read_image(file, (3, 40, 40))


def test_read_image_asked_wrongly(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path, "it is a folder; expected an image file"),
        (tmp_path / "gone.png", "no such image file"),
    ):
        with pytest.raises(DataError, match=words):
            read_image(path, (1, 8, 8))
    for shape in ((2, 8, 8), (1, 0, 8), (3, 8, -1)):
        with pytest.raises(DataError, match=r"an image can be given as"):
            read_image(put(tmp_path / "x.png"), shape)


def test_home_is_understood(flat: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(flat.parent))
    assert len(folder.folder(f"~/{flat.name}").train) == 16


@pytest.mark.parametrize(
    ("size", "resize", "crop"), [((300, 400), 256, 224), ((501, 333), 256, 224), ((64, 64), 64, 48), ((40, 99), 20, 20)]
)
def test_the_evaluation_transform(tmp_path: Path, size: tuple[int, int], resize: int, crop: int) -> None:
    """Against the definition: shorter side to `resize`, the longer rounded down, the crop's corner rounded."""
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    width, height = size
    scaled = (resize, int(resize * height / width)) if width <= height else (int(resize * width / height), resize)
    for name, filter in (("bilinear", Image.Resampling.BILINEAR), ("bicubic", Image.Resampling.BICUBIC)):
        whole = np.asarray(Image.fromarray(pixels).resize(scaled, filter)).transpose(2, 0, 1)
        top, left = round((scaled[1] - crop) / 2), round((scaled[0] - crop) / 2)
        found = read_crop(tmp_path / "a.png", resize, crop, interpolation=name)
        assert np.array_equal(found, whole[:, top : top + crop, left : left + crop])
        assert np.array_equal(
            read_crop((tmp_path / "a.png").read_bytes(), resize, crop, channels=3, interpolation=name), found
        )
    assert read_crop(tmp_path / "a.png", resize, crop, channels=1).shape == (1, crop, crop)


def test_a_folder_by_the_evaluation_transform(tmp_path: Path) -> None:
    for name in ("a", "b"):
        for i in range(5):
            put(tmp_path / name / f"{i}.png", i, (30 + i, 20))
    data = load(f"folder:{tmp_path}?resize=16&crop=14")
    assert (data.input_shape, data.mirror, data.mean) == ((3, 14, 14), True, (0.485, 0.456, 0.406))
    gray = load(f"folder:{tmp_path}?resize=16&crop=14&channels=1&mirror=False")
    assert (gray.input_shape, gray.mirror, len(gray.mean)) == ((1, 14, 14), False, 1)
    files = sorted((tmp_path / "a").iterdir())
    by_default = {read_crop(file, 16, 14).tobytes() for file in files}
    assert {image.tobytes() for image in load(f"folder:{tmp_path}?crop=14").test.images[:]} <= by_default
    for options, words in (
        ("resize=16", "found resize=16 without crop"),
        ("resize=14&crop=16", "expected crop to be at most resize"),
        ("resize=16&crop=14&size=14", "found size=14 beside crop"),
        ("crop=big", "found crop='big'"),
        ("crop=0", "found crop=0"),
        ("crop=14&min_area=0", "found min_area=0; expected a number above 0"),
        ("crop=14&min_area=1.5", "found min_area=1.5"),
        ("crop=14&normalize=mine", "found normalize='mine'; expected imagenet or"),
        ("crop=14&channels=1&normalize=half", "with 1 channel; its mean and std are of 3"),
        ("workers=-1", "found workers=-1; expected a number of threads, 0 to 256"),
        ("workers=many", "found workers='many'"),
        ("seed=-1", "found seed=-1; expected an integer >= 0"),
        ("resize=16&crop=14&interpolation=3", "found interpolation=3"),
        ("resize=16&crop=14&channels=2", "found channels=2"),
    ):
        with pytest.raises(UsageError, match=words):
            load(f"folder:{tmp_path}?{options}")


def test_a_very_long_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"long.png: found 3000x1; too long to resize to 224"):
        read_crop(put(tmp_path / "long.png", size=(3000, 1)), 224, 224)
