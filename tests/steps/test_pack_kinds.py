"""Networks as exporters of all kinds write them: packed, run, exported and inspected."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sepnet
from sepnet.core.errors import NetworkError
from sepnet.core.exporter import Material
from sepnet.core.pack_options import PackOptions
from sepnet.core.pack_report import PackReport
from sepnet.exporters.onnx.export import Onnx
from sepnet.packing.onnx_source import read_onnx
from sepnet.packing.restore import coded_tensors
from sepnet.quantizing.layers import find_layers
from sepnet.runtimes.session import Session
from sepnet.steps.inspect_onnx import inspect_onnx
from sepnet.steps.pack import pack_onnx

onnx = pytest.importorskip("onnx")
helper, kinds = onnx.helper, onnx.TensorProto
node = helper.make_node
RANDOM = np.random.default_rng(7)
Feed = dict[str, np.ndarray]
Kind = tuple[list[Any], dict[str, Any], Feed, dict[str, Any]]
"""Nodes, constants, what is fed, and options; the output is y, what is fed has a free first side."""


def normal(*shape: int) -> np.ndarray:
    return (RANDOM.standard_normal(shape) / 2).astype(np.float32)


def tensor(name: str, array: np.ndarray) -> Any:
    """In the field of its type, not in raw bytes."""
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    return helper.make_tensor(name, kind, array.shape, array.ravel().tolist())


def conv_of_typed_fields() -> Kind:
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], pads=[1, 1, 1, 1]),
        node("Clip", ["a"], ["c"], min=-1.0, max=2.0),
        node("Pad", ["c"], ["d"], pads=[0, 0, 1, 1, 0, 0, 1, 1]),
        node("ReduceSum", ["d"], ["e"], axes=[2], keepdims=0),
        node("Unsqueeze", ["e"], ["f"], axes=[0]),
        node("Squeeze", ["f"], ["g"], axes=[0]),
        node("Slice", ["g"], ["h"], starts=[1], ends=[3], axes=[2]),
        node("Reshape", ["h", "shape"], ["y"]),
    ]
    given = {"w": normal(4, 2, 3, 3), "b": normal(4), "shape": np.int64([-1, 8])}
    return (
        nodes,
        {name: tensor(name, each) for name, each in given.items()},
        {"x": normal(5, 2, 6, 6)},
        {"opset": 7, "ir": 3},
    )


def attributes_that_became_inputs() -> Kind:
    constants = {"w": normal(4, 2, 3, 3), "b": normal(4), "low": np.float32(-1), "high": np.float32(2)}
    integers = {"around": [0, 0, 1, 1, 0, 0, 1, 1], "two": [2], "zero": [0], "one": [1], "three": [3], "shape": [-1, 8]}
    constants |= {name: np.int64(each) for name, each in integers.items()}
    nodes = [
        node("Conv", ["x", "w", "b"], ["a"], auto_pad="SAME_UPPER"),
        node("Clip", ["a", "low", "high"], ["c"]),
        node("Pad", ["c", "around"], ["d"]),
        node("ReduceSum", ["d", "two"], ["e"], keepdims=0),
        node("Unsqueeze", ["e", "zero"], ["f"]),
        node("Squeeze", ["f", "zero"], ["g"]),
        node("Slice", ["g", "one", "three", "two"], ["h"]),
        node("Reshape", ["h", "shape"], ["y"]),
    ]
    return nodes, constants, {"x": normal(5, 2, 6, 6)}, {"opset": 21, "ir": 10}


def constants_in_nodes() -> Kind:
    nodes = [
        node("Constant", [], ["w"], value=onnx.numpy_helper.from_array(normal(6, 4))),
        node("Constant", [], ["half"], value_float=0.5),
        node("Constant", [], ["shift"], value_floats=[1.0, -1.0, 0.5, 0.25]),
        node("Constant", [], ["shape"], value_ints=[-1, 2, 2]),
        node("MatMul", ["x", "w"], ["a"]),
        node("Mul", ["a", "half"], ["b"]),
        node("Add", ["b", "shift"], ["c"]),
        node("Reshape", ["c", "shape"], ["y"]),
    ]
    return nodes, {}, {"x": normal(5, 6)}, {}


def quantized(weight: np.ndarray, axis: int | None, kind: type = np.int8) -> dict[str, np.ndarray]:
    """A weight as integers: q, its scale and its zero point, one or one along an axis."""
    off = None if axis is None else tuple(at for at in range(weight.ndim) if at != axis)
    scale = (np.abs(weight).max(axis=off, keepdims=True) / 127).astype(np.float32)
    shift = 128 if kind == np.uint8 else 0
    q = (np.clip(np.rint(weight / scale), -127, 127) + shift).astype(kind)
    shape = () if axis is None else (-1,)
    return {"q": q, "s": scale.reshape(shape), "z": np.full(scale.size, shift, kind).reshape(shape)}


def pairs_around_floats(kind: type = np.int8) -> Kind:
    """QuantizeLinear and DequantizeLinear around values, integers behind DequantizeLinear as weights, a float weight before a pair."""
    constants = {
        "as": np.float32(0.02),
        "az": np.uint8(100),
        "fw": normal(8, 5),
        "fs": np.float32(0.01),
        "fz": np.int8(0),
    }
    constants |= {f"c.{name}": each for name, each in quantized(normal(8, 3, 3, 3), 0, kind).items()}
    constants |= {f"m.{name}": each for name, each in quantized(normal(8, 8), 1, kind).items()}
    constants |= {"b.q": RANDOM.integers(-900, 900, 8).astype(np.int32), "b.s": np.full(8, 1e-3, np.float32)}
    nodes = [
        node("QuantizeLinear", ["x", "as", "az"], ["xq"]),
        node("DequantizeLinear", ["xq", "as", "az"], ["xd"]),
        node("DequantizeLinear", ["c.q", "c.s", "c.z"], ["cw"], axis=0),
        node("DequantizeLinear", ["b.q", "b.s"], ["cb"], axis=0),
        node("Conv", ["xd", "cw", "cb"], ["a"]),
        node("GlobalAveragePool", ["a"], ["p"]),
        node("Flatten", ["p"], ["f"]),
        node("DequantizeLinear", ["m.q", "m.s", "m.z"], ["mw"], axis=1),
        node("MatMul", ["f", "mw"], ["g"]),
        node("QuantizeLinear", ["fw", "fs", "fz"], ["fq"]),
        node("DequantizeLinear", ["fq", "fs", "fz"], ["fd"]),
        node("Gemm", ["g", "fd"], ["y"]),
    ]
    return nodes, constants, {"x": normal(5, 3, 6, 6)}, {}


def pairs_of_uint8() -> Kind:
    return pairs_around_floats(np.uint8)


def half_precision() -> Kind:
    constants = {"w": normal(4, 2, 3, 3), "b": normal(4), "m": normal(16, 6)}
    nodes = [
        node("Cast", ["x"], ["x16"], to=kinds.FLOAT16),
        node("Conv", ["x16", "w", "b"], ["a"]),
        node("Relu", ["a"], ["r"]),
        node("Flatten", ["r"], ["f"]),
        node("MatMul", ["f", "m"], ["g"]),
        node("Cast", ["g"], ["y"], to=kinds.FLOAT),
    ]
    return nodes, {name: each.astype(np.float16) for name, each in constants.items()}, {"x": normal(5, 2, 4, 4)}, {}


def tokens_and_attention() -> Kind:
    """A table, positions, LayerNormalization, attention (whose products of activations have no weights), a layer."""
    constants = {"table": normal(30, 16), "at": normal(1, 6, 16), "n.w": 1 + normal(16), "n.b": normal(16)}
    constants |= {name: normal(16, 16) for name in ("q", "k", "v", "o")} | {
        "scale": np.float32(0.25),
        "shape": np.int64([-1, 96]),
    }
    nodes = [
        node("Gather", ["table", "x"], ["e"]),
        node("Add", ["e", "at"], ["p"]),
        node("LayerNormalization", ["p", "n.w", "n.b"], ["n"]),
        *(node("MatMul", ["n", name], [f"{name}n"]) for name in ("q", "k", "v")),
        node("Transpose", ["kn"], ["kt"], perm=[0, 2, 1]),
        node("MatMul", ["qn", "kt"], ["s"]),
        node("Mul", ["s", "scale"], ["t"]),
        node("Softmax", ["t"], ["u"], axis=-1),
        node("MatMul", ["u", "vn"], ["w"]),
        node("MatMul", ["w", "o"], ["z"]),
        node("Reshape", ["z", "shape"], ["y"]),
    ]
    return nodes, constants, {"x": RANDOM.integers(0, 30, (5, 6))}, {}


def recurrent(op: str, gates: int) -> Kind:
    """Weights in one piece, or cut and put together again as PyTorch's exporter writes them."""
    constants = {
        "w": normal(1, gates * 4, 3),
        "r": normal(gates * 4, 4),
        "b": normal(1, gates * 8),
        "zero": np.int64([0]),
    }
    constants |= {"cut": np.int64([2]), "end": np.int64([999]), "shape": np.int64([6, -1, 4])}
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("Slice", ["r", "zero", "cut", "zero"], ["r1"]),
        node("Slice", ["r", "cut", "end", "zero"], ["r2"]),
        node("Concat", ["r1", "r2"], ["r3"], axis=0),
        node("Unsqueeze", ["r3", "zero"], ["r4"]),
        node(op, ["t", "w", "r4", "b"], ["o"], hidden_size=4),
        node("Reshape", ["o", "shape"], ["u"]),
        node("Transpose", ["u"], ["y"], perm=[1, 0, 2]),
    ]
    return nodes, constants, {"x": normal(5, 6, 3)}, {}


