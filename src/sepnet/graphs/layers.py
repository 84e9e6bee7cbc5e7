"""What a layer is: which operators multiply with weights, which of their inputs these are, and how filters lie in them.

Who asks selects: counting takes all, quantizing what its codes fit, exporting what runtimes compute in integers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sepnet.graphs.onnx_graph import Node

__all__ = ["BIAS", "CONVS", "MATRICES", "RECURRENT", "WEIGHTS", "LayerNode", "factors", "read_layer", "views"]

WEIGHTS: dict[str, tuple[int, ...]] = {
    **{"Conv": (1,), "ConvTranspose": (1,), "ConvInteger": (1,), "QLinearConv": (3,)},
    **{"Gemm": (0, 1), "MatMul": (0, 1), "MatMulInteger": (0, 1), "QLinearMatMul": (0, 3)},
    **{"LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "Gather": (0,)},
}
"""Operators of layers, and which of their inputs may be weights: of a product of two matrices either."""
BIAS = {"Conv": 2, "ConvTranspose": 2, "QLinearConv": 8, "Gemm": 2, "LSTM": 3, "GRU": 3, "RNN": 3}
"""Which input they add."""
CONVS = frozenset({"Conv", "ConvTranspose", "ConvInteger", "QLinearConv"})
MATRICES = frozenset({"Gemm", "MatMul", "MatMulInteger", "QLinearMatMul"})
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})


@dataclass(frozen=True)
class LayerNode:
    """A convolution, or a product with a matrix, as its node says it.

    Attributes:
        op: its operator.
        input: name of the value that goes in.
        weight: name of what it is multiplied with, perhaps a turned weight, see `views`.
        bias: name of what is added, "" if nothing.
        filters: along which axis of `weight` its filters lie, in a matrix the first of the two from the end being 0.
        plain: whether it is the product and the bias, without factors, of an input that is not turned.
        groups: of a convolution.
        strides, dilations, pads: numbers as `sepnet.graphs.windows` takes them, () for the default.
        same: "" or an `auto_pad` of ONNX that pads.
    """

    op: str
    input: str
    weight: str
    bias: str = ""
    filters: int = 0
    plain: bool = True
    groups: int = 1
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    same: str = ""

    @property
    def is_conv(self) -> bool:
        """Whether it is a convolution of any kind."""
        return self.op in CONVS


def read_layer(node: Node) -> LayerNode | None:
    """The layer that a node is, its second factor taken for the weight; None for other operators, and of other domains.

    >>> read_layer(Node("Gemm", ("x", "w", "b"), ("y",)))
    LayerNode(op='Gemm', input='x', weight='w', bias='b', filters=1, plain=True, groups=1, strides=(), dilations=(), pads=(), same='')
    """
    names = factors(node.op, node.inputs)
    if len(names) < 2 or node.domain not in ("", "ai.onnx"):
        return None
    source, weight = names
    place = BIAS.get(node.op, len(node.inputs))
    bias = node.inputs[place] if place < len(node.inputs) else ""
    if node.op in MATRICES:
        plain = node.number("alpha", 1.0) == node.number("beta", 1.0) == 1.0 and not node.integer("transA")
        return LayerNode(node.op, source, weight, bias, int(not node.integer("transB")), plain)
    same = node.text("auto_pad", "NOTSET")
    return LayerNode(
        node.op,
        source,
        weight,
        bias,
        filters=int(node.op == "ConvTranspose"),
        groups=node.integer("group", 1),
        strides=node.integers("strides"),
        dilations=node.integers("dilations"),
        pads=node.integers("pads"),
        same=same if same.startswith("SAME") else "",
    )


def factors(op: str, inputs: Iterable[str]) -> list[str]:
    """Names of the two values that a convolution or a product multiplies, as many as there are; [] of other operators."""
    names = list(inputs)
    places = (0, *WEIGHTS[op]) if op in CONVS else WEIGHTS[op] if op in MATRICES else ()
    return [names[at] for at in places if at < len(names)]


def views(nodes: Iterable[Node], *ops: str) -> dict[str, Node]:
    """The nodes of those operators that only turn or cast what they are given, by the name of what they give."""
    return {node.outputs[0]: node for node in nodes if node.op in ops and node.inputs}
