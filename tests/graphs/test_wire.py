"""Weights into a graph without the onnx package, judged by the onnx package."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from onnx import TensorProto, helper, numpy_helper

from sepnet.core.errors import FormatError
from sepnet.graphs.wire import names_used, with_weights


def graph_of(nodes: list[onnx.NodeProto]) -> bytes:
    """A model of these nodes."""
    graph = helper.make_graph(nodes, "g", [], [])
    return bytes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString())


shapes = arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
weights = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=200),
    arrays.arrays(np.float32, shapes) | arrays.arrays(np.int64, shapes),
    max_size=4,
)


@given(weights)
def test_onnx_finds_the_same_weights(given_weights: dict[str, np.ndarray]) -> None:
    graph = graph_of([helper.make_node("Relu", ["x"], ["y"])])
    proto = onnx.load_from_string(with_weights(graph, given_weights))
    found = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    assert list(found) == list(given_weights)
    for name, array in given_weights.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(found[name], array)
    del proto.graph.initializer[:]
    assert proto == onnx.load_from_string(graph)


def test_weights_that_do_not_lie_in_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    proto = onnx.load_from_string(with_weights(b"", {"w": array, "b": array.astype(">f4").astype(np.float32)[::2]}))
    for tensor, wanted in zip(proto.graph.initializer, (array, array[::2]), strict=True):
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), wanted)


def test_names_in_graphs_inside() -> None:
    out = helper.make_tensor_value_info("o", TensorProto.FLOAT, [])
    inner = helper.make_node("Add", ["inner.a", "inner.b"], ["o"])
    arm = helper.make_graph([inner], "arm", [], [out])
    other = helper.make_graph([helper.make_node("If", ["c"], ["o"], then_branch=arm, else_branch=arm)], "x", [], [out])
    body_inputs = [
        helper.make_tensor_value_info("i", TensorProto.INT64, []),
        helper.make_tensor_value_info("go", TensorProto.BOOL, []),
    ]
    body = helper.make_graph([helper.make_node("Mul", ["loop.w", "i"], ["o"])], "body", body_inputs, [out])
    nodes = [
        helper.make_node("If", ["condition"], ["y"], then_branch=arm, else_branch=other),
        helper.make_node("Loop", ["count", "", "start"], ["z"], body=body),
        helper.make_node("Clip", ["x", "", "most"], ["w"]),
    ]
    expected = {"condition", "inner.a", "inner.b", "c", "loop.w", "i", "count", "start", "x", "most", "o", ""}
    assert names_used(graph_of(nodes)) == expected


def test_an_output_of_an_arm_may_be_a_weight() -> None:
    out = helper.make_tensor_value_info("weight", TensorProto.FLOAT, [])
    arm = helper.make_graph([], "arm", [], [out])
    assert "weight" in names_used(graph_of([helper.make_node("If", ["c"], ["y"], then_branch=arm, else_branch=arm)]))


def test_names_in_functions() -> None:
    function = helper.make_function("d", "f", ["a"], ["b"], [helper.make_node("Relu", ["a"], ["b"])], [])
    graph = helper.make_graph([helper.make_node("f", ["x"], ["y"], domain="d")], "g", [], [])
    assert names_used(helper.make_model(graph, functions=[function]).SerializeToString()) == {"a", "x"}


@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    try:
        assert isinstance(names_used(data), set)
    except FormatError as error:
        assert "\n" not in str(error)


@given(st.data())
def test_a_damaged_graph(data: st.DataObject) -> None:
    graph = bytearray(graph_of([helper.make_node("If", ["c"], ["y"], then_branch=helper.make_graph([], "a", [], []))]))
    for _ in range(data.draw(st.integers(1, 4))):
        graph[data.draw(st.integers(0, len(graph) - 1))] = data.draw(st.integers(0, 255))
    test_random_bytes.hypothesis.inner_test(bytes(graph))


@pytest.mark.parametrize("depth", [25, 5000])
def test_deep_nesting(depth: int) -> None:
    data = b""
    for _ in range(depth):  # graph in attribute in node in graph ...
        for key in (0x32, 0x2A, 0x0A):
            size, length = len(data), b""
            while size > 127:
                length, size = length + bytes([size & 127 | 128]), size >> 7
            data = bytes([key]) + length + bytes([size]) + data
    size, length = len(data), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    with pytest.raises(FormatError, match="nested"):
        names_used(b"\x3a" + length + bytes([size]) + data)