def scan_with_weights() -> Kind:
    """A cell of our own in a Scan; a loop that multiplies three times by one weight that it names, one from outside."""
    ends = [helper.make_tensor_value_info(name, kinds.FLOAT, None) for name in ("h", "i", "h2", "o")]
    own = onnx.numpy_helper.from_array(normal(4, 4), "cell")
    cell = [
        node("MatMul", ["i", "cell"], ["a"]),
        node("Add", ["a", "h"], ["s"]),
        node("Tanh", ["s"], ["h2"]),
        node("Identity", ["h2"], ["o"]),
    ]
    body = helper.make_graph(cell, "cell", ends[:2], ends[2:], [own])
    turn = [
        helper.make_tensor_value_info("n", kinds.INT64, []),
        helper.make_tensor_value_info("go", kinds.BOOL, []),
        helper.make_tensor_value_info("z", kinds.FLOAT, None),
    ]
    given = [
        helper.make_tensor_value_info("go2", kinds.BOOL, []),
        helper.make_tensor_value_info("z2", kinds.FLOAT, None),
    ]
    loop = [node("Identity", ["go"], ["go2"]), node("MatMul", ["z", "outside"], ["z1"]), node("Tanh", ["z1"], ["z2"])]
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        node("Gather", ["t", "first"], ["h0"]),
        node("Scan", ["h0", "t"], ["last", "all"], body=body, num_scan_inputs=1),
        node("Loop", ["three", "", "last"], ["y"], body=helper.make_graph(loop, "turn", turn, given)),
    ]
    return nodes, {"first": np.array(0), "three": np.array(3), "outside": normal(4, 4)}, {"x": normal(5, 6, 4)}, {}


