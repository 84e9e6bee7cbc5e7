"""uint8 by int8 products whose sums of two leave 16 bits: foreseen, simulated, and avoided, whatever processor exports."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

import sepnet
from sepnet.core.calibrate import Calibrate
from sepnet.core.dataset import Dataset, Split
from sepnet.core.exporter import Material
from sepnet.core.packed_model import PackedModel
from sepnet.exporters.onnx import export as export_module
from sepnet.exporters.onnx.export import Onnx
from sepnet.exporters.onnx.model import OnnxNetwork, Written
from sepnet.exporters.onnx.pairs import PairedLayer
from sepnet.exporters.onnx.quantized import Scaled
from sepnet.exporters.onnx.saturating_run import SaturatingRun
from sepnet.exporters.onnx.saturation import can_saturate, excess
from sepnet.exporters.onnx.weights import IntegerWeight
from sepnet.graphs.onnx_graph import Node, attribute
from sepnet.runtimes.activation_ranges import activation_ranges
from sepnet.runtimes.probe import Probe
from sepnet.runtimes.session import Session

CONVOLUTIONS: dict[str, dict[str, Any]] = {
    "3x3": {"channels": 8},
    "three channels": {"channels": 3},
    "1x1": {"channels": 8, "kernel": (1, 1)},
    "grouped": {"channels": 12, "filters": 8, "group": 4},
    "odd, dilated": {"channels": 10, "filters": 8, "group": 2, "dilations": (2, 2)},
    "strided, padded": {"channels": 3, "kernel": (5, 5), "strides": (2, 2), "pads": (2, 2, 2, 2)},
    "one side padded": {"channels": 4, "kernel": (1, 3), "pads": (0, 1, 0, 0)},
    "two filters a channel": {"channels": 4, "filters": 8, "group": 4, "pads": (1, 1, 1, 1)},
    "depthwise": {"channels": 8, "filters": 8, "group": 8},
    "same padding": {"channels": 4, "strides": (2, 2), "auto_pad": "SAME_UPPER"},
}


def of_one_sign(shape: tuple[int, ...]) -> np.ndarray:
    """Weights of which each filter's have one sign: the worst for sums of two."""
    random = np.random.default_rng(0)
    signs = random.choice([-1, 1], (shape[0], *[1] * (len(shape) - 1)))
    return (np.abs(random.standard_normal(shape)) * signs).astype(np.float32)


def saved(
    nodes: list[onnx.NodeProto],
    arrays: dict[str, np.ndarray],
    shape: tuple[Any, ...],
    gives: tuple[Any, ...],
    path: Path,
) -> Path:
    given = [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ("n", *shape))]
    given_back = [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ("n", *gives))]
    held = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", given, given_back, held)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return path


