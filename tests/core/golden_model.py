"""The models in tests/golden: those of v1.sepnet and v1_1.sepnet: every kind of value, codec and granularity of scales.

Version 1.0 is no longer written, 1.1 has the preset dictionary and the adaptive codecs.  v1_2.sepnet
has several inputs and outputs.  All are frozen; `python tests/core/golden_model.py` wrote v1_1 and v1_2.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from sepnet.core.coded_tensor import CodedTensor, Half, float_codes
from sepnet.core.header import Header, InputSpec, NormEntry, ZeroEntry
from sepnet.core.packed_model import PORTS, PackedModel
from sepnet.packing.pack import encode_tensor, encode_tensors
from sepnet.packing.restore import state_dict
from sepnet.runtimes.onnxruntime import OnnxRuntime

CODECS_OF_1_0 = [
    f"{layout}{coder}" for coder in ("", "_huffman", "_ans") for layout in ("dense", "bitmap", "relative_index")
]
GOLDEN = Path(__file__).parents[1] / "golden"
INPUT = np.float32([[[[(3 * y + 5 * x) % 7 - 3 for x in range(6)] for y in range(6)]]])


def golden_graph() -> bytes:
    """Convolution (with a folded norm), norm, convolution, three fully connected layers, the outputs in another order."""
    node = helper.make_node
    nodes = [
        node("Conv", ["input", "conv.weight", "bn.bias"], ["v0"]),
        node("Relu", ["v0"], ["v1"]),
        node(
            "BatchNormalization",
            ["v1", "norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"],
            ["v2"],
            epsilon=1e-3,
        ),
        node("Conv", ["v2", "deep.weight"], ["v3"]),
        node("Flatten", ["v3"], ["v4"]),
        node("Gemm", ["v4", "fc.weight", "fc.bias"], ["v5"], transB=1),
        node("Gemm", ["v5", "mix.weight", "mix.bias"], ["v6"], transB=1),
        node("Gemm", ["v6", "again.weight"], ["v7"], transB=1),
        node("Gather", ["v7", "order"], ["output"], axis=1),
    ]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 6, 6])
    wanted = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", 5])
    graph = helper.make_graph(nodes, "n", [given], [wanted])
    made: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10
    ).SerializeToString()
    return made


def golden_tensors() -> list[CodedTensor]:
    """Numbers from small sums, so that they need no random generator."""
    count = np.arange
    deep = (count(32) * 7 % 15 - 7).reshape(4, 2, 2, 2)
    fc = np.where(count(180) % 11 == 0, count(180) // 11 % 4, 0).reshape(5, 36)
    mix = (count(25) * 11 % 31 - 15).reshape(5, 5)
    spare = np.where(count(24) % 5 == 1, count(24) - 9, 0).reshape(4, 6)
    kernels = Half.of(np.float32([[0.5, -0.25], [0.125, 1.0], [0.75, 0.0625], [-1.5, 0.375]]))
    filters, shared = Half.of(np.float32([0.5, -0.75])), Half.of(np.float32([0.0, -0.5, 0.25, 3e-3]))
    small = np.float32([3e-6, -1.5e-6, 0.0, 1e-6, 2.25e-6])
    return [
        CodedTensor("conv.weight", (count(18) * 5 % 7 % 2).reshape(2, 1, 3, 3), "sign", ("pattern",), filters, codec="bitmap"),
        float_codes("bn.bias", np.float32([0.25, -0.5]), "float16", ("keep",), codec="dense"),
        float_codes("norm.weight", np.float32([1.5, -0.3]), "float16", ("keep",), codec="dense"),
        CodedTensor("norm.bias", np.array([100, -127]), "integer", ("linear",), Half.of(np.float32(1e-2)), codec="dense"),
        CodedTensor("deep.weight", deep, "integer", ("prune", "linear"), kernels, codec="dense_huffman"),
        CodedTensor("fc.weight", fc, "codebook", ("prune", "share"), Half.of(np.float32(2.0)), shared, codec="relative_index:3"),
        float_codes("fc.bias", np.float32([0.1, -0.2, 1e3, 1e-10, 0.0]) * np.float32(1e-3), "float32", ("keep",), codec="dense"),
        CodedTensor("mix.weight", mix, "integer", ("linear",), Half.of(np.float32(1e-6)), codec="dense_ans"),
        float_codes("mix.bias", small, "float16", ("keep",), codec="bitmap"),
        CodedTensor("order", np.array([4, 2, 0, 1, 3]), "int64", codec="dense"),
        *[CodedTensor(f"spare.{name}", spare, "integer", ("linear",), codec=name) for name in CODECS_OF_1_0],
        CodedTensor("spare.empty", np.zeros((0, 3), np.int64), "integer", ("linear",), codec="dense"),
    ]  # fmt: skip


def tensors_of_1_1() -> list[CodedTensor]:
    """What the adaptive codecs write, a chain of sign patterns among it."""
    count = np.arange
    codes = np.where(count(96) % 5 < 2, count(96) * 7 % 41 - 20, 0).reshape(4, 6, 2, 2)
    signs = [(count(27) * 5 % 11 % 3 % 2)[count(288) % 27].reshape(8, 4, 3, 3)[:size] for size in (8, 5, 8)]
    return [
        *[CodedTensor(f"spare.{name}", codes, "integer", ("linear",), codec=name) for name in ("ab1", "mx1")],
        CodedTensor("spare.kernels", signs[0], "sign", ("pattern",), codec="kernels_huffman"),
        *[CodedTensor(f"spare.chain{at}", each, "sign", ("pattern",)) for at, each in enumerate(signs)],
    ]


def golden_model(preset: bool) -> PackedModel:
    """The whole, as version 1.1 or 1.0 of the format."""
    encoded = [encode_tensor(tensor) for tensor in golden_tensors()]
    if preset:
        encoded += encode_tensors(tensors_of_1_1())
    header = Header(
        network="golden",
        params=1234,
        tensors=tuple(entry for entry, _ in encoded),
        input=InputSpec((1, 6, 6), (0.5,), (0.25,)),
        classes=("null", "eins", "zwei", "drei", "größer"),
        norms=(
            NormEntry("bn", bias="conv.bias"),
            NormEntry("norm", 1e-3, folded=False, tracked=False),
        ),
        zeros=(ZeroEntry("aux.weight", (3, 5)), ZeroEntry("aux.count", (), "int64")),
        aliases={"again.weight": "mix.weight", "bn2.weight": "bn.weight"},
        made={"sepnet": "0.1.0", "seed": 7, "top1": 0.5},
    )
    return PackedModel.of(header, golden_graph(), [payload for _, payload in encoded], preset=preset)


def stateful_model() -> PackedModel:
    """Version 1.2: a table of tokens, a state, a scalar; outputs of two types; names as their author gave them."""
    node, value = helper.make_node, helper.make_tensor_value_info
    nodes = [
        node("Gather", ["table", "tokens"], ["v0"]),
        node("ReduceMean", ["v0", "k0"], ["v1"], keepdims=0),
        node("Add", ["v1", "state"], ["v2"]),
        node("Mul", ["v2", "gain"], ["next state"]),
        node("ArgMax", ["next state"], ["best:0"], axis=1, keepdims=0),
    ]
    inputs = [
        value("tokens", TensorProto.INT64, ["batch", "length"]),
        value("state", TensorProto.FLOAT, ["batch", 4]),
        value("gain", TensorProto.FLOAT, []),
    ]
    outputs = [
        value("next state", TensorProto.FLOAT, ["batch", 4]),
        value("best:0", TensorProto.INT64, ["batch"]),
    ]
    axis = helper.make_tensor("k0", TensorProto.INT64, [1], [1])
    graph = helper.make_graph(nodes, "n", inputs, outputs, [axis])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10).SerializeToString()
    table = CodedTensor(
        "table",
        np.arange(-12, 12).reshape(6, 4) * 5 % 9 - 4,
        "integer",
        ("linear",),
        Half.of(np.float32(0.25)),
        codec="dense",
    )
    entry, payload = encode_tensor(table)
    return PackedModel.of(Header("stateful", 24, (entry,)), data, [payload], minor=PORTS)


STATEFUL_INPUT = {
    "tokens": np.array([[0, 3, 5], [2, 2, 1]]),
    "state": np.float32([[0, 1, 2, 3], [3, 2, 1, 0]]),
    "gain": np.float32(0.5),
}


def write() -> None:
    """The golden files of versions 1.1 and 1.2."""
    stateful = stateful_model()
    (GOLDEN / "v1_2.sepnet").write_bytes(stateful.to_bytes())
    found = {name: array.tolist() for name, array in OnnxRuntime(stateful).run(STATEFUL_INPUT).items()}
    (GOLDEN / "v1_2.json").write_text(json.dumps(found) + "\n", encoding="utf-8")
    model = golden_model(preset=True)
    (GOLDEN / "v1_1.sepnet").write_bytes(model.to_bytes())
    state = {
        name: {"dtype": str(array.dtype), "shape": list(array.shape), "numbers": array.ravel().tolist()}
        for name, array in state_dict(model).items()
    }
    expected = {"state": state, "output": OnnxRuntime(model).run(INPUT).tolist()}
    lines = json.dumps(expected).replace('}, "', '},\n"').replace('"output"', '\n"output"')
    (GOLDEN / "v1_1.json").write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