KINDS: dict[str, tuple[Callable[[], Kind], int, dict[str, int], float]] = {
    "opset 7": (conv_of_typed_fields, 1, {}, 35),
    "opset 21": (attributes_that_became_inputs, 1, {}, 35),
    "constants in nodes": (constants_in_nodes, 1, {"fewer than 16 numbers": 1}, 35),
    "pairs": (pairs_around_floats, 3, {"read by Conv, in binary16": 1}, 55),
    "pairs of uint8": (pairs_of_uint8, 3, {"read by Conv, in binary16": 1}, 55),
    "half": (half_precision, 2, {}, 35),
    "tokens": (
        tokens_and_attention,
        5,
        {"read by Add, in binary16": 1, "read by LayerNormalization, in binary16": 2},
        30,
    ),
    "LSTM": (lambda: recurrent("LSTM", 4), 2, {"read by LSTM, in binary16": 1}, 35),
    "GRU": (lambda: recurrent("GRU", 3), 2, {"read by GRU, in binary16": 1}, 35),
    "RNN": (lambda: recurrent("RNN", 1), 2, {"fewer than 16 numbers": 1}, 35),
    "Scan and Loop": (scan_with_weights, 2, {}, 30),
}
"""What makes each, weights of layers, the other weights by the reason why they are left, and the least signal to noise."""


