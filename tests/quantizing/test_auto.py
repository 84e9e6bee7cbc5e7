"""Bits chosen by what the outputs lose: classifiers, regressors, decisions, several inputs and outputs, few examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sepnet
from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import NetworkError, SepnetError, UsageError
from sepnet.core.output_row import output_row
from sepnet.core.pack_options import PackOptions
from sepnet.core.pack_report import PackReport
from sepnet.quantizing import auto
from sepnet.quantizing.search import approach
from sepnet.runtimes.session import Session

onnx = pytest.importorskip("onnx")
helper, FLOAT, INT64 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
node = helper.make_node
Shapes = Mapping[str, Sequence[Any]]


def save(folder: Path, nodes: Sequence[Any], inputs: Shapes, outputs: Shapes, weights: Mapping[str, Any]) -> Path:
    """A network; weights by shape (normal, over the root of a filter's numbers) or value; integers where a name ends in ids."""
    random = np.random.default_rng(0)
    arrays = {
        name: np.float32(random.standard_normal(value) / np.sqrt(np.prod(value[1:])))
        if isinstance(value, tuple)
        else value
        for name, value in weights.items()
    }
    ends = [
        [
            helper.make_tensor_value_info(name, INT64 if name.endswith("ids") else FLOAT, shape)
            for name, shape in side.items()
        ]
        for side in (inputs, outputs)
    ]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", *ends, tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), folder / "net.onnx")
    return folder / "net.onnx"


def dense(folder: Path, last: Sequence[Any] = (), outputs: int = 2) -> Path:
    """Two fully connected layers; `last` are nodes from c to y."""
    nodes = [node("Gemm", ["x", "w"], ["a"], transB=1), node("Relu", ["a"], ["b"])]
    nodes += [node("Gemm", ["b", "v", "bias"], ["c" if last else "y"], transB=1), *last]
    return save(
        folder, nodes, {"x": ["n", 20]}, {"y": ["n", outputs]}, {"w": (30, 20), "v": (outputs, 30), "bias": (outputs,)}
    )


def numbers(count: int, sides: int = 20) -> Any:
    mixed = np.random.default_rng(1).standard_normal((sides, sides))
    return np.float32(np.random.default_rng(2).standard_normal((count, sides)) @ mixed / np.sqrt(sides))


def auto_report(path: Path, given: Any, **options: Any) -> PackReport:
    from sepnet.api import pack_report

    asked = PackOptions("auto", calibrated=True, allow_bad=True, **options)
    return pack_report(path, asked, given, images=100, seed=0, data_dir=None, progress=lambda _: None)


def snr(path: Path, model: Any, feed: Mapping[str, Any]) -> dict[str, float]:
    """Of each output on these inputs."""
    found = model.run(feed if len(feed) > 1 else next(iter(feed.values())))
    wanted = Session(path).run(feed)
    found = found if isinstance(found, dict) else dict.fromkeys(wanted, found)
    return {name: output_row(name, exact, found[name]).snr_db or 99.0 for name, exact in wanted.items()}


def test_two_coordinates_are_no_classes(tmp_path: Path) -> None:
    path = dense(tmp_path)
    model = sepnet.pack(path, "auto", numbers(200))
    assert min(snr(path, model, {"x": numbers(400)}).values()) > 29
    assert model.bytes < sepnet.pack(path, 8).bytes and model.header.made["min_snr"] == 30
    closer = sepnet.pack(path, "auto", numbers(200), min_snr=45)
    assert min(snr(path, closer, {"x": numbers(400)}).values()) > 44 and closer.bytes > model.bytes


def test_decisions_stay_where_the_network_is_less_sure(tmp_path: Path) -> None:
    path = dense(tmp_path, [node("Mul", ["c", "ten"], ["d"]), node("Sigmoid", ["d"], ["y"])], outputs=1)
    proto = onnx.load(path)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.float32([20.0]), "ten"))
    onnx.save(proto, path)
    sure = numbers(2000)
    wanted = Session(path).run({"x": sure})["y"][:, 0]
    sure, others = sure[np.abs(wanted - 0.5) > 0.499][:200], sure[np.abs(wanted - 0.5) < 0.4]
    model = sepnet.pack(path, "auto", sure)
    assert np.abs(model.run(others) - Session(path).run({"x": others})["y"]).max() < 0.1


