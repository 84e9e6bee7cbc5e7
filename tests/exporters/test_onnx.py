"""The contract of ONNX files: what the packed file computes, in every form, for everything that a packed file can hold."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hard_networks import NETWORKS, mixed_recipe, packed, traced

import sepnet
from sepnet.core.calibrate import Calibrate
from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import DataError, FormatError, MissingExtraError, UsageError
from sepnet.core.exporter import Exporter, Material, make_exporter
from sepnet.core.packed_model import PackedModel
from sepnet.exporters import EXPORTERS
from sepnet.exporters.onnx.export import Onnx
from sepnet.exporters.onnx.integer_choice import WeightsChoice
from sepnet.exporters.onnx.model import OnnxNetwork
from sepnet.exporters.onnx.weights import Weight, integer_weight
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.quantizing.activations import Run
from sepnet.runtimes.activation_ranges import activation_ranges
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.runtimes.probe import Probe

QUICK = ("mixed_cnn", "tied", "buffers")
HARD = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in ("lenet5", "mixed_cnn", *NETWORKS)
]
FILES = sorted(Path("zoo").glob("*.sepnet"))
UNPACKING = {"BitwiseAnd", "BitwiseOr", "BitShift", "CumSum", "ScatterElements", "Where", "Expand", "Cast", "Round"}


@functools.cache
def hard(name: str) -> PackedModel:
    """A network of which every weight was compressed by another chain."""
    ready = traced(name)
    return packed(ready, mixed_recipe(ready[0], ready[2]), ("dense",))


def batch_for(model: PackedModel, count: int = 3) -> np.ndarray:
    assert model.header.input is not None
    return np.random.default_rng(0).standard_normal((count, *model.header.input.shape)).astype(np.float32)


def data_for(model: PackedModel, images: int = 40) -> Dataset:
    """Noise with labels."""
    assert model.header.input is not None
    shape = tuple(model.header.input.shape)
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, *shape)).astype(np.uint8)
    split = Split(pixels, np.arange(images) % 2)
    return Dataset("noise", ("a", "b"), split, split, (0.5,) * shape[0], (0.25,) * shape[0])


def folded(data: bytes, tmp_path: Path) -> set[str]:
    """Operators that are left once ONNX Runtime has loaded it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return {node.op_type for node in onnx.load(tmp_path / "folded.onnx").graph.node}


