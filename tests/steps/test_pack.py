"""Packing without training: `.onnx` files made by hand, and `.safetensors` files of all types."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from sepnet.core.errors import FormatError, NetworkError, UsageError, WeightsError
from sepnet.core.pack_options import PackOptions
from sepnet.core.packed_model import PackedModel
from sepnet.exporters.safetensors import Safetensors
from sepnet.packing.restore import onnx_model, state_dict
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.runtimes.probe import Probe
from sepnet.steps.info import info
from sepnet.steps.pack import pack_onnx
from sepnet.steps.pack_weights import pack_weights

onnx = pytest.importorskip("onnx")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
node = helper.make_node
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a graph: nodes, weights by shape (normally distributed) or value, shape of the input."""

    def write(nodes: Sequence[Any], weights: dict[str, Any], shape: Sequence[Any], kind: int = FLOAT) -> Path:
        random = np.random.default_rng(0)
        arrays = {
            name: random.standard_normal(value).astype(np.float32) if isinstance(value, tuple) else value
            for name, value in weights.items()
        }
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info("x", kind, shape)],
            [helper.make_tensor_value_info("y", FLOAT, None)],
            [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, tmp_path / "net.onnx")
        return tmp_path / "net.onnx"

    return write


def small(make: Make, batch: Any = "n") -> Path:
    """Convolution, batch normalization, grouped convolution, pooling, Gemm inputs first, MatMul with a bias behind it."""
    nodes = [
        node("Conv", ["x", "a.weight", "a.bias"], ["a"], pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", ["a", "gamma", "beta", "mean", "var"], ["b"]),
        node("Relu", ["b"], ["c"]),
        node("Conv", ["c", "d.weight"], ["d"], group=2, auto_pad="SAME_UPPER"),
        node("BatchNormalization", ["d", "gamma", "beta", "mean", "var"], ["e"]),
        node("GlobalAveragePool", ["e"], ["f"]),
        node("Flatten", ["f"], ["g"]),
        node("Gemm", ["g", "h.weight", "h.bias"], ["h"]),
        node("MatMul", ["h", "i.weight"], ["i"]),
        node("Add", ["i", "i.bias"], ["y"]),
    ]
    weights = {
        "a.weight": (8, 3, 3, 3),
        "a.bias": (8,),
        "gamma": np.linspace(0.5, 2, 8, dtype=np.float32),
        "beta": (8,),
        "mean": (8,),
        "var": np.linspace(0.5, 2, 8, dtype=np.float32),
        "d.weight": (8, 4, 3, 3),
        "h.weight": (8, 12),
        "h.bias": (12,),
        "i.weight": (12, 5),
        "i.bias": (5,),
    }
    return make(nodes, weights, (batch, 3, 9, 9))


def test_eight_bits_change_the_outputs_little(make: Make) -> None:
    done = pack_onnx(small(make), PackOptions(8))
    assert done.difference is not None and done.largest is not None
    assert done.difference < 0.03 * done.largest
    assert done.bytes_before == small(make).stat().st_size > done.packed.bytes
    again = PackedModel.from_bytes(done.packed.to_bytes())
    batch = np.random.default_rng(1).standard_normal((3, 3, 9, 9)).astype(np.float32)
    wanted = Probe(small(make)).run(batch)[0]
    assert np.abs(OnnxRuntime(again).run(batch) - wanted).max() < 0.03 * np.abs(wanted).max()
    assert {norm.name for norm in again.header.norms if norm.folded} and "BatchNormalization" not in str(
        onnx.load_from_string(onnx_model(again)).graph.node
    )
    assert sum(row.bytes for row in info(again).tensors) == sum(row.bytes for row in done.rows)


def test_weights_are_of_the_bits_asked_for_and_filters_come_first(make: Make) -> None:
    errors = []
    for bits in (8, 5, 4, 2):
        done = pack_onnx(small(make), PackOptions(bits, allow_bad=bits == 2))  # type: ignore[arg-type]
        by_name = {entry.name: entry for entry in done.packed.header.tensors}
        for name in ("a.weight", "d.weight", "h.weight", "i.weight"):
            assert by_name[name].bits <= bits and by_name[name].scale == "filter", name
        assert by_name["h.weight"].shape == (12, 8) and by_name["i.weight"].shape == (5, 12)
        errors.append(next(row.error for row in done.rows if row.name == "a.weight"))
    assert errors == sorted(errors)


def test_the_same_file_packs_to_the_same_bytes(make: Make) -> None:
    assert (
        pack_onnx(small(make), PackOptions(5)).packed.to_bytes()
        == pack_onnx(small(make), PackOptions(5)).packed.to_bytes()
    )


def test_a_file_of_a_fixed_batch(make: Make) -> None:
    assert pack_onnx(small(make, 1)).checked == 1


def test_what_cannot_be_packed(make: Make, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"\x08\x07garbage")
    with pytest.raises(NetworkError, match="not an ONNX file"):
        pack_onnx(tmp_path / "bad.onnx")
    with pytest.raises(NetworkError, match="cannot read"):
        pack_onnx(tmp_path / "none.onnx")
    with pytest.raises(NetworkError, match="no layer with float weights"):
        pack_onnx(make([node("Relu", ["x"], ["y"])], {}, ("n", 3)))
    with pytest.raises(NetworkError, match="x of type string; expected one of float16, float32"):
        pack_onnx(make([node("Gather", ["w", "x"], ["y"])], {"w": (9, 3)}, ("n",), onnx.TensorProto.STRING))
    with pytest.raises(NetworkError, match=r"not standard ONNX: mine\.Odd"):
        pack_onnx(make([node("Odd", ["x"], ["y"], domain="mine")], {}, ("n", 3)))
    with pytest.raises(WeightsError, match=r"w holds 1 NaN or Inf of 6"):
        pack_onnx(make([node("MatMul", ["x", "w"], ["y"])], {"w": np.float32([[1, 2], [3, np.nan], [5, 6]])}, ("n", 3)))
    product = node("MatMul", ["x", "w"], ["y"])
    with pytest.raises(NetworkError, match="No Op registered for Strange"):
        pack_onnx(make([product, node("Strange", ["y"], ["z"])], {"w": (3, 2)}, ("n", 3)))
    with pytest.raises(NetworkError):
        pack_onnx(make([product, node("Conv", [], ["z"])], {"w": (3, 2)}, ("n", 3)))
    with pytest.raises(NetworkError, match="ONNX Runtime refuses"):
        pack_onnx(make([product], {"w": (4, 2)}, ("n", 3)))
    cut = onnx.load(make([product], {"w": (3, 2)}, ("n", 3)))
    cut.graph.initializer[0].raw_data = b"1234"
    onnx.save(cut, tmp_path / "cut.onnx")
    with pytest.raises(NetworkError, match="rules of ONNX"):
        pack_onnx(tmp_path / "cut.onnx")
    with pytest.raises(UsageError, match="needs examples"):
        pack_onnx(small(make), PackOptions("auto"))


ARRAYS: dict[str, Any] = {
    "u8": np.arange(250, dtype=np.uint8).reshape(10, 25),
    "i8": np.arange(-100, 100, dtype=np.int8),
    "u16": np.array([0, 65535], np.uint16),
    "i32": np.array([[-(1 << 31), (1 << 31) - 1]], np.int32),
    "i64": np.array(-5),
    "bool": np.array([True, False, True]),
    "f16": np.array([1.5, -0.0, 6e-8, np.inf], np.float16),
    "f32": np.array([[1e-40, -0.0, 3.14]], np.float32),
    "f64": np.array([0.5, -2.0]),
    "none": np.zeros((0, 3), np.float32),
}


def test_weights_alone_come_back_bit_for_bit(tmp_path: Path) -> None:
    save_file(ARRAYS, tmp_path / "w.safetensors", {"layers": "[1, 2]"})
    done = pack_weights(tmp_path / "w.safetensors")
    done.packed.write(tmp_path / "w.sepnet")
    again = PackedModel.read(tmp_path / "w.sepnet")
    Safetensors().export(again, tmp_path / "again.safetensors")
    found = load_file(tmp_path / "again.safetensors")
    assert found.keys() == ARRAYS.keys()
    with safe_open(tmp_path / "again.safetensors", "numpy") as file:
        assert file.metadata() == {"layers": "[1, 2]"}
    for name, array in ARRAYS.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name
    assert info(again).params == sum(array.size for array in ARRAYS.values())
    assert all(row.error is None for row in done.rows)
    with pytest.raises(FormatError, match="weights alone"):
        OnnxRuntime(again)


def test_bfloat16_comes_back_bit_for_bit(tmp_path: Path) -> None:
    bits = np.arange(0, 1 << 16, 7, dtype="<u2")
    header = json.dumps({"b": {"dtype": "BF16", "shape": [bits.size], "data_offsets": [0, bits.nbytes]}}).encode()
    raw = len(header).to_bytes(8, "little") + header + bits.tobytes()
    (tmp_path / "b.safetensors").write_bytes(raw)
    Safetensors().export(pack_weights(tmp_path / "b.safetensors").packed, tmp_path / "again.safetensors")
    again = (tmp_path / "again.safetensors").read_bytes()
    assert b'"BF16"' in again and again.endswith(bits.tobytes())


def test_weights_alone_in_five_bits(tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((20, 30)).astype(np.float32)
    save_file({"w": weight, "b": weight[0].copy(), "n": np.arange(4)}, tmp_path / "w.safetensors")
    done = pack_weights(tmp_path / "w.safetensors", PackOptions(5))
    state = state_dict(done.packed)
    assert np.array_equal(state["b"], weight[0]) and np.array_equal(state["n"], np.arange(4))
    assert 0 < np.abs(state["w"] - weight).max() < 0.15
    errors = {row.name: row.error for row in done.rows}
    assert errors["b"] is None and errors["n"] is None and 0 < errors["w"] < 0.1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a safetensors file"),
        (b"\xff" * 20, "not a safetensors file"),
        (b"\x02" + bytes(7) + b"{}", "holds no tensors"),
        (b"\x02" + bytes(7) + b"[]", "does not parse"),
        ({"__metadata__": {"a": 1}, "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, "does not parse"),
        ({"w": {"dtype": "F8_E4M3", "shape": [4], "data_offsets": [0, 4]}}, "F8_E4M3; expected one of"),
        ({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 400]}}, "is damaged"),
        ({"w": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}, "is damaged"),
        ({"w": {"dtype": "U64", "shape": [1], "data_offsets": [0, 8]}}, "holds integers from"),
        ({"w": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}, "save it as float32"),
    ],
)
def test_wrong_weights_files(data: bytes | dict[str, Any], message: str, tmp_path: Path) -> None:
    if isinstance(data, dict):
        header = json.dumps(data).encode()
        data = len(header).to_bytes(8, "little") + header + b"\x12\x34\x56\x78\x9a\xbc\xde\x3f"
    (tmp_path / "w.safetensors").write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        pack_weights(tmp_path / "w.safetensors")


def test_a_type_that_the_codes_do_not_fit_is_refused(tmp_path: Path) -> None:
    save_file({"n": np.arange(200)}, tmp_path / "w.safetensors")
    packed = pack_weights(tmp_path / "w.safetensors").packed
    import msgspec

    entry = msgspec.structs.replace(packed.header.tensors[0], dtype="int8")
    header = msgspec.structs.replace(packed.header, tensors=(entry,))
    with pytest.raises(FormatError, match="type int8, which its numbers do not fit"):
        Safetensors().export(PackedModel.of(header, packed.graph, packed.payloads), tmp_path / "n.safetensors")
    later = msgspec.structs.replace(packed.header, tensors=(msgspec.structs.replace(entry, dtype="int3"),))
    Safetensors().export(PackedModel.of(later, packed.graph, packed.payloads), tmp_path / "n.safetensors")
    assert load_file(tmp_path / "n.safetensors")["n"].dtype == np.int64
