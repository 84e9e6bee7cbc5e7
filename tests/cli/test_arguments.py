"""What a command line asks for reaches the step that does it: each option at a value that is not its default."""

from __future__ import annotations

import importlib
import inspect
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import SepnetError
from sepnet.core.pack_options import PackOptions
from sepnet.core.packed_model import PackedModel
from sepnet.packing.restore import onnx_model
from sepnet.training.weights import write_weights

pytest.importorskip("onnx")  # pack reads the file
DATA, OTHER = "digits", "mnist"
COMPRESS = "sepnet.steps.compress.compress"
PACKED = Path("zoo/lenet5-mnist.sepnet")
Reach = Callable[..., dict[str, Any]]


def named(spec: str, _: Path | None) -> Dataset:
    """A small data set for the name of a larger one."""
    split = Split(np.zeros((20, 1, 28, 28), np.uint8), np.arange(20) % 10)
    return Dataset(spec, tuple("0123456789"), split, split, (0.5,), (0.5,))


@pytest.fixture
def reach(run: Any, monkeypatch: pytest.MonkeyPatch) -> Reach:
    """The arguments with which a command line calls a step, which does not run, and torch's threads at that time."""

    def call(step: str, *line: object) -> dict[str, Any]:
        module, _, name = step.rpartition(".")
        signature = inspect.signature(getattr(importlib.import_module(module), name))
        seen: dict[str, Any] = {}

        def instead(*given: Any, **options: Any) -> None:
            seen.update(signature.bind(*given, **options).arguments, torch_threads=torch.get_num_threads())
            raise SepnetError("far enough")

        before = torch.get_num_threads()
        with monkeypatch.context() as patched:
            patched.setattr(step, instead)
            patched.setattr("sepnet.datasets.load", named)
            ran = run(*line)
        torch.set_num_threads(before)
        assert (ran.code, ran.error) == (1, "error: far enough"), ran.err
        return seen

    return call


def test_train(reach: Reach, tmp_path: Path) -> None:
    line = ("train", "mixed_cnn", "--data", DATA, "-o", tmp_path / "w", "--epochs", 3, "--set", "lr=0.125")
    seen = [reach("sepnet.steps.train.train", *line, "--seed", seed, "--threads", 3) for seed in (7, 7, 8)]
    assert [seen[2][name] for name in ("epochs", "seed", "torch_threads")] == [3, 8, 3]
    assert seen[2]["options"].lr == 0.125
    first, same, other = (each["model"].stem.weight for each in seen)
    assert torch.equal(first, same) and not torch.equal(first, other), "the seed decides where training starts"


def test_compress(reach: Reach, weights: Path, recipe: Path, tmp_path: Path) -> None:
    state = {name: tensor + 1 for name, tensor in load_file(weights).items()}
    write_weights(tmp_path / "teacher.safetensors", state)
    line = ("compress", "mixed_cnn", "--weights", weights, "--data", DATA, "--recipe", recipe, "-o", tmp_path / "m")
    teacher = ("--teacher", "mixed_cnn", "--teacher-weights", tmp_path / "teacher.safetensors")
    seen = reach(COMPRESS, *line, *teacher, "--epochs", 3, "--seed", 7, "--best", "--threads", 3)
    assert [seen[name] for name in ("epochs", "seed", "best", "torch_threads")] == [3, 7, True, 3]
    assert torch.equal(seen["model"].fc.weight + 1, seen["teacher"].fc.weight)
    plain = reach(COMPRESS, *line)
    assert [plain[name] for name in ("epochs", "seed", "best", "teacher")] == [None, 0, False, None]


