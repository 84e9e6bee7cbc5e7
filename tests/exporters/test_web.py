"""The files in onnxruntime-web of the npm registry, under Node: the same images, the same classes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from sepnet.core.dataset import normalize
from sepnet.core.packed_model import PackedModel
from sepnet.datasets import load
from sepnet.exporters.onnx.model import OnnxNetwork
from sepnet.runtimes.activation_ranges import activation_ranges
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.runtimes.probe import Probe

SCRIPT = Path(__file__).with_name("web.mjs")
TOLERANCE = 1e-4
"""Of the largest output: float32 sums in another order."""
TOLERANCE_UINT8 = 0.02
"""A rounding may fall to the other side, which is a step of 1/255."""


@pytest.fixture(scope="session")
def modules(request: pytest.FixtureRequest) -> Path:
    """A node_modules folder with onnxruntime-web, kept in pytest's cache."""
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node or npm is not installed")
    assert request.config.cache is not None
    folder = request.config.cache.mkdir("onnxruntime-web")
    found = folder / "node_modules"
    if not (found / "onnxruntime-web").is_dir():
        install = [
            "npm",
            "install",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
            "--prefix",
            str(folder),
            "onnxruntime-web",
        ]
        try:
            done = subprocess.run(install, capture_output=True, text=True, timeout=180)
        except subprocess.TimeoutExpired:
            pytest.skip("npm install onnxruntime-web takes too long")
        if done.returncode:
            pytest.skip(f"npm cannot install onnxruntime-web: {done.stderr.strip()[-200:]}")
    return found


def images(name: str, model: PackedModel) -> np.ndarray:
    """Test images where the data set is there, else noise."""
    wanted = model.header.input
    assert wanted is not None
    if os.environ.get("SEPNET_DATA"):
        return normalize(load(name).test.images[:64], wanted.mean, wanted.std)
    return np.random.default_rng(0).standard_normal((64, *wanted.shape)).astype(np.float32)


@pytest.mark.slow
@pytest.mark.parametrize(
    "file, data",
    [
        ("lenet300-mnist", "mnist"),
        ("lenet5-mnist", "mnist"),
        ("resnet20-cifar10-pattern", "cifar10"),
        ("resnet20-cifar10-ptq", "cifar10"),
    ],
)
@pytest.mark.parametrize("activations", ["float32", "uint8"])
def test_same_classes(file: str, data: str, activations: str, modules: Path, tmp_path: Path) -> None:
    model = PackedModel.read(f"zoo/{file}.sepnet")
    batch = images(data, model)
    ranges = activation_ranges(model, [batch]) if activations == "uint8" else None
    written, _ = OnnxNetwork.of(model, 18).encode(True, ranges)
    (tmp_path / "model.onnx").write_bytes(written)
    batch.tofile(tmp_path / "batch")
    paths = [str(modules), str(tmp_path / "model.onnx"), str(tmp_path / "batch"), json.dumps(batch.shape)]
    done = subprocess.run(
        ["node", str(SCRIPT), *paths, str(tmp_path / "out")], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.fromfile(tmp_path / "out", np.float32).reshape(len(batch), -1)
    here = Probe(written, threads=1).run(batch)[0]
    np.testing.assert_array_equal(found.argmax(axis=1), here.argmax(axis=1))
    tolerance = TOLERANCE if ranges is None else TOLERANCE_UINT8
    np.testing.assert_allclose(found, here, rtol=0, atol=tolerance * np.abs(here).max())
    if ranges is None:
        np.testing.assert_array_equal(found.argmax(axis=1), OnnxRuntime(model, threads=1).run(batch).argmax(axis=1))
