"""The exporter of C99: its report and its folder; what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sepnet.core.calibrate import Calibrate
from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import NetworkError, OutputError, UsageError
from sepnet.core.exporter import Material
from sepnet.core.packed_model import PackedModel
from sepnet.exporters.c99 import C99
from sepnet.steps.export import export

FILES = ["Makefile", "main.c", "model.c", "model.h", "model_weights.c"]


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Noise like MNIST."""
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (24, 1, 28, 28)).astype(np.uint8), random.integers(0, 10, 24))
    return Dataset("noise", tuple("0123456789"), split, split, (0.13,), (0.31,))


def test_folder_and_report(data: Dataset, tmp_path: Path) -> None:
    model = PackedModel.read("zoo/lenet5-mnist.sepnet")
    material = Material(Calibrate(data, 8), data)
    report = export(model, C99("min-max"), tmp_path / "out", material)
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == FILES
    assert report.bytes == sum(row.bytes for row in report.rows) < 7_500
    assert report.check is not None and report.check.difference < 0.1 * report.check.largest
    assert any(f"{report.bytes:,} bytes of constants" in remark for remark in report.remarks)
    assert [each.name for each in tmp_path.iterdir()] == ["out"]


def test_refusals(data: Dataset, tmp_path: Path) -> None:
    model = PackedModel.read("zoo/lenet5-mnist.sepnet")
    with pytest.raises(UsageError, match="--calibrate"):
        C99().export(model, tmp_path / "out", Material())
    (tmp_path / "file").write_text("kept")
    with pytest.raises(OutputError, match="no folder"):
        C99("min-max").export(model, tmp_path / "file", Material(Calibrate(data, 8)))
    graph = model.graph.replace(b"MaxPool", b"LpPoolX")
    with pytest.raises(NetworkError, match=r"LpPoolX .*after layer 'conv1.weight'"):
        C99("min-max").export(
            PackedModel.of(model.header, graph, model.payloads), tmp_path / "out", Material(Calibrate(data, 8))
        )
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
