"""The datasets shelf: the front door, digits, holding out, and the user's own function."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sepnet.core.dataset import Dataset
from sepnet.core.errors import DataError, MissingExtraError, UnknownNameError, UsageError
from sepnet.datasets import DATASETS, digits, load
from sepnet.datasets.folder import channel_statistics

USER = """
import numpy as np
from sepnet.core.dataset import Dataset, Split

def good(n=10, data_dir=None):
    rows = np.arange(n)
    split = Split(np.zeros((n, 1, 4, 4), np.uint8) + rows.reshape(-1, 1, 1, 1).astype(np.uint8), rows % 2)
    return Dataset(str(data_dir), ("a", "b"), split, split, (0.0,), (1.0,), True)
def needs(data_dir): return good(data_dir=data_dir)
def tuples(): return [1], [2]
def raises(): raise OSError("disk on fire")
def strange(): return Split(np.zeros((2, 4, 4)), np.zeros(2))
"""


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    monkeypatch.delitem(sys.modules, "my_data", raising=False)
    monkeypatch.delenv("SEPNET_DATA", raising=False)
    (tmp_path / "my_data.py").write_text(USER)
    return tmp_path


def test_needs_neither_torch_nor_sklearn_nor_pillow() -> None:
    code = (
        "import sys; from sepnet.datasets import *; from sepnet.datasets import DATASETS;"
        "load('digits'); assert list(DATASETS);"
        "assert not {'torch', 'sklearn', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")})


def test_digits() -> None:
    data = load("digits")
    assert isinstance(data, Dataset)
    assert (data.name, data.input_shape, data.mirror) == ("digits", (1, 28, 28), False)
    assert (len(data.train), len(data.test)) == (1437, 360)
    assert np.bincount(data.train.labels).tolist() == [142, 145, 142, 146, 145, 146, 145, 143, 139, 144]
    assert np.bincount(data.test.labels).tolist() == [36, 37, 35, 37, 36, 36, 36, 36, 35, 36]
    pixels = data.train.images
    assert pixels.max() == 255
    assert not pixels[:, :, :2].any() and not pixels[:, :, :, -2:].any()
    blocks = pixels[:, 0, 2:26, 2:26].reshape(-1, 8, 3, 8, 3)
    assert (blocks == blocks[:, :, :1, :, :1]).all()
    assert sorted(np.unique(blocks)) == [(p * 255 + 8) // 16 for p in range(17)]
    mean, std = channel_statistics(pixels)
    assert (round(mean[0], 4), round(std[0], 4)) == (digits.MEAN[0], digits.STD[0])


def test_digits_are_scikit_learns_all_of_them_once() -> None:
    data = load("digits")
    ours = np.concatenate([data.train.images, data.test.images])[:, 0, 2:26:3, 2:26:3].reshape(-1, 64)
    table = digits._table_by_import()
    theirs = (table[:, :64] * 255 + 8) // 16
    assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs.astype(np.uint8)))
    assert np.array_equal(table, digits._table())


def test_digits_are_the_same_every_time() -> None:
    assert load("digits").test.labels[:20].tolist() == [2, 8, 2, 6, 6, 7, 1, 9, 8, 5, 2, 8, 6, 6, 6, 6, 1, 0, 5, 8]
    assert np.array_equal(load("digits").train.images, load("digits").train.images)


def test_digits_without_sklearn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=r"sepnet\[digits\]"):
        load("digits")


def test_digits_with_a_broken_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "datasets" / "data" / "digits.csv.gz"
    file.parent.mkdir(parents=True)
    found = type("Found", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)
    assert digits._table().shape == (1797, 65), "no file there: it is asked of scikit-learn"
    file.write_bytes(b"\x1f\x8b broken")
    with pytest.raises(DataError, match=r"digits.csv.gz"):
        load("digits")


def test_hold_out() -> None:
    whole, held = load("digits"), load("digits?holdout=200")
    assert held.name == "digits?holdout=200"
    assert (len(held.train), len(held.test)) == (1237, 200)
    assert np.array_equal(held.test.images, whole.train.images[-200:])
    assert np.array_equal(held.train.labels, whole.train.labels[:-200])
    assert np.shares_memory(held.train.images, load("digits").train.images) is False
    assert (held.mean, held.classes) == (whole.mean, whole.classes)


@pytest.mark.parametrize("value", ["0", "-1", "1437", "5000", "0.5", "many", "True", "None2", "", "[1]"])
def test_hold_out_refuses(value: str) -> None:
    with pytest.raises(UsageError, match=r"expected an integer from 1 to 1436"):
        load(f"digits?holdout={value}")


def test_hold_out_keeps_every_class() -> None:
    with pytest.raises(DataError, match=r"leaves none of class"):
        load("digits?holdout=1436")


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("digit", UnknownNameError, "did you mean 'digits'"),
        ("folder:x?foo=1", UsageError, "'foo'; folder takes size=None, channels=None"),
        ("mnist?foo=1&data_dir=x", UsageError, "'foo'; mnist takes no options"),
        ("my_data", UsageError, "found a module, and no function of it; expected my_data:FUNCTION"),
        ("digits:there", UsageError, "takes nothing after a colon; found 'there'"),
        ("mnist:there", UsageError, "takes nothing after a colon"),
        ("folder", UsageError, "expected folder:PATH"),
        ("folder:", UsageError, "expected folder:PATH"),
        ("folder:x?path=y&sizes=3", UsageError, "folder takes size=None, channels=None"),
        ("digits?size=3", UsageError, "digits takes no options"),
        ("mnist", UsageError, "--data-dir DIR.*SEPNET_DATA"),
        ("my_data:needs", UsageError, "SEPNET_DATA"),
        ("my_data:tuples", DataError, "returned tuple; expected a sepnet.core.dataset.Dataset"),
        ("my_data:raises", DataError, "raised OSError: disk on fire"),
        ("my_data:strange", DataError, "images must be uint8"),
        ("my_data:gone", UsageError, "has no 'gone'; its functions and classes: good, needs"),
        ("no_such_module:f", UsageError, "no module 'no_such_module'"),
        ("my_data:good?n=4&holdout=9", UsageError, "from 1 to 3"),
    ],
)
def test_mistakes(user: Path, spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        load(spec)
    assert "\n" not in str(caught.value)


def test_users_function(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load("my_data:good?n=20&holdout=4")
    assert (data.name, len(data.train), len(data.test), data.mirror) == ("my_data:good?n=20&holdout=4", 16, 4, True)
    seen: list[object] = []
    import my_data  # type: ignore[import-not-found]

    inner = my_data.good

    def needs(data_dir: object) -> Dataset:
        seen.append(data_dir)
        return inner()  # type: ignore[no-any-return]

    monkeypatch.setattr(my_data, "needs", needs)
    load("my_data:needs", user)
    monkeypatch.setenv("SEPNET_DATA", str(user / "env"))
    load("my_data:needs")
    load("my_data:needs?data_dir=own", user)
    assert seen == [user, user / "env", "own"]


def test_shelf() -> None:
    assert list(DATASETS) == ["cifar10", "digits", "folder", "imagenet_sample", "mnist"]