def save(kind: Kind, path: Path, **options: Any) -> Path:
    """Write it with a free first side."""
    nodes, constants, feed, own = kind
    tensors = [
        onnx.numpy_helper.from_array(each, name) if isinstance(each, np.ndarray | np.generic) else each
        for name, each in constants.items()
    ]
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(each.dtype), ["n", *each.shape[1:]])
        for name, each in feed.items()
    ]
    ir = own.get("ir", 8)
    listed = [helper.make_tensor_value_info(each.name, each.data_type, each.dims) for each in tensors if ir < 4]
    graph = helper.make_graph(
        nodes, "g", inputs + listed, [helper.make_tensor_value_info("y", kinds.FLOAT, None)], tensors
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", own.get("opset", 17))], ir_version=ir)
    onnx.save(model, path, **options)
    return path


def decibels(found: np.ndarray, wanted: np.ndarray) -> float:
    assert found.shape == wanted.shape and found.dtype == wanted.dtype
    noise = float(np.square(found.astype(np.float64) - wanted).mean())
    return 10 * np.log10(float(wanted.astype(np.float64).var()) / max(noise, 1e-30))


@pytest.mark.parametrize("name", KINDS)
def test_a_kind_goes_the_whole_way(name: str, tmp_path: Path) -> None:
    make, weights, kept, least = KINDS[name]
    kind = make()
    path, feed = save(kind, tmp_path / "net.onnx"), kind[2]
    wanted = Session(path, exact=True).run(feed)["y"]
    done: PackReport = pack_onnx(path)
    assert (done.quantized, {row.why: row.tensors for row in done.kept}) == (weights, kept)
    assert sum(entry.values == "integer" for entry in done.packed.header.tensors) >= weights
    assert done.reason == "" and done.outputs[0].snr_db is not None and done.outputs[0].snr_db > least
    model = sepnet.pack(path)
    assert decibels(np.asarray(model.run(feed)), wanted) > least
    for form in ("float", "packed"):
        Onnx(form=form).export(model, tmp_path / "out.onnx", Material())
        found = Session(tmp_path / "out.onnx", exact=True).run(feed)["y"]
        assert decibels(found, wanted) > least
    shapes = [each.shape[1:] for each in feed.values()]
    assert inspect_onnx(path, shapes).params > 0


@pytest.mark.parametrize("kind", [np.int8, np.uint8])
def test_weights_that_came_as_integers_keep_their_codes(kind: type, tmp_path: Path) -> None:
    made = pairs_around_floats(kind)
    path, given = save(made, tmp_path / "net.onnx"), made[1]
    tensors = {each.name: each for each in coded_tensors(pack_onnx(path).packed)}
    shift = 128 if kind == np.uint8 else 0
    np.testing.assert_array_equal(tensors["cw"].codes, given["c.q"].astype(int) - shift)
    np.testing.assert_array_equal(tensors["mw"].codes, given["m.q"].astype(int).T - shift)
    np.testing.assert_array_equal(tensors["fd"].codes, np.clip(np.rint(given["fw"] / given["fs"]), -128, 127).T)
    for name, scale in (("cw", "c.s"), ("mw", "m.s"), ("fd", "fs")):
        found = tensors[name].scale
        assert found is not None
        np.testing.assert_allclose(found.numbers(), given[scale], rtol=2.0**-11)
    four = {each.name: each for each in coded_tensors(pack_onnx(path, PackOptions(4)).packed)}
    assert np.abs(four["cw"].codes).max() == 7


def test_integers_behind_a_norm_keep_their_codes(tmp_path: Path) -> None:
    constants = {f"c.{name}": each for name, each in quantized(normal(8, 3, 3, 3), 0).items()}
    constants |= {"g": normal(8), "b": normal(8), "m": normal(8), "v": np.square(normal(8)) + np.float32(0.1)}
    nodes = [
        node("DequantizeLinear", ["c.q", "c.s", "c.z"], ["w"], axis=0),
        node("Conv", ["x", "w"], ["a"]),
        node("BatchNormalization", ["a", "g", "b", "m", "v"], ["y"]),
    ]
    feed = {"x": normal(5, 3, 6, 6)}
    path = save((nodes, constants, feed, {}), tmp_path / "net.onnx")
    done = pack_onnx(path)
    tensors = {each.name: each for each in coded_tensors(done.packed)}
    np.testing.assert_array_equal(tensors["w"].codes, constants["c.q"])
    assert done.outputs[0].snr_db is not None and done.outputs[0].snr_db > 40


@pytest.mark.parametrize(("axis", "shape"), [(1, (8, 4, 3, 3)), (0, (16, 4))])
def test_integers_whose_steps_are_not_one_a_filter_are_quantized_anew(
    axis: int, shape: tuple[int, ...], tmp_path: Path
) -> None:
    constants = quantized(normal(*shape), axis)
    layer = node("Conv", ["x", "w"], ["y"]) if len(shape) == 4 else node("MatMul", ["x", "w"], ["y"])
    nodes = [node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=axis), layer]
    feed = {"x": normal(5, 4, 6, 6) if len(shape) == 4 else normal(5, 16)}
    done = pack_onnx(save((nodes, constants, feed, {}), tmp_path / "net.onnx"))
    assert done.quantized == 1 and done.outputs[0].snr_db is not None and done.outputs[0].snr_db > 35


