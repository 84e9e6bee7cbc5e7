"""run and unpack as functions: what a file may say that no command could use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
from golden_model import GOLDEN
from PIL import Image

from sepnet.core.errors import FormatError, SepnetError, UsageError
from sepnet.core.packed_model import PackedModel
from sepnet.steps.run import run
from sepnet.steps.unpack import unpack

FILE = GOLDEN / "v1.sepnet"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """6x6 pixels."""
    path = tmp_path / "a.png"
    Image.fromarray(np.arange(36, dtype=np.uint8).reshape(6, 6)).save(path)
    return path


def test_class_names_and_order(image: Path) -> None:
    (prediction,) = run(PackedModel.read(FILE), [image], topk=9)
    assert {guess.label for guess in prediction.guesses} == {"null", "eins", "zwei", "drei", "größer"}
    odds = [guess.probability for guess in prediction.guesses]
    assert odds == sorted(odds, reverse=True) and sum(odds) == pytest.approx(1)


def model_with(key: str, value: Any) -> PackedModel:
    """The golden model with another header key."""
    return PackedModel.from_bytes(hostile.with_header(lambda header: header.update({key: value})))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("input", None, "does not say how its network wants images"),
        ("input", {"shape": [36], "mean": [0.5] * 36, "std": [1.0] * 36}, "does not say how its network wants images"),
        ("input", {"shape": [1, 6, 6]}, "does not say how its network wants images"),
        ("input", {"shape": [7, 6, 6], "mean": [0.5] * 7, "std": [1.0] * 7}, r"\(7, 6, 6\)"),
        (
            "input",
            {"shape": [1, 9, 9], "mean": [0.5], "std": [1.0]},
            r"shape \[1, 1, 9, 9\]; expected \['n', 1, 6, 6\]",
        ),
        ("input", {"shape": [1, 6, 6], "mean": [0.5], "std": [1e-300]}, "5 of them NaN or Inf"),
        ("classes", ["one"], r"shape \[1, 5\].*expected finite ones of shape \[1, 1\]"),
        ("classes", ["six"] * 6, r"shape \[1, 5\].*expected finite ones of shape \[1, 6\]"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_headers_that_do_not_fit_the_graph(image: Path, key: str, value: Any, words: str) -> None:
    with pytest.raises(SepnetError, match=words):
        run(model_with(key, value), [image])


def test_asked_wrongly(image: Path) -> None:
    for images, topk in (([], 5), ([image], 0)):
        with pytest.raises(UsageError):
            run(PackedModel.read(FILE), images, topk)


def test_a_name_that_safetensors_keeps(tmp_path: Path) -> None:
    model = PackedModel.from_bytes(hostile.with_header(hostile.setting("spare.dense", "name", "__metadata__")))
    with pytest.raises(FormatError, match="__metadata__"):
        unpack(model, tmp_path / "w")
    assert list(tmp_path.iterdir()) == []
