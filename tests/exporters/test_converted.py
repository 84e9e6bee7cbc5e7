"""Exporters that use other people's converters: their hints here, the real ones where they are installed."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hard_networks import FLOAT, NETWORKS, packed, traced

from sepnet.converters import program
from sepnet.core.calibrate import Calibrate
from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import FormatError, MissingExtraError, NetworkError, UsageError
from sepnet.core.exporter import Material, make_exporter
from sepnet.core.packed_model import PackedModel
from sepnet.exporters import EXPORTERS
from sepnet.exporters.converted import Convert, Converted, Load
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.runtimes.onnxruntime import OnnxRuntime

PACKAGES = {"tflite": ("litert_torch", "litert"), "executorch": ("executorch", "executorch")}
LENET = "zoo/lenet5-mnist.sepnet"
HARD = [each for each in ("lenet5", *NETWORKS) if each != "norms without"]


def noise(model: PackedModel) -> Dataset:
    assert model.header.input is not None
    random, shape = np.random.default_rng(0), tuple(model.header.input.shape)
    split = Split(random.integers(0, 256, (24, *shape)).astype(np.uint8), random.integers(0, 10, 24))
    return Dataset("noise", tuple("0123456789"), split, split, (0.5,) * shape[0], (0.25,) * shape[0])


@functools.cache
def hard(network: str) -> PackedModel:
    return packed(traced(network), FLOAT, ("dense",))


def export(name: str, form: str, model: PackedModel, path: Path, material: Material) -> object:
    try:
        return make_exporter(name, {"form": form}, EXPORTERS).export(model, path, material)
    except MissingExtraError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", PACKAGES)
def test_a_missing_converter_is_a_hint(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module, extra = PACKAGES[name]
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"--to {name} needs {module}.* pip install 'sepnet\[{extra}\]'"):
        make_exporter(name, {}, EXPORTERS).export(PackedModel.read(LENET), tmp_path / "out", Material())
    monkeypatch.setitem(sys.modules, "torch", None)
    for loaded in [each for each in sys.modules if each.startswith("sepnet.converters")]:
        monkeypatch.delitem(sys.modules, loaded)
    with pytest.raises(MissingExtraError, match=rf"--to {name} needs torch.* pip install 'sepnet\[{extra}\]'"):
        make_exporter(name, {}, EXPORTERS).export(PackedModel.read(LENET), tmp_path / "out", Material())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", PACKAGES)
def test_an_operator_without_torch_function_is_named_before_the_converter_is_imported(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, PACKAGES[name][0], None)
    model = PackedModel.read(LENET)
    graph = OnnxGraph.decode(model.graph)
    nodes = [replace(node, op="Softsign") if node.op == "Relu" else node for node in graph.nodes]
    model = PackedModel.of(model.header, replace(graph, nodes=tuple(nodes)).encode(), model.payloads)
    with pytest.raises(
        FormatError, match=r"operator Softsign \(value '.+' after layer 'fc1.weight'\) has no torch function"
    ):
        make_exporter(name, {}, EXPORTERS).export(model, tmp_path / "out", Material())


@pytest.mark.parametrize("name", PACKAGES)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    model = PackedModel.read(LENET)
    by = Calibrate(noise(model), 8)
    for form, material, words in (
        ("int8", Material(), "expected --calibrate"),
        ("float", Material(by), "add --form int8 or leave it out"),
    ):
        with pytest.raises(UsageError, match=words):
            make_exporter(name, {"form": form}, EXPORTERS).export(model, tmp_path / "out", material)
    with pytest.raises(UsageError, match="unknown form 'packed'"):
        make_exporter(name, {"form": "packed"}, EXPORTERS)
    assert not list(tmp_path.iterdir())


class Pretended(Converted, frozen=True):
    """A converter that gives a constant, and what runs it ONNX Runtime, or nothing."""

    name = "pretended"
    extra = "torch"
    breaks: bool = False

    def tools(self, model: PackedModel) -> tuple[Convert, Load]:
        def load(data: bytes, size: int) -> Callable[[np.ndarray], np.ndarray]:
            if self.breaks:
                raise NetworkError("refuses the file")
            assert (data, size) == (b"float" if self.form == "float" else b"int8", 1)
            return OnnxRuntime(model).run

        return lambda model, batches: b"float" if batches is None else b"int8", load


def test_report_and_nothing_left_behind(tmp_path: Path) -> None:
    model = PackedModel.read(LENET)
    material = Material(Calibrate(noise(model), 8), noise(model))
    report = Pretended("int8").export(model, tmp_path / "out", material)
    assert (tmp_path / "out").read_bytes() == b"int8" and report.bytes == 4 == sum(row.bytes for row in report.rows)
    assert report.check is not None and report.check.difference == 0 and report.check.exported == report.check.packed
    assert [(row.method, row.chosen) for row in report.methods] == [("min-max", True)]
    with pytest.raises(NetworkError):
        Pretended(breaks=True).export(model, tmp_path / "out", Material())
    assert (tmp_path / "out").read_bytes() == b"int8" and len(list(tmp_path.iterdir())) == 1


def assert_traced(model: PackedModel) -> None:
    assert model.header.input is not None
    made = program.trace(model)
    assert made.shape == (1, *model.header.input.shape)
    batch = np.random.default_rng(0).standard_normal(made.shape, np.float32)
    expected = OnnxRuntime(model, threads=1).run(batch)
    found = made.module(torch.from_numpy(batch)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("file", ["lenet5-mnist", "resnet20-cifar10-pattern"])
def test_what_converters_are_given_computes_the_same(file: str) -> None:
    assert_traced(PackedModel.read(f"zoo/{file}.sepnet"))


@pytest.mark.slow
@pytest.mark.parametrize("network", HARD)
def test_what_converters_are_given_of_hard_networks(network: str) -> None:
    assert_traced(hard(network))


def test_outputs_that_depend_on_the_batch_are_refused() -> None:
    with pytest.raises(NetworkError, match="depend on the others of its batch"):
        program.trace(hard("norms without"))


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("file", ["lenet5-mnist", "resnet20-cifar10-pattern"])
def test_the_real_converter(name: str, file: str, tmp_path: Path) -> None:
    model = PackedModel.read(f"zoo/{file}.sepnet")
    data, sizes = noise(model), {}
    for form, by, close in (("float", None, 1e-5), ("int8", Calibrate(data, 8), 0.15)):
        path = tmp_path / form
        report = export(name, form, model, path, Material(by, data))
        before, sizes[form] = path.read_bytes(), report.bytes
        assert report.bytes == len(before) == sum(row.bytes for row in report.rows)
        assert report.check is not None and 0 < report.check.difference <= close * report.check.largest
        export(name, form, model, path, Material(by, data))
        assert path.read_bytes() == before
    assert 3 * sizes["int8"] < sizes["float"] < 1.1 * 4 * model.header.params
    assert {each.name for each in tmp_path.iterdir()} == {"float", "int8"}


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
@pytest.mark.parametrize("network", HARD)
def test_the_real_converter_on_hard_networks(name: str, network: str, tmp_path: Path) -> None:
    if (name, network) == ("executorch", "one and three"):
        with pytest.raises(
            NetworkError, match="cannot run the file"
        ):  # it has no kernel for a convolution over three dimensions
            export(name, "float", hard(network), tmp_path / "out", Material())
        return
    report = export(name, "float", hard(network), tmp_path / "out", Material())
    assert report.check is not None and report.check.difference <= 1e-4 * report.check.largest


@pytest.mark.slow
@pytest.mark.parametrize("name", PACKAGES)
def test_a_broken_graph_is_one_line(name: str, tmp_path: Path) -> None:
    model = PackedModel.read(LENET)
    graph = model.graph.replace(b"MaxPool", b"LpPoolX")
    with pytest.raises(FormatError):
        export(name, "float", PackedModel.of(model.header, graph, model.payloads), tmp_path / "out", Material())
    assert not list(tmp_path.iterdir())