def test_blocks_of_four_bits(tmp_path: Path) -> None:
    q = onnx.helper.make_tensor("q", kinds.INT4, [8, 6], RANDOM.integers(-8, 8, 48).tolist())
    nodes = [node("DequantizeLinear", ["q", "s"], ["w"], axis=0, block_size=4), node("MatMul", ["x", "w"], ["y"])]
    kind: Kind = (nodes, {"q": q, "s": np.abs(normal(2, 6))}, {"x": normal(5, 8)}, {"opset": 21, "ir": 10})
    path = save(kind, tmp_path / "net.onnx")
    try:
        Session(path)
    except NetworkError as error:
        pytest.skip(f"this ONNX Runtime has no integers of 4 bits: {error}")
    done = pack_onnx(path)
    assert done.outputs[0].snr_db is not None and done.outputs[0].snr_db > 35


@pytest.mark.parametrize(
    ("nodes", "named"),
    [
        ([node("MatMulInteger", ["x", "q"], ["i"]), node("Cast", ["i"], ["y"], to=kinds.FLOAT)], "MatMulInteger"),
        ([node("QGemm", ["x", "q"], ["y"], domain="com.microsoft")], "QGemm"),
        ([node("QLinearMatMul", ["x", "s", "z", "q", "s", "z", "s", "z"], ["y"])], "QLinearMatMul"),
    ],
)
def test_layers_that_compute_in_integers_are_refused_by_name(nodes: list[Any], named: str, tmp_path: Path) -> None:
    constants = {"q": np.ones((4, 4), np.int8), "s": np.float32(1), "z": np.int8(0)}
    path = save((nodes, constants, {"x": np.ones((5, 4), np.int8)}, {}), tmp_path / "net.onnx")
    with pytest.raises(NetworkError, match=rf"computes in integers \({named}\); expected float layers") as error:
        pack_onnx(path)
    assert "\n" not in str(error.value)


def test_weights_in_a_second_file(tmp_path: Path) -> None:
    kind = tokens_and_attention()
    path = save(kind, tmp_path / "net.onnx", save_as_external_data=True, location="net.bin", size_threshold=256)
    assert (tmp_path / "net.bin").stat().st_size > 5000
    wanted = Session(path).run(kind[2])["y"]
    assert decibels(np.asarray(sepnet.pack(path).run(kind[2])), wanted) > 30


def test_sides_that_share_no_name(tmp_path: Path) -> None:
    """Two inputs of one batch, whose free sides have names of their own."""
    nodes = [node("MatMul", ["a", "w"], ["p"]), node("Add", ["p", "b"], ["y"])]
    inputs = [helper.make_tensor_value_info(name, kinds.FLOAT, [f"{name}_n", 8]) for name in "ab"]
    outputs = [helper.make_tensor_value_info("y", kinds.FLOAT, ["y_n", 8])]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [onnx.numpy_helper.from_array(normal(8, 8), "w")])
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx"
    )
    model = sepnet.pack(tmp_path / "net.onnx")
    assert [port.shape for port in (*model.inputs, *model.outputs)] == [("a_n", 8), ("b_n", 8), ("y_n", 8)]
    feed = {name: normal(5, 8) for name in "ab"}
    assert decibels(np.asarray(model.run(feed)), Session(tmp_path / "net.onnx").run(feed)["y"]) > 35