@pytest.mark.parametrize("name", HARD)
def test_hard_networks(name: str, tmp_path: Path) -> None:
    model = hard(name)
    batch = batch_for(model)
    expected = OnnxRuntime(model, threads=1).run(batch)
    sizes = {}
    for form in ("float", "packed"):
        report = Onnx(form).export(model, tmp_path / "out.onnx", Material())
        sizes[form] = report.bytes
        assert report.bytes == (tmp_path / "out.onnx").stat().st_size == sum(row.bytes for row in report.rows)
        assert report.check is not None and report.check.difference <= 1e-5 * report.check.largest
        found = Probe(tmp_path / "out.onnx", threads=1).run(batch)[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert sizes["packed"] <= sizes["float"]
    network, ranges = OnnxNetwork.of(model, 18), activation_ranges(model, [batch])

    def noise_of(_: str, run: Run) -> float:
        (found, *_) = run({network.graph.inputs[0]: batch}).values()
        return float(10 * np.log10(np.square(expected).sum() / np.square(found - expected).sum()))

    kinds, _ = WeightsChoice(network, ranges, False, len(batch), noise_of).choose()
    plain, small = network.encode(False, ranges, kinds)[0], network.encode(True, ranges, kinds)[0]
    onnx.checker.check_model(plain, full_check=True)
    onnx.checker.check_model(small, full_check=True)
    found = Probe(plain, threads=1).run(batch)[0]
    np.testing.assert_array_equal(found, Probe(small, threads=1).run(batch)[0])
    noise = np.square(found - expected).mean() / np.square(expected).mean()
    assert noise < 0.02  # 17 dB


@pytest.mark.parametrize(
    "file",
    [pytest.param(file, marks=pytest.mark.slow if "squeezenet" in file.stem else [], id=file.stem) for file in FILES],
)
def test_zoo(file: Path, tmp_path: Path) -> None:
    model = PackedModel.read(file)
    batch = batch_for(model, 2)
    expected = OnnxRuntime(model, threads=1).run(batch)
    network, ranges = OnnxNetwork.of(model, 18), activation_ranges(model, [batch])
    np.testing.assert_array_equal(Probe(network.encode(True)[0], threads=1).run(batch)[0], expected)
    plain, small = network.encode(False, ranges)[0], network.encode(True, ranges)[0]
    np.testing.assert_array_equal(Probe(small, threads=1).run(batch)[0], Probe(plain, threads=1).run(batch)[0])
    left = folded(small, tmp_path)
    assert not left & (UNPACKING | {"Conv", "Gemm", "Gather"})
    assert left == folded(plain, tmp_path) and left & {"QLinearConv", "QGemm"}


@pytest.mark.parametrize("name", [name for name in EXPORTERS if EXPORTERS[name].writes == "file"])
def test_every_exporter(name: str, tmp_path: Path) -> None:
    model, path = PackedModel.read("zoo/lenet5-mnist.sepnet"), tmp_path / "out"
    try:
        report = make_exporter(name, {}, EXPORTERS).export(model, path, Material())
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert report.bytes == path.stat().st_size == sum(row.bytes for row in report.rows) and report.remarks
    before = path.read_bytes()
    make_exporter(name, {}, EXPORTERS).export(model, path, Material())
    assert path.read_bytes() == before and [each.name for each in tmp_path.iterdir()] == ["out"]


def test_a_graph_of_an_older_opset_and_a_fixed_batch(tmp_path: Path) -> None:
    random, float32 = np.random.default_rng(0), onnx.TensorProto.FLOAT
    arrays = {
        "w": random.standard_normal((8, 1, 3, 3)),
        "b": random.standard_normal(8),
        "v": random.standard_normal((8, 2)),
    }
    nodes = [
        onnx.helper.make_node("Conv", ["x", "w", "b"], ["c"]),
        onnx.helper.make_node("Clip", ["c", "", "six"], ["r"]),
        onnx.helper.make_node("ReduceMean", ["r"], ["m"], axes=[2, 3], keepdims=0),
        onnx.helper.make_node("MatMul", ["m", "v"], ["y"]),
    ]
    given = [onnx.helper.make_tensor_value_info("x", float32, (4, 1, 6, 6))]
    gives = [onnx.helper.make_tensor_value_info("y", float32, (4, 2))]
    held = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    held.append(onnx.numpy_helper.from_array(np.float32(6), "six"))
    graph = onnx.helper.make_graph(nodes, "g", given, gives, held)
    onnx.save(
        onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 13)], ir_version=8),
        tmp_path / "in.onnx",
    )
    model = sepnet.pack(tmp_path / "in.onnx")
    data = data_for(model)
    for form, by in (("float", None), ("packed", None), ("packed", data), ("int8", data)):
        report = model.export(tmp_path / "out.onnx", "onnx", calibrate=by, images=20, form=form)
        assert report.check is not None and report.check.examples == 4
        assert report.check.difference <= (0.1 if by else 1e-6) * report.check.largest
        assert onnx.load(tmp_path / "out.onnx").opset_import[0].version == (13 if form == "float" else 18)
    left = folded((tmp_path / "out.onnx").read_bytes(), tmp_path)
    assert "QLinearConv" in left and "Conv" not in left


def test_calibrated_methods(tmp_path: Path) -> None:
    model = PackedModel.read("zoo/lenet5-mnist.sepnet")
    data = data_for(model)
    for form in ("int8", "packed"):
        material = Material(Calibrate(data, 10), data)
        report = Onnx(form).export(model, tmp_path / f"{form}.onnx", material)
        assert [row.method for row in report.methods] == ["min-max", "percentile", "mse"]
        best = max(report.methods, key=lambda row: row.noise)
        assert [row for row in report.methods if row.chosen] == [best] and best.noise > 20
        assert report.check is not None and report.check.exported is not None and report.check.exported.n == 40
        assert 0 < report.check.difference < 0.1 * report.check.largest
    one = Onnx("packed", "percentile").export(model, tmp_path / "packed.onnx", Material(Calibrate(data, 10)))
    assert [(row.method, row.chosen) for row in one.methods] == [("percentile", True)]


