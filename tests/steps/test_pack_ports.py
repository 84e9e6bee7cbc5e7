"""Networks of any inputs and outputs, the whole way: pack, file, run, export."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sepnet
from sepnet.core.errors import DataError, UsageError
from sepnet.core.exporter import Material
from sepnet.core.pack_options import PackOptions
from sepnet.core.packed_model import PackedModel
from sepnet.core.ports import Port, fitted
from sepnet.exporters.executorch import ExecuTorch
from sepnet.exporters.onnx.export import Onnx
from sepnet.exporters.tflite import Tflite
from sepnet.runtimes.session import Session
from sepnet.steps.pack import pack_onnx

onnx = pytest.importorskip("onnx")
helper, kinds = onnx.helper, onnx.TensorProto
node = helper.make_node
RANDOM = np.random.default_rng(0)
Ends = dict[str, tuple[int, Any]]


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def save(path: Path, nodes: list[Any], inputs: Ends, outputs: Ends, constants: dict[str, Any], **options: int) -> Path:
    """Write a graph; constants are arrays, or ready tensors."""
    ends = [[helper.make_tensor_value_info(name, *end) for name, end in side.items()] for side in (inputs, outputs)]
    tensors = [
        onnx.numpy_helper.from_array(value, name) if isinstance(value, np.ndarray) else value
        for name, value in constants.items()
    ]
    listed = [helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in tensors if options.get("ir", 8) < 4]
    graph = helper.make_graph(nodes, "g", ends[0] + listed, ends[1], tensors)
    opset = helper.make_opsetid("", options.get("opset", 17))
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=options.get("ir", 8)), path)
    return path


def translator(folder: Path) -> Path:
    """Tokens, a mask, a state, a float64 factor without sides; a float and a whole output."""
    nodes = [
        node("Gather", ["table", "prefix:0"], ["a"]),
        node("Cast", ["mask"], ["b"], to=kinds.FLOAT),
        node("Unsqueeze", ["b", "two"], ["c"]),
        node("Mul", ["a", "c"], ["d"]),
        node("ReduceMean", ["d"], ["e"], axes=[1], keepdims=0),
        node("Add", ["e", "state in"], ["f"]),
        node("MatMul", ["f", "w"], ["g"]),
        node("Cast", ["gain"], ["h"], to=kinds.FLOAT),
        node("Mul", ["g", "h"], ["state out"]),
        node("ArgMax", ["state out"], ["best"], axis=1, keepdims=0),
    ]
    inputs = {
        "prefix:0": (kinds.INT32, ["batch", "tgt_len"]),
        "mask": (kinds.BOOL, ["batch", "tgt_len"]),
        "state in": (kinds.FLOAT, ["batch", 8]),
        "gain": (kinds.DOUBLE, []),
    }
    outputs = {"state out": (kinds.FLOAT, ["batch", 8]), "best": (kinds.INT64, ["batch"])}
    constants = {"table": normal(20, 8), "w": normal(8, 8), "two": np.int64([2])}
    return save(folder / "net.onnx", nodes, inputs, outputs, constants)


FEED = {
    "prefix:0": np.int32([[1, 2, 3], [4, 5, 19]]),
    "mask": np.array([[True, True, False], [True, True, True]]),
    "state in": normal(2, 8),
    "gain": np.array(0.5),
}


def near(found: Any, wanted: np.ndarray) -> bool:
    return bool(found.shape == wanted.shape and np.abs(found - wanted).max() < 0.05 * np.abs(wanted).max())


@pytest.mark.parametrize("form", ["float", "packed"])
def test_inputs_and_outputs_keep_names_types_and_free_sides(tmp_path: Path, form: Any) -> None:
    path = translator(tmp_path)
    wanted = Session(path).run(FEED)
    done = pack_onnx(path, PackOptions(8))
    done.packed.write(tmp_path / "net.sepnet")
    assert (tmp_path / "net.sepnet").read_bytes()[8:10] == b"\1\2"
    model = sepnet.read(tmp_path / "net.sepnet")
    assert model.inputs == (
        Port("prefix:0", ("batch", "tgt_len"), "int32"),
        Port("mask", ("batch", "tgt_len"), "bool"),
        Port("state in", ("batch", 8), "float32"),
        Port("gain", (), "float64"),
    )
    assert model.outputs == (Port("state out", ("batch", 8), "float32"), Port("best", ("batch",), "int64"))
    found = model.run(FEED)
    assert list(found) == ["state out", "best"] and near(found["state out"], wanted["state out"])
    np.testing.assert_array_equal(found["best"], wanted["best"])
    report = Onnx(form=form).export(model, tmp_path / "out.onnx", Material())
    written = Session(tmp_path / "out.onnx")
    assert [port.name for port in written.inputs] == list(FEED)
    assert written.inputs[0].shape == ("batch", "tgt_len") and written.outputs == model.outputs
    assert near(written.run(FEED)["state out"], wanted["state out"])
    assert report.check is not None and [row.name for row in report.check.outputs] == ["state out", "best"]


def test_the_check_looks_at_every_output_on_its_own_scale(tmp_path: Path) -> None:
    done = pack_onnx(translator(tmp_path), PackOptions(8))
    state, best = done.outputs
    assert done.checked == 8 and not done.reason
    assert state.snr_db is not None and state.snr_db > 25 and best.changed is not None
    assert state.difference == done.difference
    rough = pack_onnx(translator(tmp_path), PackOptions(2, allow_bad=True)).outputs[0].snr_db
    assert rough is not None and rough < state.snr_db - 10


def test_what_does_not_run_on_random_inputs_is_a_line(tmp_path: Path) -> None:
    nodes = [node("Gather", ["k", "at"], ["n"]), node("MatMul", ["x", "w"], ["a"]), node("Reshape", ["a", "n"], ["y"])]
    inputs = {"x": (kinds.FLOAT, [2, 4]), "at": (kinds.INT64, [2])}
    outputs = {"y": (kinds.FLOAT, ["a", "b"])}
    path = save(tmp_path / "n.onnx", nodes, inputs, outputs, {"w": normal(4, 5), "k": np.int64([2, 5])})
    done = pack_onnx(path)
    assert done.checked == 0 and "does not run on random inputs" in done.reason and not done.outputs
    found = sepnet.pack(path).run({"x": normal(2, 4), "at": np.int64([1, 0])})
    assert found.shape == (5, 2)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"mask": None}, UsageError, "found inputs called prefix:0, state in, gain; expected prefix:0, mask"),
        ({"prefix:0": np.float32([[1]])}, UsageError, "input prefix:0: found numbers of type float32; expected int32"),
        ({"prefix:0": [[1 << 40]]}, DataError, "integers that int32 does not hold"),
        (
            {"state in": np.int64([[1] * 8])},
            UsageError,
            "input state in: found numbers of type int64; expected float32",
        ),
        ({"state in": normal(2, 7)}, DataError, r"shape \[2, 7\] for state in; expected \['batch', 8\]"),
        ({"gain": normal(2)}, DataError, r"shape \[2\] for gain; expected \[\]"),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path: Path, changed: Any, error: type[Exception], words: str) -> None:
    model = sepnet.pack(translator(tmp_path))
    with pytest.raises(error, match=words):
        model.run({name: array for name, array in (FEED | changed).items() if array is not None})


def test_one_array_is_not_enough_for_several_inputs(tmp_path: Path) -> None:
    from sepnet.runtimes.torch import TorchRuntime

    model = sepnet.pack(translator(tmp_path))
    with pytest.raises(UsageError, match="found one array, and the network takes prefix:0"):
        model.run(normal(2, 8))
    with pytest.raises(UsageError, match="torch takes one input of float32, and the network takes prefix:0"):
        TorchRuntime(model)


def test_floats_and_integers_are_cast_where_nothing_is_lost(tmp_path: Path) -> None:
    model = sepnet.pack(translator(tmp_path))
    cast = FEED | {"prefix:0": FEED["prefix:0"].tolist(), "state in": FEED["state in"].astype(np.float64), "gain": 0.5}
    np.testing.assert_array_equal(model.run(cast)["state out"], model.run(FEED)["state out"])
    assert fitted([1.5], [Port("x", (None,), "float16")])["x"].dtype == np.float16


@pytest.mark.parametrize("side", ["?", "-1", "None", -1, 0])
def test_sides_without_a_name_are_free(tmp_path: Path, side: Any) -> None:
    path = save(
        *(tmp_path / "n.onnx", [node("MatMul", ["x", "w"], ["y"])]),
        *({"x": (kinds.FLOAT, [side, 4])}, {"y": (kinds.FLOAT, [side, 3])}, {"w": normal(4, 3)}),
    )
    model = sepnet.pack(path)
    assert model.inputs == (Port("x", (None, 4), "float32"),)
    assert model.run(normal(5, 4)).shape == (5, 3)


def test_a_graph_fixed_to_one_example_runs_several(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Mul", ["a", "by"], ["y"]), node("ReduceSum", ["y"], ["sum"])]
    inputs = {"x": (kinds.FLOAT, [1, 4]), "by": (kinds.FLOAT, [])}
    outputs: Ends = {"y": (kinds.FLOAT, [1, 3]), "sum": (kinds.FLOAT, [1, 1])}
    path = save(tmp_path / "n.onnx", nodes, inputs, outputs, {"w": normal(4, 3)})
    model, x = sepnet.pack(path), normal(5, 4)
    found = model.run({"x": x, "by": np.float32(2)})
    assert found["y"].shape == (5, 3) and found["sum"].shape == (5, 1)
    np.testing.assert_array_equal(found["y"][3:4], model.run({"x": x[3:4], "by": np.float32(2)})["y"])
    with pytest.raises(DataError, match=r"shape \[5, 3\] for x; expected \['n', 4\]"):
        model.run({"x": normal(5, 3), "by": np.float32(2)})


def in_fours(folder: Path) -> tuple[Path, Any]:
    """A classifier of digits fixed to batches of four, also inside, and what it gives for eleven."""
    nodes = [
        node("Conv", ["x", "w1"], ["a"], strides=[2, 2]),
        node("GlobalAveragePool", ["a"], ["b"]),
        node("Reshape", ["b", "shape"], ["c"]),
        node("MatMul", ["c", "w2"], ["y"]),
    ]
    ends: tuple[Ends, Ends] = {"x": (kinds.FLOAT, [4, 1, 28, 28])}, {"y": (kinds.FLOAT, [4, 10])}
    weights = {"w1": normal(8, 1, 3, 3), "w2": normal(8, 10), "shape": np.int64([4, 8])}
    return save(folder / "n.onnx", nodes, *ends, weights), normal(11, 1, 28, 28)


@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_a_graph_fixed_to_four_examples_runs_any_number(tmp_path: Path, runtime: str) -> None:
    path, x = in_fours(tmp_path)
    wanted = np.concatenate(
        [Session(path).run({"x": np.resize(x[at : at + 4], (4, 1, 28, 28))})["y"] for at in (0, 4, 8)]
    )
    engine = sepnet.pack(path).runtime(runtime)
    for count in (1, 4, 8, 11):
        assert near(engine.run(x[:count]), wanted[:count])
    with pytest.raises(DataError, match=r"shape \[0, 1, 28, 28\]"):
        engine.run(x[:0])


def test_outputs_that_are_not_of_as_many_examples(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("ReduceSum", ["a"], ["y"], keepdims=0)]
    ends: tuple[Ends, Ends] = {"x": (kinds.FLOAT, [4, 4])}, {"y": (kinds.FLOAT, [])}
    done = pack_onnx(save(tmp_path / "n.onnx", nodes, *ends, {"w": normal(4, 3)}))
    model = sepnet.pack(tmp_path / "n.onnx")
    assert done.fixed == 0 and done.outputs[0].snr_db is not None and done.outputs[0].snr_db > 20
    report = model.export(tmp_path / "out.onnx", "onnx")
    assert report.check is not None and report.check.examples == 4 and model.run(normal(4, 4)).shape == ()
    with pytest.raises(DataError, match=r"fixed to 4 examples, and its output y of shape \[\] is not of 4"):
        model.run(normal(5, 4))


@pytest.mark.parametrize("exporter", [Tflite, ExecuTorch])
def test_converters_refuse_several_inputs_or_outputs_in_one_line(tmp_path: Path, exporter: Any) -> None:
    model = sepnet.pack(translator(tmp_path))
    words = r"takes networks of one input of float32 and one output, and this one takes prefix:0 .* and gives state out .*; expected --to onnx"
    with pytest.raises(UsageError, match=words):
        exporter().export(model, tmp_path / "out", Material())
    nodes = [node("MatMul", ["x", "w"], ["y"]), node("ArgMax", ["y"], ["best"], axis=1, keepdims=0)]
    ends: tuple[Ends, Ends] = (
        {"x": (kinds.FLOAT, ["n", 4])},
        {"y": (kinds.FLOAT, ["n", 3]), "best": (kinds.INT64, ["n"])},
    )
    model = sepnet.pack(save(tmp_path / "n.onnx", nodes, *ends, {"w": normal(4, 3)}))
    with pytest.raises(UsageError, match="takes networks of one input of float32 and one output"):
        exporter().export(model, tmp_path / "out", Material())
    assert not (tmp_path / "out").exists()


def test_examples_that_cannot_be_put_together_again(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Squeeze", ["a", "k"], ["y"])]
    ends: tuple[Ends, Ends] = {"x": (kinds.FLOAT, [1, 4])}, {"y": (kinds.FLOAT, [3])}
    model = sepnet.pack(save(tmp_path / "n.onnx", nodes, *ends, {"w": normal(4, 3), "k": np.int64([0])}))
    assert model.run(normal(1, 4)).shape == (3,)
    with pytest.raises(DataError, match=r"output y of shape \[3\] is not of one; expected one example at a time"):
        model.run(normal(2, 4))


def test_constants_in_nodes_in_typed_fields_and_listed_as_inputs(tmp_path: Path) -> None:
    w = normal(8, 8)
    nodes = [
        node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(w)),
        node("Constant", [], ["two"], value_float=2.0),
        node("Constant", [], ["shape"], value_ints=[-1, 2, 4]),
        node("MatMul", ["x", "w"], ["a"]),
        node("Mul", ["a", "two"], ["b"]),
        node("Reshape", ["b", "shape"], ["y"]),
    ]
    path = save(tmp_path / "a.onnx", nodes, {"x": (kinds.FLOAT, ["n", 8])}, {"y": (kinds.FLOAT, ["m", 2, 4])}, {})
    done = pack_onnx(path)
    assert [entry.name for entry in done.packed.header.tensors] == ["w"]
    assert done.outputs[0].snr_db is not None and done.outputs[0].snr_db > 30
    typed = {
        "w": helper.make_tensor("w", kinds.FLOAT, (8, 8), w.ravel()),
        "shape": helper.make_tensor("shape", kinds.INT64, (3,), [-1, 2, 4]),
    }
    nodes = [node("MatMul", ["x", "w"], ["b"]), node("Reshape", ["b", "shape"], ["y"])]
    old = save(
        *(tmp_path / "b.onnx", nodes, {"x": (kinds.FLOAT, ["n", 8])}, {"y": (kinds.FLOAT, ["m", 2, 4])}, typed),
        ir=3,
        opset=7,
    )
    model = sepnet.pack(old)
    assert [port.name for port in model.inputs] == ["x"]
    Onnx(form="float").export(model, tmp_path / "out.onnx", Material())
    x = normal(3, 8)
    assert near(Session(tmp_path / "out.onnx").run({"x": x})["y"], (x @ w).reshape(3, 2, 4))


def test_weights_inside_an_if_are_packed(tmp_path: Path) -> None:
    """Both branches call theirs alike, one as an initializer, one as a node."""
    w = [normal(8, 3), normal(8, 3)]
    branches = []
    for at, name in enumerate(("yes", "no")):
        given = [node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(w[1]))] if at else []
        own = [] if at else [onnx.numpy_helper.from_array(w[0], "w")]
        ends = [helper.make_tensor_value_info("z", kinds.FLOAT, ["n", 3])]
        branches.append(helper.make_graph([*given, node("MatMul", ["x", "w"], ["z"])], name, [], ends, own))
    nodes = [node("If", ["which"], ["y"], then_branch=branches[0], else_branch=branches[1])]
    inputs = {"x": (kinds.FLOAT, ["n", 8]), "which": (kinds.BOOL, [])}
    model = sepnet.pack(save(tmp_path / "n.onnx", nodes, inputs, {"y": (kinds.FLOAT, ["n", 3])}, {}))
    assert [entry.values for entry in model.header.tensors] == ["integer", "integer"]
    x = normal(4, 8)
    for at, which in enumerate((True, False)):
        assert near(model.run({"x": x, "which": which}), x @ w[at])


def test_half_precision_stays_at_the_ends(tmp_path: Path) -> None:
    w = normal(8, 3).astype(np.float16)
    ends: tuple[Ends, Ends] = {"x": (kinds.FLOAT16, ["n", 8])}, {"y": (kinds.FLOAT16, ["n", 3])}
    model = sepnet.pack(save(tmp_path / "n.onnx", [node("MatMul", ["x", "w"], ["y"])], *ends, {"w": w}))
    x = normal(4, 8)
    found = model.run(x)
    assert found.dtype == np.float16 and near(found, x @ w.astype(np.float32))


def test_images_calibrate_one_input_of_floats(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"digits holds images; expected a file \.npz with an array for each input"):
        sepnet.pack(translator(tmp_path), 8, "digits")


def test_a_network_of_one_float_input_stays_of_version_1_1(tmp_path: Path) -> None:
    ends: tuple[Ends, Ends] = {"x": (kinds.FLOAT, ["n", 8])}, {"y": (kinds.FLOAT, ["n", 3])}
    path = save(tmp_path / "n.onnx", [node("MatMul", ["x", "w"], ["y"])], *ends, {"w": normal(8, 3)})
    assert pack_onnx(path).packed.to_bytes()[8:10] == b"\1\1"
    stateful = pack_onnx(translator(tmp_path)).packed
    stateful.write(tmp_path / "s.sepnet")
    assert sepnet.pack(tmp_path / "s.sepnet").to_bytes()[8:10] == b"\1\2"
    assert PackedModel.read(tmp_path / "s.sepnet") == stateful
