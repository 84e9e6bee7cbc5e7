"""Exports calibrated by arrays that somebody has, not by a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sepnet
from sepnet.c99.compilers import find_compiler
from sepnet.core.calibrate import Calibrate
from sepnet.core.errors import DataError
from sepnet.core.examples import ArrayExamples, Feed
from sepnet.datasets.arrays import arrays_of
from sepnet.quantizing.activations import ActivationCalibration
from sepnet.runtimes.session import Session

onnx = pytest.importorskip("onnx")
helper, kinds = onnx.helper, onnx.TensorProto
node = helper.make_node
RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module")
def streaming(tmp_path_factory: pytest.TempPathFactory) -> sepnet.PackedModel:
    """Sound (n, 64), a state (1, n, 24) and a rate; a probability and the next state."""
    path = tmp_path_factory.mktemp("streaming") / "net.onnx"
    nodes = [
        node("MatMul", ["sound", "w"], ["a"]),
        node("Squeeze", ["state", "zero"], ["b"]),
        node("Add", ["a", "b"], ["c"]),
        node("Relu", ["c"], ["d"]),
        node("Unsqueeze", ["d", "zero"], ["next"]),
        node("MatMul", ["d", "v"], ["e"]),
        node("Cast", ["rate"], ["f"], to=kinds.FLOAT),
        node("Div", ["e", "f"], ["p"]),
    ]
    ends = {"sound": ["n", 64], "state": [1, "n", 24], "p": ["n", 1], "next": [1, "n", 24]}
    values = {name: helper.make_tensor_value_info(name, kinds.FLOAT, sides) for name, sides in ends.items()}
    rate = helper.make_tensor_value_info("rate", kinds.INT64, [])
    constants = {"w": normal(64, 24), "v": normal(24, 1), "zero": np.int64([0])}
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    inputs, outputs = [values["sound"], values["state"], rate], [values["p"], values["next"]]
    graph = helper.make_graph(nodes, "g", inputs, outputs, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return sepnet.pack(path, 8)


def decibels(wanted: np.ndarray, found: np.ndarray) -> float:
    return float(10 * np.log10(np.square(wanted).sum() / np.square(found - wanted).sum()))


def feed(count: int) -> dict[str, Any]:
    return {"sound": normal(count, 64), "state": normal(1, count, 24), "rate": np.array(4)}


@pytest.mark.parametrize("count", [1, 40])
def test_several_inputs_and_outputs_in_uint8(streaming: sepnet.PackedModel, tmp_path: Path, count: int) -> None:
    np.savez(tmp_path / "f.npz", **feed(count))
    report = streaming.export(tmp_path / "out.onnx", "onnx", form="int8", calibrate=tmp_path / "f.npz")
    assert {row.how for row in report.rows if row.part in ("w", "v")} <= {"int8", "uint8"}
    given = feed(30)
    wanted, found = streaming.run(given), Session(tmp_path / "out.onnx").run(given)
    for name in ("p", "next"):
        assert decibels(wanted[name], found[name]) > (25 if count > 1 else 5)
    assert report.check is not None and [row.name for row in report.check.outputs] == ["p", "next"]
    same = [remark for remark in report.remarks if "on the same 1 example: f.npz has no more" in remark]
    assert bool(same) == (count == 1)
    assert {row.compared for row in report.methods} == {max(1, count // 2)}
    assert {row.others for row in report.methods} == {count > 1} and not report.warnings


@pytest.mark.parametrize("spoiled", ["p", "next"])
def test_the_noise_is_that_of_the_worst_output(streaming: sepnet.PackedModel, spoiled: str) -> None:
    calibration = ActivationCalibration(streaming, Calibrate(arrays_of(feed(40))))

    def run(given: Feed) -> dict[str, Any]:
        found = streaming.run(given)
        return {**found, spoiled: found[spoiled] * np.float32(1.1)}

    assert calibration.compare("min-max", run).noise == pytest.approx(20, abs=0.01)


def test_an_output_that_is_ruined_is_a_warning(streaming: sepnet.PackedModel, tmp_path: Path) -> None:
    """Ranges of faint sounds clip loud ones; the check looks at the first examples, seed 0 calibrates by others."""
    given = feed(20)
    examples = ArrayExamples(arrays_of(given), streaming.inputs)
    loud = np.setdiff1d(np.arange(8), examples.halves(256, 0)[0])
    given["sound"][loud] *= 300
    report = streaming.export(tmp_path / "out.onnx", "onnx", form="int8", calibrate=given, method="min-max")
    assert report.check is not None and report.check.lowest is not None
    assert f"output {report.check.lowest.name} has {report.check.lowest.snr_db:.1f} dB" in report.warnings[0]
    fine = streaming.export(tmp_path / "out.onnx", "onnx", calibrate=feed(20))
    assert not fine.warnings and fine.check is not None and fine.check.lowest is not None


def test_a_network_without_layers_for_uint8_is_a_warning(tmp_path: Path) -> None:
    ends = [helper.make_tensor_value_info(name, kinds.FLOAT, [5, "n", side]) for name, side in (("x", 4), ("y", 8))]
    nodes = [
        node("GRU", ["x", "w", "r"], ["steps", ""], hidden_size=8),
        node("Squeeze", ["steps", "one"], ["y"]),
    ]
    constants = {"w": normal(1, 24, 4), "r": normal(1, 24, 8), "one": np.int64([1])}
    tensors = [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), tmp_path / "net.onnx"
    )
    packed = sepnet.pack(tmp_path / "net.onnx", 8)
    plain = packed.export(tmp_path / "plain.onnx", "onnx")
    report = packed.export(tmp_path / "out.onnx", "onnx", calibrate=normal(5, 30, 4))
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "plain.onnx").read_bytes()
    assert report.warnings[0].startswith("no layer was found whose activations can be uint8") and not plain.warnings
    assert not any("uint8 activations" in remark for remark in report.remarks)


def test_what_does_not_fit_leaves_nothing(streaming: sepnet.PackedModel, tmp_path: Path) -> None:
    for wrong, words in (
        ({**feed(9), "rate": np.float32(4)}, "input rate: found numbers of type float32; expected int64"),
        ({"sound": normal(9, 64)}, "arrays holds sound; expected an array for each of"),
        ({**feed(9), "state": normal(1, 8, 24)}, "found 9 examples of sound and 8 of state; expected as many of each"),
    ):
        with pytest.raises(DataError, match=words):
            streaming.export(tmp_path / "out.onnx", "onnx", calibrate=wrong)
    with pytest.raises(DataError, match=r"expected a file \.npz with an array for each input"):
        streaming.export(tmp_path / "out.onnx", "onnx", calibrate="digits")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not find_compiler(), reason="needs a C compiler")
def test_c99_by_an_array_and_by_files(tmp_path: Path) -> None:
    model = sepnet.read("zoo/lenet5-mnist.sepnet")
    images = normal(64, 1, 28, 28)
    np.save(tmp_path / "x.npy", images)
    np.savez(tmp_path / "x.npz", input=images)
    wanted = model.runtime("c99", calibrate=images).run(images)
    for given in (tmp_path / "x.npy", str(tmp_path / "x.npz"), {"input": images}):
        np.testing.assert_array_equal(model.runtime("c99", calibrate=given).run(images), wanted)
    report = model.export(tmp_path / "program", "c99", calibrate=tmp_path / "x.npz", method="min-max")
    assert report.methods[0].images == report.methods[0].compared == 32 and report.check is not None
    assert report.check.data == "x.npz" and report.check.difference < 0.1 * report.check.largest
