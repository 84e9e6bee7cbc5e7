"""Counting `.onnx` files: graphs made by hand, numbers by hand; and what torch exports, against the torch network."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from sepnet.core.errors import MissingExtraError, NetworkError
from sepnet.core.network import NetworkReport
from sepnet.networks import build
from sepnet.steps.inspect import inspect
from sepnet.steps.inspect_onnx import inspect_onnx

onnx = pytest.importorskip("onnx")
helper, FLOAT, INT64 = onnx.helper, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Write a graph: nodes, inputs with their shapes, outputs, weights with their shapes or values."""

    def write(
        nodes: Sequence[Any],
        inputs: dict[str, Sequence[Any]],
        weights: dict[str, Any],
        output: str = "y",
        types: dict[str, int] | None = None,
    ) -> Path:
        tensors = []
        for name, value in weights.items():
            array = np.ones(value, np.float32) if isinstance(value, tuple) else value
            tensors.append(onnx.numpy_helper.from_array(array, name))
        graph = helper.make_graph(
            nodes,
            "g",
            [helper.make_tensor_value_info(n, (types or {}).get(n, FLOAT), s) for n, s in inputs.items()],
            [helper.make_tensor_value_info(output, FLOAT, None)],
            tensors,
        )
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.ops", 1)], ir_version=8
        )
        onnx.save(model, tmp_path / "net.onnx")
        return tmp_path / "net.onnx"

    return write


node = helper.make_node


def rows(report: NetworkReport) -> list[tuple[Any, ...]]:
    return [(r.name, r.kind, r.weight_shape, r.params, r.macs, r.output_shape) for r in report.layers]