def test_what_is_refused(tmp_path: Path) -> None:
    model, path = PackedModel.read("zoo/lenet5-mnist.sepnet"), tmp_path / "out.onnx"
    calibrate = Calibrate(data_for(model), 10)
    for made, material, words in (
        (Onnx("int8"), Material(), "expected --calibrate"),
        (Onnx("float"), Material(calibrate), "leave it out"),
        (Onnx(method="mse"), Material(), "--method and nothing to calibrate by"),
    ):
        with pytest.raises(UsageError, match=words):
            made.export(model, path, material)
    with pytest.raises(DataError, match="takes images of shape"):
        Onnx().export(model, path, Material(Calibrate(data_for(PackedModel.read(FILES[2])))))
    with pytest.raises(UsageError, match="unknown form 'int4'"):
        make_exporter("onnx", {"form": "int4"}, EXPORTERS)
    with pytest.raises(UsageError, match="found the option --form"):
        make_exporter("safetensors", {"form": "float"}, EXPORTERS)
    alone = PackedModel.of(model.header, b"", model.payloads)
    with pytest.raises(FormatError, match="weights alone"):
        Onnx().export(alone, path, Material())
    graph = OnnxGraph.decode(model.graph)
    broken = graph.changed(tuple(replace(node, inputs=()) for node in graph.nodes), graph.initializers).encode()
    with pytest.raises(FormatError, match="refuses the packed file's graph"):
        Onnx().export(PackedModel.of(model.header, broken, model.payloads), path, Material())
    assert not list(tmp_path.iterdir())
    assert issubclass(EXPORTERS["onnx"], Exporter)


@pytest.mark.parametrize(
    "coded",
    [
        CodedTensor("w", np.array([[-3, 7], [0, 100]]), "integer", scale=Half.of(np.float32([0.5, -0.25]))),
        CodedTensor("w", np.array([[0, 1], [1, 1]]), "sign", scale=Half.of(np.float32([0.0, -2.0]))),
        CodedTensor("w", np.array([[-3000, 7], [9, 100]]), "integer", scale=Half.of(np.float32(0.001))),
        CodedTensor("w", np.array([[-128, 7], [9, 100]]), "integer", scale=Half.of(np.float32(-0.1))),
        CodedTensor(
            "w", np.array([[0, 1], [2, 1]]), "codebook", codebook=Half.of(np.float32([0.0, -1.5, 3.0])), scale=None
        ),
    ],
    ids=["integers", "signs", "wide integers", "-128", "codebook"],
)
def test_int8_weights(coded: CodedTensor) -> None:
    numbers = coded.restore()
    found = integer_weight(Weight(numbers, coded), 0, np.zeros(1, np.float32))
    assert found.codes.dtype == np.int8 and (found.scale > 0).all() and np.abs(found.codes.astype(int)).max() <= 127
    restored = found.codes * found.scale.reshape(-1, 1)
    exact = coded.values in ("integer", "sign") and np.abs(coded.codes).max() <= 127
    np.testing.assert_allclose(restored, numbers, rtol=0, atol=1e-15 if exact else np.abs(numbers).max() / 254 + 1e-9)
    floor = np.float32([2.0, 0.5])  # scales below which the bias would not fit
    raised = integer_weight(Weight(numbers, coded), 0, floor)
    assert (raised.scale >= (floor if raised.scale.ndim else floor.max())).all()
    kept = raised.codes * raised.scale.reshape(-1, 1)
    assert np.abs(kept - restored).max() <= (2.1 if coded.values == "sign" else raised.scale.max() / 2 + 1e-6)
