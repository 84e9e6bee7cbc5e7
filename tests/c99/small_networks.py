"""Packed models of a few operators each, with random weights in every form, and images to calibrate them on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto, helper, numpy_helper

from sepnet.core.coded_tensor import CodedTensor, Half, float_codes
from sepnet.core.header import Header, InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.integer.lower import lower
from sepnet.integer.model import IntegerModel
from sepnet.packing.pack import encode_tensors
from sepnet.runtimes.activation_ranges import activation_ranges

SHAPE = (6, 11, 9)
Floats = npt.NDArray[np.float32]


def images(count: int = 8, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Floats:
    """Random inputs, positive and negative."""
    return np.random.default_rng(seed).normal(0.3, 1.0, (count, *shape)).astype(np.float32)


def integer(model: PackedModel) -> IntegerModel:
    """The integer model, calibrated on random images."""
    assert model.header.input is not None
    return lower(model, activation_ranges(model, [images(16, model.header.input.shape, seed=1)]))


class Builder:
    """Collects nodes and weights; names count up."""

    def __init__(self, seed: int = 0) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.tensors: list[CodedTensor] = []
        self.constants: list[Any] = []

    def node(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> str:
        """A node; the name of its (first) output."""
        names = [f"v{len(self.nodes)}" + (f".{at}" if at else "") for at in range(outputs)]
        self.nodes.append(helper.make_node(op, list(inputs), names, **attributes))
        return names[0]

    def constant(self, numbers: Sequence[float] | Floats, dtype: Any = np.int64) -> str:
        """A constant of the graph itself."""
        name = f"k{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(numbers, dtype), name))
        return name

    def weight(self, shape: tuple[int, ...], form: str = "integer") -> str:
        """A weight: integer, sign, sparse, codebook or float."""
        name, size = f"w{len(self.tensors)}.weight", float(np.sqrt(np.prod(shape[1:])))
        scale = Half.of((self.random.uniform(0.5, 1.5, shape[0]) / size).astype(np.float32))
        codes = self.random.integers(-100, 101, shape)
        if form == "sign":
            tensor = CodedTensor(name, self.random.integers(0, 2, shape), "sign", ("pattern",), scale)
        elif form == "sparse":
            kept = self.random.random(shape) < 0.1
            tensor = CodedTensor(
                name, np.where(kept, codes % 8, 0), "integer", ("prune", "linear"), Half.of(np.float32(0.1))
            )
        elif form == "codebook":
            book = Half.of(np.sort(self.random.normal(0, 1 / size, 16)).astype(np.float32))
            tensor = CodedTensor(name, self.random.integers(0, 16, shape), "codebook", ("share",), None, book)
        elif form == "float":
            tensor = float_codes(name, self.random.normal(0, 1 / size, shape), "float16", ("keep",))
        else:
            tensor = CodedTensor(name, codes, "integer", ("linear",), Half.of(scale.numbers() / 50))
        self.tensors.append(tensor)
        return name

    def bias(self, count: int) -> str:
        """A bias."""
        name = f"b{len(self.tensors)}.bias"
        self.tensors.append(float_codes(name, self.random.normal(0, 0.3, count), "float16", ("keep",)))
        return name

    def conv(self, source: str, shape: tuple[int, ...], form: str = "integer", pad: int = 1, **attributes: Any) -> str:
        """A convolution with a bias."""
        return self.node("Conv", source, self.weight(shape, form), self.bias(shape[0]), pads=[pad] * 4, **attributes)

    def model(self, output: str, shape: tuple[int, ...] = SHAPE) -> PackedModel:
        """The packed model whose last node gives `output`."""
        self.nodes[-1].output[0] = "output"
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", *shape])
        taken = helper.make_tensor_value_info("output", TensorProto.FLOAT, None)
        assert output.startswith("v")
        graph = helper.make_graph(self.nodes, "small", [given], [taken], self.constants)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
        encoded = encode_tensors(self.tensors)
        params = sum(tensor.codes.size for tensor in self.tensors)
        header = Header("small", params, tuple(entry for entry, _ in encoded), InputSpec(shape))
        return PackedModel.of(header, proto.SerializeToString(), [data for _, data in encoded])


def residual() -> PackedModel:
    """Signs of all strides, a shortcut of slices and zeros, a mean over the map, a fully connected layer."""
    net = Builder(1)
    x = net.node("Relu", net.conv("input", (8, 6, 3, 3), "sign"))
    y = net.node("Relu", net.conv(x, (12, 8, 3, 3), "sign", strides=[2, 2]))
    y = net.conv(y, (12, 12, 5, 5), "sign", pad=2)
    starts, ends, axes, steps = ([0, 0], [99, 99], [2, 3], [2, 2])
    short = net.node("Slice", x, *(net.constant(each) for each in (starts, ends, axes, steps)))
    short = net.node("Pad", short, net.constant([0, 2, 0, 0, 0, 2, 0, 0]))
    x = net.node("Relu", net.node("Add", y, short))
    y = net.conv(x, (12, 4, 3, 3), "sign", group=3)
    x = net.node("Add", net.conv(y, (12, 12, 3, 3), "float"), x)
    x = net.node("ReduceMean", x, net.constant([2, 3]), keepdims=0)
    return net.model(net.node("Gemm", x, net.weight((10, 12)), net.bias(10), transB=1))


def forms() -> PackedModel:
    """Dense, sparse, shared and float weights; depthwise, dilated, grouped; pooling of all kinds; a map made flat."""
    net = Builder(2)
    x = net.node("Relu", net.conv("input", (10, 6, 3, 3), "sparse"))
    a = net.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    b = net.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=0)
    c = net.node("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)
    x = net.node("Concat", a, b, c, axis=1)
    x = net.node(
        "Clip",
        net.conv(x, (30, 1, 3, 3), "integer", group=30),
        net.constant(0.0, np.float32),
        net.constant(1.5, np.float32),
    )
    x = net.conv(x, (16, 15, 3, 3), "codebook", pad=2, group=2, dilations=[2, 2])
    x = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    x = net.node("Flatten", x)
    x = net.node("Relu", net.node("Gemm", x, net.weight((20, 16 * 9), "sparse"), net.bias(20), transB=1))
    return net.model(net.node("Gemm", x, net.weight((7, 20), "float"), transB=1))


def functions() -> PackedModel:
    """Functions of one number, squeeze and excitation, norms, channels in another order, constants that are added."""
    net = Builder(3)
    x = net.conv("input", (8, 6, 1, 1), "float", pad=0)
    gate = net.node("GlobalAveragePool", x)
    gate = net.node("Sigmoid", net.conv(gate, (8, 8, 1, 1), "float", pad=0))
    x = net.node("Mul", x, gate)
    norm = [net.constant(net.random.uniform(0.5, 1.5, 8) * sign, np.float32) for sign in (-1, 1, 1, 1)]
    x = net.node("HardSwish", net.node("BatchNormalization", x, *norm))
    x = net.node("Gather", x, net.constant([7, 1, 2, 3, 4, 5, 6, 0, 3]), axis=1)
    x = net.node("Mul", x, net.constant(net.random.normal(0, 1, (9, 1, 1)), np.float32))
    x = net.node("Sub", net.constant([1.0], np.float32), x)
    net.node("Split", x, net.constant([4, 5]), axis=1, outputs=2)
    first, second = net.nodes[-1].output
    y = net.node("Concat", net.node("LeakyRelu", first, alpha=0.1), second, axis=1)
    x = net.node("Add", y, net.node("ReduceMax", y, net.constant([2, 3])))
    return net.model(net.node("Sub", x, y))


def normalized() -> PackedModel:
    """Local response normalization, as an operator of its own and in the nodes that torch makes of it."""
    net = Builder(4)
    x = net.node("Relu", net.conv("input", (9, 6, 3, 3)))
    x = net.node("LRN", x, size=3, alpha=0.5, beta=0.6, bias=2.0)
    x = net.conv(x, (7, 9, 3, 3))
    one, rest, count = net.constant([1]), net.constant([-1]), net.constant([7])
    batch, places = net.node("Shape", x, start=0, end=1), net.constant([SHAPE[1]])
    y = net.node(
        "Reshape", net.node("Mul", x, x), net.node("Concat", batch, one, count, places, rest, axis=0), allowzero=1
    )
    y = net.node("Pad", y, net.constant([0, 0, 2, 0, 0, 0, 0, 2, 0, 0]))
    y = net.node("AveragePool", y, kernel_shape=[5, 1, 1], strides=[1, 1, 1], count_include_pad=1)
    sides = net.node("Concat", batch, count, places, rest, axis=0)
    y = net.node("Reshape", net.node("Squeeze", y, one), sides, allowzero=1)
    y = net.node("Add", net.node("Mul", y, net.constant(0.3, np.float32)), net.constant(1.0, np.float32))
    x = net.node("Div", x, net.node("Pow", y, net.constant(0.75, np.float32)))
    return net.model(net.conv(x, (5, 7, 3, 3)))


NETWORKS = {"residual": residual, "forms": forms, "functions": functions, "normalized": normalized}
