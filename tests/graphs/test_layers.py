"""What a node says of the layer that it is."""

from __future__ import annotations

from typing import Any

import pytest
from onnx import helper

from sepnet.graphs.layers import BIAS, CONVS, MATRICES, RECURRENT, WEIGHTS, factors, read_layer
from sepnet.graphs.onnx_graph import Node


def node(op: str, *names: str, domain: str = "", **attributes: Any) -> Node:
    return Node.of(helper.make_node(op, names, ["y"], domain=domain, **attributes))


def test_where_filters_lie() -> None:
    filters = {
        0: [node("Conv", "x", "w"), node("Gemm", "x", "w", transB=1)],
        1: [node("ConvTranspose", "x", "w"), node("Gemm", "x", "w"), node("MatMul", "x", "w")],
    }
    for axis, nodes in filters.items():
        assert [layer and layer.filters for layer in map(read_layer, nodes)] == [axis] * len(nodes)


@pytest.mark.parametrize("more", [{"alpha": 0.5}, {"beta": 2.0}, {"transA": 1}])
def test_a_product_with_more_to_it_is_not_plain(more: dict[str, Any]) -> None:
    plain, other = read_layer(node("Gemm", "x", "w", "b")), read_layer(node("Gemm", "x", "w", "b", **more))
    assert plain and plain.plain and plain.bias == "b"
    assert other and not other.plain


def test_what_a_convolution_says() -> None:
    found = read_layer(node("Conv", "x", "w", "b", group=4, strides=[2, 1], pads=[1, 0, 1, 0], auto_pad="NOTSET"))
    assert found and (found.groups, found.strides, found.pads, found.dilations) == (4, (2, 1), (1, 0, 1, 0), ())
    same = read_layer(node("Conv", "x", "w", auto_pad="SAME_LOWER"))
    assert same and (same.same, same.bias) == ("SAME_LOWER", "")


def test_what_is_no_layer() -> None:
    assert read_layer(node("Add", "x", "w")) is None
    assert read_layer(node("Conv", "x", "w", domain="other")) is None
    assert read_layer(node("QLinearConv", "x")) is None


def test_the_weight_of_integers_lies_elsewhere() -> None:
    names = [f"i{at}" for at in range(9)]
    found = read_layer(node("QLinearConv", *names))
    assert found and (found.input, found.weight, found.bias) == ("i0", "i3", "i8")
    assert factors("QLinearMatMul", names) == ["i0", "i3"]


def test_the_tables_speak_of_the_same_operators() -> None:
    assert CONVS | MATRICES | RECURRENT | {"Gather"} == WEIGHTS.keys()
    assert BIAS.keys() < WEIGHTS.keys()
