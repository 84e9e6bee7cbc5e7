"""The command export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sepnet
from sepnet import datasets

PACKED, DATA = "zoo/lenet5-mnist.sepnet", "digits?holdout=100"


def test_packed(run: Any, tmp_path: Path) -> None:
    done = run("export", PACKED, "--to", "onnx", "-o", str(tmp_path / "out.onnx"), "--data", DATA, "--json")
    found = done.json
    assert found["bytes"] == (tmp_path / "out.onnx").stat().st_size == sum(part["bytes"] for part in found["parts"])
    assert found["check"]["difference"] == 0 and found["check"]["exported"] == found["check"]["packed"]
    assert found["check"]["exported"]["n"] == 100 and found["methods"] == []
    assert any("float32 activations" in remark for remark in found["remarks"])


def test_calibrated(run: Any, tmp_path: Path) -> None:
    output = str(tmp_path / "out.onnx")
    done = run("export", PACKED, "--to", "onnx", "-o", output, "--calibrate", DATA, "--data", DATA, "--images", "50")
    assert done.code == 0
    for words in ("min-max", "percentile", "mse", "(written)", "fc1.weight", "activations", "100 test images: top-1"):
        assert words in done.out


@pytest.mark.parametrize(
    "options, words",
    [
        (["--to", "onnx", "--form", "int8"], "expected --calibrate DATA"),
        (["--to", "onnx", "--form", "int4"], "choices: float, int8, packed"),
        (["--to", "onnx", "--method", "kl", "--calibrate", DATA], "expected one of min-max, percentile, mse"),
        (["--to", "onxx"], "did you mean 'onnx'?"),
        (["--to", "safetensors", "--form", "packed"], "found the option --form"),
        (["--to", "safetensors", "--calibrate", "folder:missing"], "quantizes no activations"),
        (["--to", "safetensors", "--data", "folder:missing"], "weights alone, which cannot be run; found --data"),
        (["--to", "onnx", "--images", "10"], "found --images and nothing to calibrate by; expected --calibrate DATA"),
        (["--to", "onnx", "-o", "-"], "found - as what to write; expected a path"),
        (["--to", "c99", "-o", "-", "--calibrate", DATA], "found - as what to write; expected a path"),
    ],
    ids=lambda value: "" if isinstance(value, str) else " ".join(value),
)
def test_wrong_usage(run: Any, tmp_path: Path, options: list[str], words: str) -> None:
    done = run("export", PACKED, "-o", str(tmp_path / "out"), *options)
    assert done.code == 2 and words in done.error
    assert not list(tmp_path.iterdir())


def test_not_onto_the_packed_file(run: Any) -> None:
    done = run("export", PACKED, "--to", "onnx", "-o", PACKED)
    assert done.code == 2 and "expected different files" in done.error


def test_more_images_than_there_are(run: Any, tmp_path: Path) -> None:
    """What was used is said."""
    options = ("--to", "onnx", "-o", tmp_path / "out.onnx", "--calibrate", DATA, "--images", 99_999_999)
    method = ("--method", "min-max")
    (row,) = run("export", PACKED, *options, *method, "--json").json["methods"]
    assert (row["images"], row["compared"]) == (669, 668)
    assert "by 669 examples, compared on 668 others" in run("export", PACKED, *options, *method).out


def test_a_seed_decides_which_images(tmp_path: Path) -> None:
    model, data, written = sepnet.read(PACKED), datasets.load(DATA), []
    for seed in (1, 1, 2):
        report = model.export(
            tmp_path / "m.onnx", "onnx", calibrate=data, images=8, seed=seed, form="int8", method="min-max"
        )
        written.append((tmp_path / "m.onnx").read_bytes())
        assert report.methods[0].images == 8
    assert written[0] == written[1] != written[2]


def test_a_file_that_is_no_smaller(run: Any, tmp_path: Path) -> None:
    done = run("export", PACKED, "--to", "safetensors", "-o", tmp_path / "out")
    assert "bytes, about as large as float32 parameters (" in done.out


def test_one_data_set_is_read_once(run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    given = datasets.load
    monkeypatch.setattr(datasets, "load", lambda spec, folder: (asked.append(spec), given(spec, folder))[1])
    options = ("--calibrate", DATA, "--images", 8, "--data", DATA, "--method", "min-max")
    assert run("export", PACKED, "--to", "onnx", "-o", tmp_path / "out.onnx", *options).code == 0
    assert asked == [DATA]


def test_calibrated_by_a_file_of_arrays(run: Any, tmp_path: Path) -> None:
    images = datasets.load(DATA).batch(datasets.load(DATA).train.images[:40])
    np.savez(tmp_path / "x.npz", input=images)
    options = ("--to", "onnx", "-o", tmp_path / "out.onnx", "--calibrate", tmp_path / "x.npz")
    assert "by 20 examples, compared on 20 others" in run("export", PACKED, *options).out
    assert run("run", PACKED, "demo.png", "--runtime", "integer", "--calibrate", tmp_path / "x.npz").code == 1
    np.savez(tmp_path / "x.npz", image=images)
    done = run("export", PACKED, *options)
    assert done.code == 1
    assert "x.npz holds image; expected an array for each of input (float32, n x 1 x 28 x 28)" in done.err
    assert "Traceback" not in done.err