def convolution(
    path: Path, channels: int, filters: int = 6, kernel: tuple[int, int] = (3, 3), group: int = 1, **attributes: Any
) -> PackedModel:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], group=group, **attributes),
        helper.make_node("Relu", ["c"], ["y"]),
    ]
    arrays = {"w": of_one_sign((filters, channels // group, *kernel))}
    return sepnet.pack(saved(nodes, arrays, (channels, 9, 9), (filters, "h", "w"), path))


def classifier(path: Path) -> PackedModel:
    """A convolution and a fully connected layer that saturate, and between them one of few large weights that cannot."""
    random = np.random.default_rng(0)
    few = np.where(np.arange(9) == 4, 1, 0.005).reshape(3, 3) * random.choice([-1, 1], (8, 8, 1, 1))
    arrays = {
        "w": of_one_sign((8, 1, 3, 3)),
        "v": (few * (np.arange(8) % 2).reshape(8, 1, 1)).astype(np.float32),
        "u": of_one_sign((2, 8)),
        "b": random.standard_normal(2).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["c"]),
        helper.make_node("Conv", ["c", "v"], ["d"]),
        helper.make_node("Relu", ["d"], ["e"]),
        helper.make_node("GlobalAveragePool", ["e"], ["f"]),
        helper.make_node("Flatten", ["f"], ["g"]),
        helper.make_node("Gemm", ["g", "u", "b"], ["y"], transB=1),
    ]
    return sepnet.pack(saved(nodes, arrays, (1, 9, 9), (2,), path))


def noise_images() -> Dataset:
    random = np.random.default_rng(0)
    split = Split(random.integers(0, 256, (40, 1, 9, 9)).astype(np.uint8), np.arange(40) % 2)
    return Dataset("noise", ("a", "b"), split, split, (0.0,), (1.0,))


def first_of(run: SaturatingRun, batch: np.ndarray) -> np.ndarray:
    return next(iter(run.run({run.graph.inputs[0]: batch}).values()))


def written(model: PackedModel, batch: np.ndarray) -> tuple[OnnxNetwork, Written, dict[str, Any]]:
    network, ranges = OnnxNetwork.of(model, 18), activation_ranges(model, [batch])
    return network, network.written(False, ranges), ranges


def plainly(layer: PairedLayer, codes: np.ndarray) -> np.ndarray:
    """Loops over what `excess` computes of a convolution."""
    node, weights = layer.node, layer.integer.codes.astype(int)
    filters, channels, height, width = weights.shape
    (up, left, down, right), steps = node.integers("pads") or (0, 0, 0, 0), node.integers("strides") or (1, 1)
    if node.text("auto_pad", "") == "SAME_UPPER":  # of 9 numbers, stride 2, kernel 3: one on either side
        up = left = down = right = 1
    holes, each = node.integers("dilations") or (1, 1), filters // node.integer("group", 1)
    padded = np.pad(codes, ((0, 0), (0, 0), (up, down), (left, right)), constant_values=layer.scaled.zero).astype(int)
    rows = (padded.shape[2] - holes[0] * (height - 1) - 1) // steps[0] + 1
    columns = (padded.shape[3] - holes[1] * (width - 1) - 1) // steps[1] + 1
    found = np.zeros((len(codes), filters, rows, columns), int)
    for n, f, row, column in np.ndindex(*found.shape):
        first = f // each * channels
        products = [
            weights[f, c, i, j] * padded[n, first + c, row * steps[0] + i * holes[0], column * steps[1] + j * holes[1]]
            for i, j, c in np.ndindex(height, width, channels)
        ]
        sums = [sum(products[at : at + 2]) for at in range(0, len(products), 2)]
        found[n, f, row, column] = sum(each - min(max(each, -(2**15)), 2**15 - 1) for each in sums)
    return found


@pytest.mark.parametrize("name", [name for name in CONVOLUTIONS if name != "depthwise"])
def test_what_is_lost_is_what_loops_find(name: str, tmp_path: Path) -> None:
    model = convolution(tmp_path / "net.onnx", **CONVOLUTIONS[name])
    batch = np.random.default_rng(1).uniform(-1, 4, (1, CONVOLUTIONS[name]["channels"], 9, 9)).astype(np.float32)
    (layer,) = written(model, batch)[1].layers
    codes = np.random.default_rng(2).integers(0, 256, batch.shape).astype(np.uint8)
    found = excess(layer, codes)
    np.testing.assert_array_equal(found, plainly(layer, codes))
    assert can_saturate(layer) and found.any()


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_uint8_and_int7_weights_on_this_processor(name: str, tmp_path: Path) -> None:
    model = convolution(tmp_path / "net.onnx", **CONVOLUTIONS[name])
    batch = np.random.default_rng(1).uniform(-1, 4, (2, CONVOLUTIONS[name]["channels"], 9, 9)).astype(np.float32)
    network, plain, ranges = written(model, batch)
    exact = Probe(network.encode(False, ranges)[0], optimized=False).run(batch)[0]
    step = np.diff(np.unique(exact)).min()
    for kind in ("uint8", "int7"):
        kinds = {layer.weight: kind for layer in plain.layers}
        data = network.encode(False, ranges, kinds)[0]  # type: ignore[arg-type]
        small = network.encode(True, ranges, kinds)[0]  # type: ignore[arg-type]
        found = Probe(data).run(batch)[0]
        np.testing.assert_array_equal(found, Probe(small).run(batch)[0])
        expected = Probe(data, optimized=False).run(batch)[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1.01 * step)
        assert np.mean(found != expected) < 0.01
        if kind == "uint8":
            np.testing.assert_array_equal(expected, exact)


@pytest.mark.skipif(
    not Path("/proc/cpuinfo").exists()
    or "avx2" not in Path("/proc/cpuinfo").read_text()
    or "vnni" in Path("/proc/cpuinfo").read_text()
    or "amx_int8" in Path("/proc/cpuinfo").read_text(),
    reason="this processor has VNNI, or is no x86 one: its kernels do not saturate",
)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_the_simulation_is_what_such_a_processor_computes(name: str, tmp_path: Path) -> None:
    model = convolution(tmp_path / "net.onnx", **CONVOLUTIONS[name])
    batch = np.random.default_rng(1).uniform(-1, 4, (2, CONVOLUTIONS[name]["channels"], 9, 9)).astype(np.float32)
    _, plain, _ = written(model, batch)
    found = Probe(plain.graph.encode()).run(batch)[0]
    simulated = first_of(SaturatingRun(plain.graph, plain.layers), batch)
    assert np.mean(found != simulated) < 0.01  # numbers in the middle between two steps
    assert can_saturate(plain.layers[0]) == (name != "depthwise")


def test_parts_of_a_network_pass_on_what_later_ones_read(tmp_path: Path) -> None:
    model = classifier(tmp_path / "net.onnx")
    batch = np.random.default_rng(1).uniform(0, 1, (4, 1, 9, 9)).astype(np.float32)
    _, plain, _ = written(model, batch)
    exact = Probe(plain.graph.encode(), optimized=False).run(batch)[0]
    np.testing.assert_array_equal(first_of(SaturatingRun(plain.graph, ()), batch), exact)
    run = SaturatingRun(plain.graph, plain.layers)
    first = first_of(run, batch)
    np.testing.assert_array_equal(first_of(run, batch), first)
    assert not np.array_equal(first, exact)
    assert set(run.lost) == {"w", "u"} == {layer.weight for layer in plain.layers if can_saturate(layer)}


@given(st.lists(st.integers(-127, 127), min_size=2, max_size=9), st.data())
@settings(max_examples=200, deadline=None)
def test_the_bound_is_the_worst_case(row: list[int], data: st.DataObject) -> None:
    codes = np.array([row], np.int8)
    weight = IntegerWeight(codes, np.float32([1.0]))
    node = Node("Gemm", ("x", "w"), ("y",), (attribute("transB", 1),))
    layer = PairedLayer("w", 0, "", weight, "x", Scaled(np.float32(1), np.uint8(0)), node)
    given_codes = data.draw(st.lists(st.integers(0, 255), min_size=len(row), max_size=len(row)))
    batch = np.array([given_codes], np.uint8)
    products = (codes.astype(int) * batch)[0]
    sums = np.array([products[at : at + 2].sum() for at in range(0, len(row), 2)])
    assert excess(layer, batch).item() == (sums - sums.clip(-(2**15), 2**15 - 1)).sum()
    worst = [excess(layer, np.where(codes * sign > 0, 255, 0).astype(np.uint8)).any() for sign in (1, -1)]
    assert can_saturate(layer) == any(worst)
    if not can_saturate(layer):
        assert not excess(layer, batch).any()


@pytest.mark.parametrize("form", ["int8", "packed"])
def test_auto_keeps_the_accuracy_everywhere(form: str, tmp_path: Path) -> None:
    model, data = classifier(tmp_path / "net.onnx"), noise_images()
    report = Onnx(form).export(model, tmp_path / "out.onnx", Material(Calibrate(data, 20), data))  # type: ignore[arg-type]
    plain, chosen, other = report.weights
    assert (plain.weights, chosen.weights, other.weights) == ("int8", "uint8", "int7")
    assert (plain.exposed, chosen.exposed, plain.count) == (2, 0, 3) and set(chosen.layers) == {"w", "u"}
    assert plain.loses(3) and chosen.floats_db == chosen.saturating_db == plain.floats_db
    assert chosen.bytes == report.bytes and plain.bytes <= report.bytes <= plain.bytes + 400
    assert [row.chosen for row in report.weights] == [False, True, False] and not report.warnings
    hows = {row.part: row.how for row in report.rows}
    assert hows["w"].startswith("uint8") and hows["v"].startswith("int8") and hows["b"] == "int32"
    assert report.check is not None and report.check.difference <= 0.05 * report.check.largest


def test_the_choice_does_not_hang_on_the_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimized sessions use the processor's own kernels: whatever they give, the same file is written."""

    class OtherProbe(Probe):
        def __init__(self, model: Any, *arguments: Any, optimized: bool = True, **options: Any) -> None:
            super().__init__(model, *arguments, optimized=optimized, **options)
            self._sign = -1 if optimized else 1

        def answers(self, feed: Any) -> dict[str, np.ndarray]:
            return {name: self._sign * value for name, value in super().answers(feed).items()}

    class OtherSession(Session):
        def run(self, *given: Any) -> dict[str, Any]:
            return {name: -value for name, value in super().run(*given).items()}

    model, data = classifier(tmp_path / "net.onnx"), noise_images()
    material = Material(Calibrate(data, 20))
    for form in ("int8", "packed"):
        Onnx(form).export(model, tmp_path / "out.onnx", material)  # type: ignore[arg-type]
        before = (tmp_path / "out.onnx").read_bytes()
        with monkeypatch.context() as patch:
            patch.setattr(export_module, "Probe", OtherProbe)
            patch.setattr(export_module, "Session", OtherSession)
            report = Onnx(form).export(model, tmp_path / "out.onnx", material)  # type: ignore[arg-type]
        assert (tmp_path / "out.onnx").read_bytes() == before
        assert report.check is not None and report.check.difference > report.check.largest  # the patch was there


@pytest.mark.parametrize("kind", ["int8", "uint8", "int7"])
def test_the_file_holds_what_was_asked_for(kind: str, tmp_path: Path) -> None:
    model, data = classifier(tmp_path / "net.onnx"), noise_images()
    exporter = Onnx("int8", None, kind)  # type: ignore[arg-type]
    report = exporter.export(model, tmp_path / "out.onnx", Material(Calibrate(data, 20)))
    (row,) = report.weights
    assert (row.weights, row.chosen, row.loses(1)) == (kind, True, kind == "int8")
    assert bool(report.warnings) == (kind == "int8") and set(row.layers) == (set() if kind == "int8" else {"w", "u"})
    found = onnx.load(tmp_path / "out.onnx")
    arrays = {each.name: numpy_helper.to_array(each) for each in found.graph.initializer}
    weights = [
        arrays[node.input[0]]
        for node in found.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in arrays
    ]
    types = {array.shape: array.dtype.name for array in weights if array.ndim > 1}
    assert types == {
        (8, 1, 3, 3): (kind if kind == "uint8" else "int8"),
        (8, 8, 3, 3): "int8",
        (2, 8): types[8, 1, 3, 3],
    }
    most = {
        array.shape: int(np.abs(array.astype(int) - (128 if array.dtype == np.uint8 else 0)).max()) for array in weights
    }
    assert most[8, 1, 3, 3] == (64 if kind == "int7" else 127)


def written_types(path: Path) -> Callable[[str], str]:
    """The type of a value that constants alone give."""
    model = onnx.load(path)
    types = {each.name: helper.tensor_dtype_to_np_dtype(each.data_type).name for each in model.graph.initializer}
    return lambda name: types[name]


def test_the_ledger_names_the_types_in_the_file(tmp_path: Path) -> None:
    """ "float32" never stands beside a tensor that the file holds as integers."""
    for file in ("lenet5-mnist", "resnet20-cifar10-pattern"):
        model = PackedModel.read(f"zoo/{file}.sepnet")
        assert model.header.input is not None
        batch = np.random.default_rng(0).standard_normal((2, *model.header.input.shape)).astype(np.float32)
        network, ranges = OnnxNetwork.of(model, 18), activation_ranges(model, [batch])
        data, rows = network.encode(False, ranges)
        (tmp_path / "out.onnx").write_bytes(data)
        types = written_types(tmp_path / "out.onnx")
        layers = network.written(False, ranges).layers
        hows = {row.part: row.how for row in rows}
        for layer, node in zip(layers, [layer.node for layer in layers], strict=True):
            makers = {output: each for each in onnx.load_from_string(data).graph.node for output in each.output}
            codes = makers[node.inputs[1]].input[0]
            codes = makers[codes].input[0] if codes in makers else codes
            assert hows[layer.weight] == types(codes) == "int8"
            if layer.bias:
                assert hows[layer.bias] == types(makers[node.inputs[2]].input[0]) == "int32"
        assert onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