def test_convolutions(make: Make) -> None:
    nodes = [
        node("Conv", ["x", "a.weight", "a.bias"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["r"]),
        node("Conv", ["r", "b.weight"], ["b"], group=4, kernel_shape=[3, 3]),
        node("Conv", ["b", "c.weight"], ["c"], group=2, kernel_shape=[3, 1]),
        node("Conv", ["c", "d.weight"], ["d"]),
        node("ConvTranspose", ["d", "e.weight"], ["y"], strides=[2, 2]),
    ]
    weights = {
        "a.weight": (4, 2, 3, 3),
        "a.bias": (4,),
        "b.weight": (4, 1, 3, 3),
        "c.weight": (6, 2, 3, 1),
        "d.weight": (3, 6, 1, 1),
        "e.weight": (3, 5, 2, 2),
    }
    report = inspect_onnx(make(nodes, {"x": ("n", 2, 6, 6)}, weights))
    assert rows(report) == [
        ("a", "conv kxk", (4, 2, 3, 3), 76, 36 * 4 * 18, (4, 6, 6)),
        ("b", "depthwise", (4, 1, 3, 3), 36, 16 * 4 * 9, (4, 4, 4)),
        ("c", "conv kxk", (6, 2, 3, 1), 36, 2 * 4 * 6 * 6, (6, 2, 4)),
        ("d", "conv 1x1", (3, 6, 1, 1), 18, 8 * 18, (3, 2, 4)),
        ("e", "conv kxk", (3, 5, 2, 2), 60, 3 * 8 * 20, (5, 4, 8)),
    ]
    assert [r.note for r in report.layers] == ["", "", "2 groups", "", ""]
    assert (report.name, report.input_shapes, report.input_types) == ("net.onnx", ((2, 6, 6),), ("float32",))
    assert report.peak_activation_bytes == 4 * (72 + 144 + 144)


def test_products_and_their_biases(make: Make) -> None:
    nodes = [
        node("MatMul", ["x", "onnx::MatMul_7"], ["p"], "/block/fc/MatMul"),
        node("Add", ["block.fc.bias", "p"], ["q"]),
        node("Gemm", ["q", "head.weight", "head.bias"], ["y"], transB=1),
    ]
    weights = {"onnx::MatMul_7": (3, 4), "block.fc.bias": (4,), "head.weight": (5, 4), "head.bias": (5,)}
    report = inspect_onnx(make(nodes, {"x": ("n", 3)}, weights))
    assert rows(report) == [("block.fc", "fc", (3, 4), 16, 12, (4,)), ("head", "fc", (5, 4), 25, 20, (5,))]
    assert report.layers[0].activation_bytes == 16


def test_a_layer_that_runs_on_a_constant(make: Make) -> None:
    """As a GRUCell does on its first state."""
    nodes = [
        node("Gemm", ["x", "g.weight_ih", "g.bias_ih"], ["p"], "/g/Gemm", transB=1),
        node("Constant", [], ["h"], value=onnx.numpy_helper.from_array(np.zeros((1, 2), np.float32))),
        node("Gemm", ["h", "g.weight_hh", "g.bias_hh"], ["q"], "/g/Gemm_1", transB=1),
        node("Add", ["p", "q"], ["y"]),
    ]
    weights = {"g.weight_ih": (6, 3), "g.bias_ih": (6,), "g.weight_hh": (6, 2), "g.bias_hh": (6,)}
    report = inspect_onnx(make(nodes, {"x": (1, 3)}, weights))
    assert rows(report) == [("g", "fc", (6, 3), 24, 18, (6,)), ("g.weight_hh", "fc", (6, 2), 18, 12, (6,))]
    assert report.activation_macs == 0


def test_weights_made_of_weights(make: Make) -> None:
    """A product of two, a part of one, two put together, a scaled one: all that they are made of counts once."""
    nodes = [
        node("MatMul", ["low.a", "low.b"], ["low"]),
        node("MatMul", ["x", "low"], ["p"]),
        node("Slice", ["two.weight", "from", "to"], ["part"]),
        node("MatMul", ["p", "part"], ["q"]),
        node("Concat", ["left.weight", "right.weight"], ["both"], axis=1),
        node("MatMul", ["q", "both"], ["r"]),
        node("Mul", ["g.v", "g.g"], ["scaled"]),
        node("Mul", ["scaled", "half"], ["halved"]),
        node("MatMul", ["r", "halved"], ["y"]),
    ]
    weights = {
        **{"low.a": (4, 2), "low.b": (2, 4), "two.weight": (8, 4), "left.weight": (4, 1), "right.weight": (4, 3)},
        **{"g.v": (4, 5), "g.g": (1, 5), "half": np.float32([0.5]), "from": np.array([0]), "to": np.array([4])},
    }
    report = inspect_onnx(make(nodes, {"x": ("n", 4)}, weights))
    assert [(r.params, r.macs, r.note) for r in report.layers] == [
        (16, 16, ""),
        (32, 16, ""),
        (16, 16, ""),
        (25, 20, ""),
    ]


def test_the_bias_of_a_single_output(make: Make) -> None:
    nodes = [node("MatMul", ["x", "fc.weight"], ["p"]), node("Add", ["p", "fc.bias"], ["y"])]
    report = inspect_onnx(make(nodes, {"x": ("n", 5, 3)}, {"fc.weight": (3, 1), "fc.bias": (1,)}))
    assert rows(report) == [("fc", "fc", (3, 1), 4, 15, (5, 1))]


def test_norms_embeddings_and_plain_weights(make: Make) -> None:
    nodes = [
        node("Gather", ["words.weight", "ids"], ["e"]),
        node("Add", ["e", "position"], ["p"], "add"),
        node("Mul", ["p", "half"], ["h"]),
        node("LayerNormalization", ["h", "ln.weight", "ln.bias"], ["n"]),
        node("Transpose", ["n"], ["t"], perm=[0, 2, 1]),
        node("BatchNormalization", ["t", "bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"], ["y"]),
    ]
    weights = {
        "words.weight": (9, 4),
        "position": (1, 5, 4),
        "half": np.float32([0.5]),
        **{f"{n}.{w}": (4,) for n in ("ln", "bn") for w in ("weight", "bias")},
        "bn.running_mean": (4,),
        "bn.running_var": (4,),
    }
    report = inspect_onnx(make(nodes, {"ids": ("n", 5)}, weights, types={"ids": INT64}))
    assert rows(report) == [
        ("words", "other", (9, 4), 36, 0, (5, 4)),
        ("add", "other", (1, 5, 4), 20, 0, (5, 4)),
        ("ln", "norm", (4,), 8, 0, (5, 4)),
        ("bn", "norm", (4,), 8, 0, (4, 5)),
    ]
    assert report.input_types == ("int64",) and report.peak_activation_bytes == 5 * 8 + 2 * 20 * 4


def test_recurrent(make: Make) -> None:
    nodes = [node("LSTM", ["x", "W", "R", "B", "", "h", "h"], ["", "", "y"], "/rnn/LSTM", hidden_size=5)]
    weights = {"W": (1, 20, 3), "R": (1, 20, 5), "B": (1, 40), "h": np.zeros((1, 1, 5), np.float32)}
    nodes[0].output[0] = "all"
    report = inspect_onnx(make(nodes, {"x": (1, 7, 3)}, weights, "all"), [(7, 3)])
    (only,) = report.layers
    assert (only.name, only.kind, only.params) == ("rnn", "other", 60 + 100 + 40)
    assert only.macs == 7 * 4 * 5 * (3 + 5)


def test_weights_that_are_used_again(make: Make) -> None:
    nodes = [
        node("MatMul", ["x", "fc.weight"], ["a"]),
        node("MatMul", ["a", "fc.weight"], ["b"]),
        node("Transpose", ["fc.weight"], ["turned"]),
        node("Gemm", ["b", "turned", "fc.bias"], ["c"]),
        node("Gemm", ["c", "last.weight", "fc.bias"], ["y"]),
    ]
    weights = {"fc.weight": (3, 3), "fc.bias": (3,), "last.weight": (3, 3)}
    report = inspect_onnx(make(nodes, {"x": ("n", 3)}, weights))
    assert [(r.name, r.params, r.macs, r.note) for r in report.layers] == [
        ("fc", 12, 27, "runs more than once"),
        ("last", 9, 9, "shares weights with fc"),
    ]


def test_what_cannot_be_counted_is_listed(make: Make) -> None:
    inner = helper.make_graph(
        [node("MatMul", ["x", "loop.weight"], ["o"])], "then", [], [helper.make_tensor_value_info("o", FLOAT, None)]
    )
    nodes = [
        node("If", ["yes"], ["a"], "if", then_branch=inner, else_branch=inner),
        node("Einsum", ["x", "e.weight"], ["b"], equation="ni,io->no"),
        node("Strange", ["b", "s.weight"], ["y"], domain="my.ops"),
    ]
    weights = {"yes": np.asarray(True), "loop.weight": (3, 3), "e.weight": (3, 2), "s.weight": (7,)}
    report = inspect_onnx(make(nodes, {"x": ("n", 3)}, weights))
    assert [(r.params, r.macs, r.counted, r.note) for r in report.layers] == [
        (9, 0, False, "not counted: inside If"),
        (6, 0, False, "not counted: Einsum"),
        (7, 0, False, "not counted: Strange"),
    ]
    assert report.peak_activation_bytes is None and len(report.uncounted) == 3


def test_quantized(make: Make) -> None:
    """Integers behind a DequantizeLinear, and operators on integers; scales and zero points are no parameters."""
    scale, zero = np.float32(0.1), np.int8(0)
    nodes = [
        node("DequantizeLinear", ["a.weight", "scale", "zero"], ["w"]),
        node("Conv", ["x", "w", "a.bias"], ["f"]),
        node("QuantizeLinear", ["f", "scale", "zero"], ["q"]),
        node("QLinearConv", ["q", "scale", "zero", "b.weight", "scale", "zero", "scale", "zero", "b.bias"], ["p"]),
        node("DequantizeLinear", ["p", "scale", "zero"], ["y"]),
    ]
    weights = {
        "a.weight": np.ones((4, 2, 3, 3), np.int8),
        "a.bias": (4,),
        "b.weight": np.ones((5, 4, 1, 1), np.int8),
        "b.bias": np.ones(5, np.int32),
        "scale": scale,
        "zero": zero,
    }
    report = inspect_onnx(make(nodes, {"x": ("n", 2, 5, 5)}, weights))
    assert [(r.name, r.kind, r.params, r.macs) for r in report.layers] == [
        ("a", "conv kxk", 76, 9 * 72),
        ("b", "conv 1x1", 25, 9 * 20),
    ]


def test_products_of_activations_are_apart(make: Make) -> None:
    nodes = [
        node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        node("MatMul", ["x", "t"], ["s"]),
        node("MatMul", ["s", "x"], ["m"]),
        node("MatMul", ["m", "fc.weight"], ["y"]),
    ]
    report = inspect_onnx(make(nodes, {"x": ("n", 5, 4)}, {"fc.weight": (4, 3)}))
    assert (report.macs, report.activation_macs) == (5 * 12, 2 * 5 * 5 * 4)


def test_sizes_that_are_computed(make: Make) -> None:
    """Exporters write `x.view(x.shape[0], -1)` as arithmetic on the shape."""
    nodes = [
        node("Shape", ["x"], ["s"]),
        node("Gather", ["s", "zero"], ["n"]),
        node("Unsqueeze", ["n", "axis"], ["u"]),
        node("Concat", ["u", "rest"], ["shape"], axis=0),
        node("Reshape", ["x", "shape"], ["flat"]),
        node("MatMul", ["flat", "fc.weight"], ["y"]),
    ]
    weights = {"zero": np.int64(0), "axis": np.int64([0]), "rest": np.int64([-1]), "fc.weight": (12, 5)}
    report = inspect_onnx(make(nodes, {"x": ("n", 3, 4)}, weights))
    assert rows(report) == [("fc", "fc", (12, 5), 60, 60, (5,))]
    assert report.peak_activation_bytes == 4 * (12 + 5)


def test_a_fixed_batch_is_divided_by(make: Make) -> None:
    nodes = [node("Gemm", ["x", "fc.weight"], ["h"]), node("Relu", ["h"], ["y"])]
    report = inspect_onnx(make(nodes, {"x": (4, 3)}, {"fc.weight": (3, 5)}))
    assert rows(report) == [("fc", "fc", (3, 5), 15, 15, (5,))]
    assert (report.peak_activation_bytes, report.layers[0].activation_bytes) == (4 * (3 + 5 + 5), 20)


def test_free_sizes(make: Make) -> None:
    nodes = [node("MatMul", ["x", "fc.weight"], ["h"]), node("Add", ["h", "z"], ["y"])]
    path = make(nodes, {"x": ("n", "t", 3), "z": ("n", "t", 5)}, {"fc.weight": (3, 5)})
    with pytest.raises(
        NetworkError, match=r"the size 't' of input 'x' is free; give --input-shape, once for each of 2"
    ):
        inspect_onnx(path)
    report = inspect_onnx(path, [(7, 3), (7, 5)])
    assert (report.macs, report.input_shapes) == (7 * 15, ((7, 3), (7, 5)))
    for shapes, words in (
        ([(7, 3)], r"has 2 inputs \(x, z\); found 1 input shapes"),
        ([(7, 3), (5,)], r"input 'z' takes \['t', 5\] without the batch; found \(5,\)"),
        ([(7, 4), (7, 5)], r"input 'x' has a fixed size of 3; found 4 in \(7, 4\)"),
    ):
        with pytest.raises(NetworkError, match=words):
            inspect_onnx(path, shapes)


def test_weights_in_other_files_are_not_read(make: Make, tmp_path: Path) -> None:
    path = make([node("Gemm", ["x", "fc.weight"], ["y"])], {"x": ("n", 3)}, {"fc.weight": (3, 5)})
    model = onnx.load(path)
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    path.write_bytes(model.SerializeToString())
    assert rows(inspect_onnx(path)) == [("fc", "fc", (3, 5), 15, 15, (5,))]


@pytest.mark.parametrize("data", [b"", b"hello", b"\x08\x07", b"\xff" * 40])
def test_what_is_no_onnx_file(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a.onnx").write_bytes(data)
    with pytest.raises(NetworkError, match=r"is not an ONNX file") as caught:
        inspect_onnx(tmp_path / "a.onnx")
    assert "\n" not in str(caught.value)
    with pytest.raises(NetworkError, match=r"cannot read .*none: No such file"):
        inspect_onnx(tmp_path / "none")


def test_without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"sepnet\[onnx\]"):
        inspect_onnx("net.onnx")


def test_without_torch(make: Make) -> None:
    path = make([node("Gemm", ["x", "fc.weight"], ["y"])], {"x": ("n", 3)}, {"fc.weight": (3, 5)})
    code = f"import sys; sys.modules['torch'] = None; sys.argv = ['sepnet', 'inspect', {str(path)!r}]; from sepnet.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and "look here: fc holds 100.0 %" in done.stdout, done.stderr


def random_biases(model: nn.Module) -> nn.Module:
    """Equal tensors become one when exported, and then count once."""
    torch.manual_seed(0)
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.0)
    return model.eval()


@pytest.mark.parametrize("name", ["lenet5", "squeezenet1_1", "mobilenet_v2", "mixed_cnn"])
@pytest.mark.filterwarnings("ignore")
def test_exported_networks_agree(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    model = random_biases(build(name))
    shape = (3, 64, 64) if "net1" in name or "v2" in name else model.input_shape
    batch = {0: torch.export.Dim.DYNAMIC}
    program = torch.onnx.export(
        model, (torch.zeros(2, *shape),), dynamo=True, dynamic_shapes=(batch,), verbose=False, optimize=False
    )
    program.save(tmp_path / "m.onnx")
    found, wanted = inspect_onnx(tmp_path / "m.onnx"), inspect(model, shape)
    assert (found.params, found.macs) == (wanted.params, wanted.macs)
    kept = [(r.name, r.kind, r.params, r.macs, r.output_shape) for r in wanted.layers]
    assert [(r.name, r.kind, r.params, r.macs, r.output_shape) for r in found.layers] == kept
