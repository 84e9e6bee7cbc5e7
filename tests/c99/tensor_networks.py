"""Networks of a few operators each on tensors of any sides, as converters write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper
from small_networks import Builder, Floats, images

from sepnet.core.header import Header
from sepnet.core.packed_model import PackedModel
from sepnet.integer.lower import lower
from sepnet.integer.model import IntegerModel
from sepnet.packing.pack import encode_tensors
from sepnet.runtimes.activation_ranges import activation_ranges

MAP = (6, 8, 10)


class Net(Builder):
    """A builder whose networks take tensors of any sides and give any number of outputs."""

    def __init__(self, opset: int = 18) -> None:
        super().__init__(7)
        self.opset = opset

    def floats(self, *shape: int) -> str:
        """A constant of random numbers."""
        return self.constant(self.random.normal(0, 1, shape), np.float32)

    def layer(self, source: str, shape: tuple[int, ...], **attributes: Any) -> str:
        """A convolution with a bias."""
        return self.node("Conv", source, self.weight(shape, "float"), self.bias(shape[0]), **attributes)

    def packed(self, sides: Sequence[int], *outputs: str) -> PackedModel:
        """The packed model."""
        given = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", *sides])
        taken = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self.nodes, "tensors", [given], taken, self.constants)
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
        encoded = encode_tensors(self.tensors)
        params = sum(tensor.codes.size for tensor in self.tensors)
        header = Header("tensors", params, tuple(entry for entry, _ in encoded), None)
        return PackedModel.of(header, proto.SerializeToString(), [data for _, data in encoded])


@dataclass(frozen=True)
class Form:
    """Nodes that are built behind an input of these sides; they give the names of the outputs."""

    sides: tuple[int, ...]
    build: Callable[[Net], str | tuple[str, ...]]
    opset: int = 18

    def model(self) -> PackedModel:
        """The packed network."""
        net = Net(self.opset)
        outputs = self.build(net)
        return net.packed(self.sides, *((outputs,) if isinstance(outputs, str) else outputs))

    def inputs(self, count: int = 8, seed: int = 0) -> Floats:
        """Random inputs."""
        return images(count, self.sides, seed)

    def integer(self) -> IntegerModel:
        """The integer model, calibrated on random inputs."""
        model = self.model()
        return lower(model, activation_ranges(model, [{"input": self.inputs(16, 1)}]), self.sides)


def _detector(net: Net) -> tuple[str, str]:
    """Two heads over two maps, joined as detectors join them, with boxes around fixed places."""
    x = net.node("Relu", net.layer("input", (8, 6, 3, 3), pads=[1] * 4))
    y = net.node("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
    heads = []
    for numbers in (2, 4):
        parts = []
        for source in (x, y):
            head = net.layer(source, (3 * numbers, 8, 1, 1))
            head = net.node("Transpose", head, perm=[0, 2, 3, 1])
            sides = net.node("Concat", net.node("Shape", head, start=0, end=1), net.constant([-1, numbers]), axis=0)
            parts.append(net.node("Reshape", head, sides))
        heads.append(net.node("Concat", *parts, axis=1))
    places = net.floats(1, 300, 2)
    centre = net.node("Slice", heads[1], net.constant([0]), net.constant([2]), net.constant([2]))
    size = net.node("Slice", heads[1], net.constant([2]), net.constant([99]), net.constant([2]))
    centre = net.node("Add", net.node("Mul", centre, net.constant(0.3, np.float32)), places)
    size = net.node("Mul", net.node("Exp", net.node("Mul", size, net.constant(0.2, np.float32))), net.floats(1, 300, 2))
    return net.node("Softmax", heads[0], axis=2), net.node("Concat", centre, size, axis=2)


def _views(net: Net) -> str:
    """All that renames sides, some of it computed from shapes."""
    x = net.node("Relu", net.layer("input", (5, 6, 3, 3)))
    x = net.node("Transpose", x, perm=[0, 2, 3, 1])
    batch = net.node("Gather", net.node("Shape", x), net.constant(0), axis=0)
    batch = net.node("Unsqueeze", batch, net.constant([0]))
    x = net.node("Reshape", x, net.node("Concat", batch, net.constant([-1]), axis=0))
    x = net.node("Unsqueeze", net.node("Unsqueeze", x, net.constant([2])), net.constant([0]))
    x = net.node("Flatten", net.node("Squeeze", x, net.constant([0])))
    return net.node("Gemm", x, net.weight((9, 240)), net.bias(9), transB=1)


def _shuffled(net: Net) -> str:
    """Pixels out of channels, as Reshape, Transpose, Reshape."""
    x = net.layer("input", (12, 6, 3, 3), pads=[1] * 4)
    x = net.node("Reshape", x, net.constant([-1, 3, 2, 2, 8, 10]))
    x = net.node("Transpose", x, perm=[0, 1, 4, 2, 5, 3])
    x = net.node("Reshape", x, net.constant([-1, 3, 16, 20]))
    return net.layer(x, (4, 3, 3, 3))


def _last(op: str, opset: int = 18, **attributes: Any) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        x = net.node("GlobalAveragePool", net.layer("input", (20, 6, 3, 3)))
        x = net.node("Flatten", x)
        x = net.node("MatMul", x, net.constant(net.random.normal(0, 2, (20, 7)), np.float32))
        return net.node(op, net.node("Add", x, net.floats(7)), **attributes)

    return build


def _on_map(op: str, *constants: Callable[[Net], str], pad: int = 1, **attributes: Any) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        x = net.layer("input", (8, 6, 3, 3), pads=[pad] * 4)
        x = net.node(op, x, *(each(net) for each in constants), **attributes)
        return net.layer(x, (5, 8, 1, 1)) if op != "ReduceSum" else x

    return build


def _transposed(shape: tuple[int, ...], **attributes: Any) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        x = net.node("Relu", net.layer("input", (shape[0], 6, 1, 1)))
        filters = shape[1] * int(attributes.get("group", 1))
        return net.node("ConvTranspose", x, net.weight(shape, "float"), net.bias(filters), **attributes)

    return build


def _rows(net: Net) -> str:
    """1-D convolutions and pools."""
    x = net.node("Relu", net.layer("input", (12, 3, 5), strides=[2], pads=[2, 2]))
    x = net.node("MaxPool", x, kernel_shape=[2], strides=[2])
    x = net.layer(x, (12, 1, 3), group=12, pads=[1, 1])
    x = net.node("AveragePool", net.node("Relu", x), kernel_shape=[3], strides=[1], pads=[1, 1])
    x = net.node("ReduceMean", x, net.constant([2]), keepdims=0)
    return net.node("Gemm", x, net.weight((6, 12)), net.bias(6), transB=1)


def _channels_last(net: Net) -> str:
    """An image as TensorFlow has it, and back again."""
    x = net.node("Transpose", "input", perm=[0, 3, 1, 2])
    x = net.node("Relu", net.layer(x, (8, 3, 3, 3), pads=[1] * 4))
    x = net.node("Transpose", x, perm=[0, 2, 3, 1])
    x = net.node("Mul", x, net.floats(8))
    return net.node("MatMul", x, net.constant(net.random.normal(0, 0.5, (8, 4)), np.float32))


def _features(net: Net) -> str:
    """A vector through fully connected layers."""
    x = net.node(
        "Div", net.node("Sub", "input", net.floats(24)), net.constant(net.random.uniform(1, 2, 24), np.float32)
    )
    x = net.node("MatMul", x, net.constant(net.random.normal(0, 0.3, (24, 16)), np.float32))
    x = net.node("PRelu", net.node("Add", x, net.floats(16)), net.constant(net.random.uniform(0, 1, 16), np.float32))
    return net.node("Gemm", x, net.weight((5, 16)), net.bias(5), transB=1, alpha=0.5, beta=2.0)


def _reused(net: Net) -> tuple[str, str, str]:
    """Outputs that are read by others, one of them twice."""
    x = net.node("Relu", net.layer("input", (8, 6, 3, 3)))
    y = net.layer(x, (4, 8, 1, 1))
    return x, net.node("Sigmoid", y), y


def _gated(net: Net) -> str:
    """x * sigmoid(x) and a hard swish in nodes, with limits behind."""
    x = net.layer("input", (8, 6, 3, 3))
    x = net.node("Mul", x, net.node("Sigmoid", x))
    x = net.layer(x, (8, 8, 1, 1))
    gate = net.node(
        "Clip", net.node("Add", x, net.constant(3, np.float32)), *(net.constant(k, np.float32) for k in (0, 6))
    )
    x = net.node("Div", net.node("Mul", x, gate), net.constant(6, np.float32))
    y = net.layer(x, (8, 8, 1, 1))
    return net.node("Relu", net.node("Sub", y, net.node("Tanh", y)))


def _joined(axis: int) -> Callable[[Net], str]:
    def build(net: Net) -> str:
        x = net.layer("input", (6, 6, 3, 3), pads=[1] * 4)
        x = net.node("Concat", x, net.node("Relu", x), "input", axis=axis)
        return net.layer(x, (5, 18 if axis == 1 else 6, 3, 3))

    return build


def _slopes(net: Net) -> str:
    return net.constant(net.random.uniform(-0.5, 1, (8, 1, 1)), np.float32)


def _empty(net: Net) -> str:
    return ""


def _numbers(*numbers: float, kind: Any = np.int64) -> Callable[[Net], str]:
    return lambda net: net.constant(numbers, kind)


SCALES = _numbers(1, 1, 2, 1.5, kind=np.float32)
FORMS: dict[str, Form] = {
    "detector": Form(MAP, _detector),
    "views": Form(MAP, _views),
    "shuffled": Form(MAP, _shuffled),
    "rows": Form((3, 40), _rows),
    "long rows": Form((2, 1400), lambda net: net.layer(net.layer("input", (4, 2, 400), strides=[300], pads=[290, 290]), (3, 4, 2))),
    "channels last": Form((9, 7, 3), _channels_last),
    "features": Form((24,), _features),
    "gated": Form(MAP, _gated),
    "reused": Form(MAP, _reused),
    "softmax": Form(MAP, _last("Softmax", axis=-1)),
    "softmax of old": Form(MAP, _last("Softmax", axis=1), 11),
    "log softmax": Form(MAP, _last("LogSoftmax", axis=-1)),
    "softmax on a map": Form(MAP, lambda net: net.node("Softmax", net.layer("input", (9, 6, 3, 3)), axis=1)),
    "softmax along rows": Form(MAP, lambda net: net.node("Softmax", net.layer("input", (9, 6, 3, 3)), axis=3)),
    "slopes": Form(MAP, _on_map("PRelu", _slopes)),
    "limits": Form(MAP, lambda net: net.node("Max", net.constant(-0.2, np.float32), net.node("Min", net.layer("input", (8, 6, 3, 3)), net.constant([0.7], np.float32)))),
    "summed": Form(MAP, lambda net: net.node("Sum", net.layer("input", (6, 6, 1, 1)), "input")),
    "one slope": Form(MAP, _on_map("PRelu", _numbers(0.3, kind=np.float32))),
    "blocks to pixels": Form(MAP, lambda net: net.node("DepthToSpace", net.layer("input", (8, 6, 3, 3)), blocksize=2)),
    "pixels to blocks": Form(MAP, lambda net: net.layer(net.node("SpaceToDepth", "input", blocksize=2), (5, 24, 1, 1))),
    "nearest": Form(MAP, _on_map("Resize", _empty, SCALES, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor")),
    "nearest half": Form(MAP, _on_map("Resize", _empty, _empty, _numbers(13, 7), axes=[2, 3])),
    "linear": Form(MAP, _on_map("Resize", _empty, SCALES, mode="linear")),
    "linear corners": Form(MAP, _on_map("Resize", _empty, _empty, _numbers(15, 19), axes=[2, 3], mode="linear", coordinate_transformation_mode="align_corners")),
    "upsample": Form(MAP, _on_map("Upsample", _numbers(1, 1, 2, 3, kind=np.float32)), 9),
    "transposed 2 x 2": Form(MAP, _transposed((8, 5, 2, 2), strides=[2, 2])),
    "transposed 3 x 3": Form(MAP, _transposed((8, 5, 3, 3), strides=[2, 2], pads=[1] * 4, output_padding=[1, 1])),
    "transposed groups": Form(MAP, _transposed((8, 3, 4, 3), strides=[3, 1], pads=[1, 0, 2, 1], group=2, dilations=[1, 2])),
    "transposed same": Form(MAP, _transposed((8, 5, 3, 3), strides=[2, 2], auto_pad="SAME_UPPER")),
    "reflected": Form(MAP, _on_map("Pad", _numbers(0, 0, 2, 1, 0, 0, 3, 2), mode="reflect")),
    "edges": Form(MAP, _on_map("Pad", _numbers(0, 0, 2, 1, 0, 0, 0, 2), mode="edge")),
    "joined rows": Form(MAP, _joined(2)),
    "joined columns": Form(MAP, _joined(3)),
    "joined channels": Form(MAP, _joined(1)),
    "mean of rows": Form(MAP, _on_map("ReduceMean", _numbers(2))),
    "mean of columns": Form(MAP, _on_map("ReduceMean", _numbers(-1))),
    "sum of channels": Form(MAP, _on_map("ReduceSum", _numbers(1), keepdims=0)),
    "a constant map": Form(MAP, _on_map("Add", lambda net: net.floats(1, 1, 8, 10))),
    "a constant row": Form(MAP, _on_map("Mul", lambda net: net.floats(10))),
    "masked": Form(MAP, lambda net: net.node("Mul", net.layer("input", (8, 6, 1, 1)), net.node("Sigmoid", net.layer("input", (1, 6, 1, 1))))),
    "columns": Form(MAP, lambda net: net.layer(net.node("Slice", "input", net.constant([1, 2]), net.constant([9, 8]), net.constant([3, 2]), net.constant([2, 1])), (5, 6, 3, 3))),
    "split rows": Form(MAP, lambda net: (net.node("Split", net.layer("input", (8, 6, 1, 1)), net.constant([3, 5]), axis=2, outputs=2), net.nodes[-1].output[1])),
    "one of a side": Form(MAP, lambda net: net.node("Gather", net.layer("input", (8, 6, 1, 1)), net.constant(3), axis=2)),
}  # fmt: skip
"""Every network is held to the float one and its program to the reference."""
