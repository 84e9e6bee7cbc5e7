"""A network, its packed file and a data set for the commands, each made once."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from sepnet.cli import app

DATA = "digits?holdout=1100"
RECIPE = """
title = "for the tests"
[train]
lr = 0.01
batch = 64
[[rule]]
kinds = ["conv kxk"]
schemes = [{ scheme = "pattern", scale = "filter" }]
[[rule]]
kinds = ["fc", "conv 1x1"]
schemes = [{ scheme = "prune", sparsity = 0.5, schedule = "cubic" }, { scheme = "linear", bits = 5 }]
[[stage]]
name = "first"
start = ["prune"]
epochs = 2
[[stage]]
name = "second"
start = ["linear", "pattern"]
epochs = 2
"""


@dataclass(frozen=True)
class Ran:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on stderr."""
        lines = [line for line in self.err.splitlines() if line]
        assert len(lines) == 1 and lines[0].startswith("error: "), self.err
        return lines[0]


Run = Callable[..., Ran]


@pytest.fixture(scope="session")
def run() -> Run:
    """`sepnet ARGUMENTS` in this process, with `stdin` to read."""

    def call(*arguments: object, stdin: bytes | None = None) -> Ran:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "Traceback" not in result.stderr
        assert "\x1b" not in result.stdout + result.stderr
        return Ran(result.exit_code, result.stdout, result.stderr)

    return call


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a mixed_cnn that nobody trained."""
    import torch

    from sepnet.networks import build
    from sepnet.training.weights import write_weights

    path = tmp_path_factory.mktemp("weights") / "mixed.safetensors"
    torch.manual_seed(0)
    write_weights(path, build("mixed_cnn").state_dict())
    return path


@pytest.fixture(scope="session")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of two stages."""
    path = tmp_path_factory.mktemp("recipe") / "two.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="session")
def packed(run: Run, weights: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """That network, packed without fine-tuning."""
    path = tmp_path_factory.mktemp("packed") / "mixed.sepnet"
    ran = run(*compress_arguments(weights, recipe, path), "--epochs", 0)
    assert ran.code == 0, ran.err
    return path


def compress_arguments(weights: Path, recipe: Path, output: Path, data: str = DATA) -> tuple[object, ...]:
    """A whole compress command but for its options."""
    return (
        "compress",
        "mixed_cnn",
        "--weights",
        weights,
        "--data",
        data,
        "--recipe",
        recipe,
        "-o",
        output,
        "--threads",
        1,
    )


@pytest.fixture(scope="session")
def compress() -> Callable[..., tuple[object, ...]]:
    """`compress_arguments`."""
    return compress_arguments


@pytest.fixture(scope="session")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small classifier of 28 x 28 images."""
    onnx = pytest.importorskip("onnx")
    helper, random = onnx.helper, np.random.default_rng(0)
    shapes = {"a.weight": (6, 1, 5, 5), "a.bias": (6,), "b.weight": (10, 96), "b.bias": (10,)}
    nodes = [
        helper.make_node("Conv", ["x", "a.weight", "a.bias"], ["a"], strides=[6, 6]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Flatten", ["r"], ["f"]),
        helper.make_node("Gemm", ["f", "b.weight", "b.bias"], ["y"], transB=1),
    ]
    arrays = {name: 0.3 * random.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    float32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", float32, ("n", 1, 28, 28))],
        [helper.make_tensor_value_info("y", float32, None)],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture of nothing much."""
    path = tmp_path_factory.mktemp("image") / "a picture.png"
    Image.fromarray(np.arange(28 * 28, dtype=np.uint8).reshape(28, 28)).save(path)
    return path