def test_layers_of_half_precision_can_be_calibrated(tmp_path: Path) -> None:
    source = read_onnx(save(half_precision(), tmp_path / "net.onnx"))
    found = find_layers(source.graph.data, source.weights, {name: each.shape for name, each in source.state.items()})
    assert [(layer.weight, layer.bias) for layer in found] == [("w", "b"), ("m", "")]


def test_what_stays_inside_an_if_is_named(tmp_path: Path) -> None:
    """A weight of a product is packed, a matrix of factors is not."""
    branches = []
    for name in ("yes", "no"):
        inner = [node("MatMul", ["x", "w"], ["a"]), node("Mul", ["a", "f"], ["z"])]
        own = [onnx.numpy_helper.from_array(normal(*shape), each) for each, shape in (("w", (4, 6)), ("f", (1, 6)))]
        ends = [helper.make_tensor_value_info("z", kinds.FLOAT, None)]
        branches.append(helper.make_graph(inner, name, [], ends, own))
    nodes = [
        node("ReduceSum", ["x"], ["s"], keepdims=0),
        node("Cast", ["s"], ["which"], to=kinds.BOOL),
        node("If", ["which"], ["y"], then_branch=branches[0], else_branch=branches[1]),
    ]
    done = pack_onnx(save((nodes, {}, {"x": normal(5, 4)}, {}), tmp_path / "net.onnx"))
    assert done.quantized == 2
    assert [(row.why, row.tensors, row.numbers) for row in done.kept] == [("inside If", 2, 12)]


def test_nodes_in_a_wrong_order_are_sorted(tmp_path: Path) -> None:
    """As converters to float16 write them: casts at the end; and a branch that reads a value which a later node makes."""
    nodes, constants, feed, options = half_precision()
    ends = [helper.make_tensor_value_info("z", kinds.FLOAT, None)]
    yes = helper.make_graph([node("Identity", ["y0"], ["z"])], "yes", [], ends)
    no = helper.make_graph([node("Neg", ["y0"], ["z"])], "no", [], ends)
    nodes[-1].output[0] = "y0"
    nodes = [node("If", ["always"], ["y"], then_branch=yes, else_branch=no), *nodes[1:], nodes[0]]
    kind = nodes, constants | {"always": np.array(True)}, feed, options
    done = pack_onnx(save(kind, tmp_path / "net.onnx"))
    read = onnx.load_from_string(done.packed.graph).graph.node
    assert [each.op_type for each in read if each.op_type != "Cast"] == [
        "Conv",
        "Relu",
        "Flatten",
        "Transpose",
        "MatMul",
        "If",
    ]
    Onnx().export(done.packed, tmp_path / "out.onnx", Material())
    wanted = Session(tmp_path / "net.onnx").run(feed)["y"]
    assert decibels(Session(tmp_path / "out.onnx").run(feed)["y"], wanted) > 35


def test_a_network_that_takes_float16_is_exported_and_compared(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Cast", ["a"], ["y"], to=kinds.FLOAT)]
    feed = {"x": normal(5, 8).astype(np.float16)}
    path = save((nodes, {"w": normal(8, 3).astype(np.float16)}, feed, {}), tmp_path / "net.onnx")
    report = Onnx().export(sepnet.pack(path), tmp_path / "out.onnx", Material())
    assert report.check is not None and report.check.data == "normal noise" and report.check.difference == 0


def test_pairs_are_compared_as_they_stand(tmp_path: Path) -> None:
    """Not with integer kernels, whose sums saturate at 16 bits on processors without VNNI."""
    weight = np.where(RANDOM.random((64, 64)) < 0.5, -1, 1).astype(np.int8) * np.int8(127)
    constants = {"q": weight, "s": np.float32(0.01), "xs": np.float32(0.01), "xz": np.uint8(0), "z": np.int8(0)}
    nodes = [
        node("Abs", ["x"], ["a"]),
        node("QuantizeLinear", ["a", "xs", "xz"], ["xq"]),
        node("DequantizeLinear", ["xq", "xs", "xz"], ["xd"]),
        node("DequantizeLinear", ["q", "s", "z"], ["w"]),
        node("MatMul", ["xd", "w"], ["y"]),
    ]
    path = save((nodes, constants, {"x": normal(8, 64)}, {}), tmp_path / "net.onnx")
    done = pack_onnx(path)
    assert done.outputs[0].snr_db is not None and done.outputs[0].snr_db > 60
