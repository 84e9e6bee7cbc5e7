"""Outputs of packed networks are judged: ruined ones are refused, what 8 bits spoil is kept, what cannot be told about passes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sepnet.core.errors import RuinedError
from sepnet.core.pack_options import PackOptions
from sepnet.core.packed_model import PackedModel
from sepnet.packing.listening import integers_of, listens
from sepnet.packing.onnx_source import read_onnx
from sepnet.packing.restore import coded_tensors, onnx_model
from sepnet.runtimes.random_inputs import KINDS
from sepnet.runtimes.session import Session
from sepnet.steps.pack import pack_onnx

onnx = pytest.importorskip("onnx")
helper, kinds = onnx.helper, onnx.TensorProto
node = helper.make_node


def save(path: Path, nodes: list[Any], ends: tuple[dict[str, Any], dict[str, Any]], arrays: dict[str, Any]) -> Path:
    """Write a graph of these nodes; ends are pairs of a type and a shape by name."""
    values = [[helper.make_tensor_value_info(name, *end) for name, end in side.items()] for side in ends]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", *values, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


FLOATS = {"x": (kinds.FLOAT, ["n", 16])}, {"y": (kinds.FLOAT, ["n", 2])}


def regressor(folder: Path) -> Path:
    """Two numbers of sixteen."""
    nodes = [node("MatMul", ["x", "a"], ["h"]), node("Tanh", ["h"], ["t"]), node("MatMul", ["t", "b"], ["y"])]
    return save(folder / "n.onnx", nodes, FLOATS, {"a": normal(16, 32), "b": normal(32, 2)})


def test_a_ruined_regressor_is_refused(tmp_path: Path) -> None:
    path = regressor(tmp_path)
    assert pack_onnx(path, PackOptions(8)).outputs[0].snr_db > 30  # type: ignore[operator]
    with pytest.raises(
        RuinedError, match=r"output y is ruined: \d+\.\d dB .* expected 15 or more; try --bits 8, --calibrate"
    ):
        pack_onnx(path, PackOptions(2))
    ruined = pack_onnx(path, PackOptions(2, allow_bad=True))
    assert ruined.outputs[0].snr_db < 15  # type: ignore[operator]


def test_a_low_output_is_a_line_that_names_the_layer(tmp_path: Path) -> None:
    done = pack_onnx(regressor(tmp_path), PackOptions(3, allow_bad=True))
    assert "output y is at " in done.advice and done.advice.endswith(" would help most")
    assert "--keep a " in done.advice or "--keep b " in done.advice
    assert not done.spoiled and not pack_onnx(regressor(tmp_path), PackOptions(8)).advice


@pytest.mark.parametrize("end", ["constant", "saturated", "whole", "mask"])
def test_an_output_that_noise_says_nothing_of_is_not_ruined(tmp_path: Path, end: str) -> None:
    """A sigmoid far from its slope, a product with zero, the largest of noise, a comparison of noise with noise."""
    made = {
        "constant": [node("Mul", ["h", "zero"], ["y"])],
        "saturated": [node("Add", ["h", "far"], ["f"]), node("Sigmoid", ["f"], ["y"])],
        "whole": [node("ArgMax", ["h"], ["y"], axis=1)],
        "mask": [node("Greater", ["h", "zero"], ["y"])],
    }[end]
    kind = {"whole": kinds.INT64, "mask": kinds.BOOL}.get(end, kinds.FLOAT)
    arrays = {"w": normal(16, 2), "zero": np.zeros(1, np.float32), "far": np.full(1, -1e4, np.float32)}
    ends = {"x": (kinds.FLOAT, ["n", 16])}, {"y": (kind, None)}
    path = save(tmp_path / "n.onnx", [node("MatMul", ["x", "w"], ["h"]), *made], ends, arrays)
    assert pack_onnx(path, PackOptions(2)).packed.bytes


def test_an_output_that_only_some_inputs_move_is_judged_by_them(tmp_path: Path) -> None:
    """Of noise around 0 it makes small numbers, which 2 bits spoil; pixels are what it is for."""
    nodes = [
        *(node("MatMul", ["x", "w"], ["h"]), node("Mul", ["h", "small"], ["a"])),
        *(node("Sub", ["x", "far"], ["s"]), node("Relu", ["s"], ["t"]), node("MatMul", ["t", "v"], ["b"])),
        node("Add", ["a", "b"], ["y"]),
    ]
    constants = {"small": np.full(1, 1e-3, np.float32), "far": np.full(1, 50, np.float32)}
    weights = {"w": normal(16, 2), "v": np.sign(normal(16, 2))}
    done = pack_onnx(save(tmp_path / "n.onnx", nodes, FLOATS, weights | constants), PackOptions(2))
    assert done.outputs[0].snr_db < 15 and not done.advice  # type: ignore[operator]


def listener(folder: Path, spoiled: bool = True) -> Path:
    """The logarithm of the power of a sound at 24 high frequencies, where it has least, and a layer behind it."""
    time = np.arange(256) - 127.5
    frequencies = np.linspace(0.3, 0.48, 24)[:, None] if spoiled else np.linspace(0.01, 0.1, 24)[:, None]
    window = np.hanning(256) ** 2
    bank = [np.cos(2 * np.pi * frequencies * time) * window, np.sin(2 * np.pi * frequencies * time) * window]
    nodes = [
        *(node("Unsqueeze", ["x", "one"], ["u"]), node("Conv", ["u", "bank"], ["c"], strides=[128])),
        *(node("Mul", ["c", "c"], ["s"]), node("Split", ["s"], ["p", "q"], axis=1), node("Add", ["p", "q"], ["e"])),
        *(node("Add", ["e", "least"], ["l"]), node("Log", ["l"], ["g"]), node("Conv", ["g", "w"], ["y"])),
    ]
    if not spoiled:
        nodes[2:7] = [node("Split", ["c"], ["g", "q"], axis=1)]
    arrays = {
        "bank": np.concatenate(bank)[:, None].astype(np.float32),
        "least": np.full(1, 1e-9, np.float32),
        "one": np.int64([1]),
        "w": normal(512, 24, 1),
    }
    ends = {"x": (kinds.FLOAT, ["n", 2048])}, {"y": (kinds.FLOAT, ["n", 512, 15])}
    return save(folder / "n.onnx", nodes, ends, arrays)


def test_a_filter_bank_that_8_bits_spoil_is_kept(tmp_path: Path) -> None:
    path = listener(tmp_path)
    done = pack_onnx(path)
    assert [kept.name for kept in done.spoiled] == ["bank"]
    assert done.spoiled[0].output == "y" and done.spoiled[0].snr_db < 20
    assert {tensor.name: tensor.bits for tensor in coded_tensors(done.packed)} == {"bank": 16, "w": 8}
    sound = KINDS["smooth noise"]((4, 2048), np.random.default_rng(3)).astype(np.float32)
    wanted = Session(path).run({"x": sound})["y"]

    def near(packed: PackedModel) -> float:
        lost = Session(onnx_model(packed)).run({"x": sound})["y"] - wanted
        return float(10 * np.log10(wanted.var() / np.mean(np.square(lost))))

    eight = pack_onnx(path, PackOptions(8, layer_bits={"bank": 8}, allow_bad=True))
    assert not eight.spoiled and near(done.packed) > 25 > 20 > near(eight.packed)


def test_nothing_is_kept_without_need(tmp_path: Path) -> None:
    assert not pack_onnx(listener(tmp_path, spoiled=False)).spoiled
    assert not pack_onnx(regressor(tmp_path)).spoiled


def test_below_8_bits_layers_are_named_and_not_kept(tmp_path: Path) -> None:
    done = pack_onnx(listener(tmp_path), PackOptions(7, allow_bad=True))
    assert not done.spoiled and "--keep bank would help most" in done.advice
    with pytest.raises(RuinedError, match="--keep bank"):
        pack_onnx(listener(tmp_path), PackOptions(layer_bits={"bank": 2}))


def test_what_a_graph_looks_for(tmp_path: Path) -> None:
    source = read_onnx(listener(tmp_path))
    shapes = {name: array.shape for name, array in source.state.items()}
    assert listens(source.graph.data, shapes)
    assert not listens(source.graph.data, {**shapes, "bank": (48, 2, 256)})
    assert not listens(source.graph.data, {**shapes, "bank": (48, 1, 8)})
    assert not listens(source.graph.data, {**shapes, "bank": (48, 1, 16, 16)})


def test_the_comparison_takes_the_branch_that_the_graph_looks_for(tmp_path: Path) -> None:
    """A sample rate that a graph knows, and a state whose examples lie along its second side."""
    branches = []
    for name, by in (("known", "w"), ("other", "v")):
        inner = [node("MatMul", ["x", by], ["z"])]
        ends = [helper.make_tensor_value_info("z", kinds.FLOAT, [None, 3])]
        branches.append(helper.make_graph(inner, name, [], ends))
    nodes = [
        node("Equal", ["rate", "known"], ["is"]),
        node("If", ["is"], ["m"], then_branch=branches[0], else_branch=branches[1]),
        *(node("Squeeze", ["state", "zero"], ["s"]), node("Add", ["m", "s"], ["y"])),
    ]
    arrays = {"w": normal(8, 3), "v": normal(8, 3)[::-1].copy(), "known": np.array(16_000), "zero": np.int64([0])}
    inputs = {"x": (kinds.FLOAT, [None, 8]), "state": (kinds.FLOAT, [1, None, 3]), "rate": (kinds.INT64, [])}
    path = save(tmp_path / "n.onnx", nodes, (inputs, {"y": (kinds.FLOAT, [None, 3])}), arrays)
    assert integers_of(read_onnx(path).graph.data) == {"rate": [16_000]}
    done = pack_onnx(path)
    assert done.checked == 8 and not done.reason
    with pytest.raises(RuinedError):
        pack_onnx(path, PackOptions(8, layer_bits={"w": 2}))


def test_what_each_layer_does_alone(tmp_path: Path) -> None:
    """A layer of few bits shows in its own row; the sum of the noise is about that of all."""
    path = regressor(tmp_path)
    options = PackOptions(8, layer_bits={"a": 4}, effects=True)
    rows = {row.name: row for row in pack_onnx(path, options).rows}
    assert rows["a"].alone.keys() == {"y"} and 10 < rows["a"].alone_db < rows["b"].alone_db - 15 < 45
    assert not any(row.alone for row in pack_onnx(path, PackOptions(effects=False)).rows)
    assert rows["b"].alone_db == pytest.approx(
        next(row.alone_db for row in pack_onnx(path, PackOptions(effects=True)).rows if row.name == "b")
    )


def test_effects_are_measured_unasked_only_where_that_is_quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = regressor(tmp_path)
    assert all(row.alone for row in pack_onnx(path).rows)
    monkeypatch.setattr("sepnet.steps.pack.PATIENCE", 0.0)
    assert not any(row.alone for row in pack_onnx(path).rows)
    assert all(row.alone for row in pack_onnx(path, PackOptions(effects=True)).rows)
    monkeypatch.setattr("sepnet.steps.pack.EFFECT_SECONDS", 0.0)
    assert [bool(row.alone) for row in pack_onnx(path, PackOptions(effects=True)).rows].count(True) <= 1