def test_what_says_that_outputs_are_classes(tmp_path: Path) -> None:
    given = numbers(200)
    plain = dense(tmp_path, outputs=10)
    assert auto_report(plain, given).agreement is None
    said = auto_report(plain, given, task="classify")
    assert said.agreement is not None and said.agreement.divergence <= 0.005
    assert said.packed.header.made["max_divergence"] == 0.005
    with pytest.raises(
        NetworkError, match=r"nothing says that y of shape .* is; expected a smallest signal to noise, or the task"
    ):
        auto_report(plain, given, max_divergence=0.1)
    (tmp_path / "soft").mkdir()
    soft = dense(tmp_path / "soft", [node("Softmax", ["c"], ["y"])], outputs=10)
    shown = auto_report(soft, given, max_divergence=0.01)
    assert shown.agreement is not None and 0.003 < shown.agreement.divergence <= 0.01
    both = auto_report(soft, given)
    assert both.measured is not None and min(row.snr_db or 0.0 for row in both.measured.rows) >= 30
    (tmp_path / "one").mkdir()
    one = dense(tmp_path / "one", outputs=1)
    with pytest.raises(NetworkError, match=r"found outputs y of shape \[.*, 1\]; expected one output"):
        auto_report(one, given, task="classify")


def test_labels_of_as_many_classes_as_outputs_say_it(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (300, 1, 4, 5), np.uint8)
    split = Split(images, np.zeros(300, np.int64))
    nodes = [node("Flatten", ["x"], ["f"]), node("Gemm", ["f", "w"], ["y"], transB=1)]
    path = save(tmp_path, nodes, {"x": ["n", 1, 4, 5]}, {"y": ["n", 3]}, {"w": (3, 20)})
    three = Dataset("images", tuple("abc"), split, split, (0.5,), (0.25,))
    four = Dataset("images", tuple("abcd"), split, split, (0.5,), (0.25,))
    assert auto_report(path, three).agreement is not None and auto_report(path, four).agreement is None