def test_compress_scores_what_it_wrote(
    reach: Reach, weights: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `keep` gives back is scored: the file, though another network came to lie there."""
    line = ("compress", "mixed_cnn", "--weights", weights, "--data", DATA, "--recipe", recipe, "-o", tmp_path / "m")
    keep = reach(COMPRESS, *line)["keep"]
    other = PACKED.with_name("lenet300-mnist.sepnet")
    monkeypatch.setattr(PackedModel, "write", lambda *_, **__: shutil.copy(other, tmp_path / "m"))
    assert keep(PackedModel.read(PACKED)).to_bytes() == other.read_bytes()


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """An .onnx file."""
    (tmp_path / "net.onnx").write_bytes(onnx_model(PackedModel.read(PACKED)))
    return tmp_path / "net.onnx"


def test_pack(reach: Reach, network: Path, tmp_path: Path) -> None:
    line = ("pack", network, "-o", tmp_path / "m", "--bits", "auto", "--calibrate", DATA)
    for budget, value in (("max_divergence", 0.5), ("target_bytes", 5000)):
        option = f"--{budget.replace('_', '-')}"
        seen = reach("sepnet.api.pack_report", *line, option, value, "--images", 30, "--seed", 7, "--best")
        assert seen["options"] == PackOptions("auto", calibrated=True, best=True, **{budget: value})  # type: ignore[arg-type]
        assert (seen["images"], seen["seed"], seen["calibrate"].name) == (30, 7, DATA)


def test_export(reach: Reach, tmp_path: Path) -> None:
    line = ("export", PACKED, "--to", "onnx", "-o", tmp_path / "net.onnx", "--form", "int8", "--method", "mse")
    seen = reach("sepnet.steps.export.export", *line, "--calibrate", DATA, "--images", 30, "--seed", 7, "--data", OTHER)
    material, exporter = seen["material"], seen["exporter"]
    assert (exporter.form, exporter.method) == ("int8", "mse")
    assert (material.calibrate.images, material.calibrate.seed) == (30, 7)
    assert (material.calibrate.data.name, material.test.name) == (DATA, OTHER)


def test_evaluate_and_run(reach: Reach, image: Path) -> None:
    seen = reach("sepnet.steps.evaluate.evaluate", "evaluate", PACKED, "--data", DATA, "--runtime", "integer")
    assert (seen["data"].name, seen["runtime"]) == (DATA, "integer")
    line = ("run", PACKED, image, "--topk", 3, "--runtime", "integer", "--calibrate", DATA)
    seen = reach("sepnet.steps.run.run", *line)
    assert (seen["topk"], seen["runtime"], seen["calibrate"].name) == (3, "integer", DATA)


def test_bench(reach: Reach) -> None:
    line = ("bench", PACKED, "--runtime", "onnxruntime,integer", "--against", "int8,onnx", "--data", DATA)
    seen = reach("sepnet.steps.bench.bench", *line, "--batch", "3,5", "--threads", 2, "--seconds", 0.5)
    assert (seen["runtimes"], seen["against"]) == (["onnxruntime", "integer"], ["int8", "onnx"])
    assert (seen["batches"], seen["threads"], seen["seconds"], seen["data"].name) == ([3, 5], 2, 0.5, DATA)


@pytest.mark.parametrize(
    "line",
    [
        "train mixed_cnn --data mnist -o out",
        "compress mixed_cnn --weights {weights} --data mnist --recipe {recipe} -o out",
        "evaluate {packed} --data mnist",
        "evaluate mixed_cnn --weights {weights} --data mnist",
        "run {packed} {image} --runtime integer --calibrate mnist",
        "pack {network} --calibrate mnist -o out",
        "export {packed} --to onnx --calibrate mnist -o out",
        "export {packed} --to onnx --data mnist -o out",
        "bench {packed} --data mnist",
    ],
)
def test_the_folder_of_data_sets(
    run: Any, line: str, weights: Path, recipe: Path, image: Path, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = {"weights": weights, "recipe": recipe, "image": image, "network": network, "packed": PACKED.resolve()}
    words = [word.format(**places) for word in line.split()]
    monkeypatch.chdir(network.parent)
    monkeypatch.setenv("SEPNET_DATA", "there")
    ran = run(*words, "--data-dir", "given")
    assert ran.code != 0 and "given/" in ran.error.replace(os.sep, "/"), ran.err