def many(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Tokens, a table, a scalar and a state go in; a map, a number and the state come out.  The LSTM cannot be watched."""
    nodes = [
        node("Gather", ["table", "ids"], ["e"]),
        node("Mul", ["e", "gain"], ["g"]),
        node("Transpose", ["g"], ["t"], perm=[1, 0, 2]),
        node("LSTM", ["t", "w", "r", "", "", "state"], ["l", "next"], hidden_size=12),
        node("Squeeze", ["l", "one"], ["q"]),
        node("MatMul", ["q", "v"], ["map"]),
        node("ReduceMean", ["map"], ["number"], axes=[0, 2], keepdims=0),
    ]
    inputs = {"ids": ["n", 5], "gain": [], "state": [1, "n", 12]}
    outputs = {"map": [5, "n", 7], "number": ["n"], "next": [1, "n", 12]}
    table = np.float32(np.random.default_rng(3).standard_normal((40, 16)))
    weights = {"table": table, "w": (1, 48, 16), "r": (1, 48, 12), "v": (12, 7), "one": np.array([1])}
    path = save(folder, nodes, inputs, outputs, weights)
    random = np.random.default_rng(4)
    state = np.float32(random.standard_normal((1, 60, 12)) / 4)
    return path, {"ids": random.integers(0, 40, (60, 5)), "gain": np.asarray(1.5, np.float32), "state": state}


def test_any_inputs_and_outputs(tmp_path: Path) -> None:
    path, feed = many(tmp_path)
    model = sepnet.pack(path, "auto", feed)
    assert min(snr(path, model, feed).values()) > 29
    assert model.bytes < sepnet.pack(path, 8).bytes
    bits = {entry.name: 8 * entry.bytes[1] / np.prod(entry.shape) for entry in model.header.tensors}
    assert bits["table"] < 7.5 and bits["w"] < 7.5
    four = sepnet.pack(path, 4, feed)
    assert four.bytes < model.bytes and min(snr(path, four, feed).values()) < 25


def test_one_example_is_quantized_by_and_measured_on(tmp_path: Path) -> None:
    path, feed = many(tmp_path)
    one = {"ids": feed["ids"][:1], "gain": feed["gain"], "state": feed["state"][:, :1]}
    report = auto_report(path, one)
    assert report.measured is not None and report.measured.examples == 1 and report.measured.quantized_by
    assert len(report.measured.rows) == 3 and min(row.snr_db or 99.0 for row in report.measured.rows) >= 30


def test_auto_is_never_larger_than_fixed_bits_that_lose_as_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, given = dense(tmp_path), numbers(200)
    best = auto_report(path, given).packed.bytes
    monkeypatch.setattr(auto, "approach", lambda *_, **__: None)
    fixed = auto_report(path, given)
    assert fixed.measured is not None and min(row.snr_db or 0.0 for row in fixed.measured.rows) >= 30
    assert best <= fixed.packed.bytes < sepnet.pack(path, 8, given).bytes
    within = auto_report(path, given, target_bytes=fixed.packed.bytes + 20)
    assert within.packed.bytes <= fixed.packed.bytes + 20


def test_weights_that_were_quantized_before_keep_their_codes(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    codes = random.integers(-127, 128, (30, 20)) * (random.random((30, 20)) < 0.1)
    codes[:, 0] = 127
    steps = np.float32(np.float16(np.geomspace(0.001, 0.1, 30)))
    nodes = [node("Gemm", ["x", "w"], ["y"], transB=1)]
    weight = np.float32(codes * steps[:, None])
    path = save(tmp_path, nodes, {"x": ["n", 20]}, {"y": ["n", 30]}, {"w": weight})
    model = sepnet.pack(path, "auto", numbers(200), min_snr=60)
    assert np.abs(model.state_dict()["w"] - weight).max() < 1e-3 * steps.max()
    assert model.bytes < sepnet.pack(path, 8, numbers(200)).bytes + 20  # of the header, which names the budget


def test_layers_that_were_all_chosen_leave_nothing_to_search(tmp_path: Path) -> None:
    report = auto_report(dense(tmp_path), numbers(200), keep=("w",), layer_bits={"v": 6})
    assert {entry.name: entry.bits for entry in report.packed.header.tensors}["v"] <= 6


def test_what_cannot_be_reached_is_said_with_what_was_and_what_costs_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = dense(tmp_path)
    with pytest.raises(
        SepnetError, match=r"with 100 dB .*: the best have \d\d\.\d dB in y, and the codes of [wv] cost"
    ):
        auto_report(path, numbers(200), min_snr=100)
    with pytest.raises(SepnetError, match="found no codes that fit 30 bytes"):
        auto_report(path, numbers(200), target_bytes=30)
    for wrong, message in (
        ({"min_snr": 0.0}, "above 0"),
        ({"min_snr": 30.0, "target_bytes": 9}, "expected one of them"),
    ):
        with pytest.raises(UsageError, match=message):
            auto_report(path, numbers(200), **wrong)
    with pytest.raises(UsageError, match="task 'detect': expected classify"):
        auto_report(path, numbers(200), task="detect")


def test_the_search_stays_between_what_fits_and_what_does_not() -> None:
    settings: list[float] = []

    def jumps(setting: float) -> tuple[float, None]:
        """Far too much above 2, far too little below, and again far too much below 0.1."""
        settings.append(setting)
        return (1e-6 if 0.1 < setting < 2.0 else 50.0), None

    found = approach(jumps, 1.0, 8.0, 1.0, tries=12)
    assert found is not None and 1.6 < found[0] < 2.0
    assert all(0.1 < setting < 8.0 for setting in settings[1:])


def test_the_search_goes_further_where_numbers_hardly_change() -> None:
    tried = []

    def flat(setting: float) -> tuple[float, None]:
        tried.append(setting)
        return 100 * setting**-0.05, None

    found = approach(flat, 120.0, 1.0, -0.35, near=0.99)
    assert found is not None and found[1] > 0.97 * 120 and len(tried) <= 6
