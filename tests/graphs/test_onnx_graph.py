"""Nodes and initializers read and written without the onnx package, judged by the onnx package."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from sepnet.core.errors import FormatError
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.onnx_graph import Node, OnnxGraph, attribute
from sepnet.packing.restore import onnx_model

FILES = sorted(Path("zoo").glob("*.sepnet"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_read_and_written_again(file: Path) -> None:
    data = onnx_model(PackedModel.read(file))
    graph = OnnxGraph.decode(data)
    proto = onnx.load_from_string(data)
    for node in proto.graph.node:
        node.ClearField("name")
        node.ClearField("doc_string")
    assert onnx.load_from_string(graph.encode()) == proto
    assert graph.opset == proto.opset_import[0].version and graph.inputs == ("input",)
    wanted = [side.dim_value or None for side in proto.graph.input[0].type.tensor_type.shape.dim]
    assert list(graph.input_shape) == wanted
    for node, each in zip(graph.nodes, proto.graph.node, strict=True):
        assert (node.op, list(node.inputs), list(node.outputs)) == (each.op_type, each.input, each.output)
    for tensor in proto.graph.initializer:
        np.testing.assert_array_equal(graph.initializers[tensor.name], numpy_helper.to_array(tensor))


values = st.integers(-(2**63), 2**63 - 1) | st.floats(width=32, allow_nan=False) | st.binary(max_size=9)


@given(st.dictionaries(st.text("abc", min_size=1), values | st.tuples(st.integers(-9, 2**40), st.integers(-9, 9))))
def test_attributes(given_values: dict[str, int | float | bytes | tuple[int, ...]]) -> None:
    node = Node("Op", ("x", ""), ("y",), tuple(attribute(name, value) for name, value in given_values.items()))
    proto = onnx.NodeProto.FromString(node.encode())
    assert {each.name: helper.get_attribute_value(each) for each in proto.attribute} == {
        name: list(value) if isinstance(value, tuple) else value for name, value in given_values.items()
    }
    again = Node.decode(proto.SerializeToString())
    assert again == node
    for name, value in given_values.items():
        if isinstance(value, tuple):
            assert again.integers(name) == value
        elif isinstance(value, int):
            assert again.integer(name) == value
        elif isinstance(value, float):
            assert again.number(name, 0.5) == value


def test_graphs_inside_are_seen() -> None:
    arm = helper.make_graph([], "a", [], [])
    made = helper.make_node("If", ["c"], ["y"], then_branch=arm, else_branch=arm)
    assert Node.decode(made.SerializeToString()).holds_graphs
    assert not Node("Add", ("a", "b"), ("c",), (attribute("x", 2),)).holds_graphs


@given(st.data())
def test_a_damaged_graph(data: st.DataObject) -> None:
    graph = bytearray(PackedModel.read("zoo/resnet20-cifar10-ptq.sepnet").graph)
    for _ in range(data.draw(st.integers(1, 4))):
        graph[data.draw(st.integers(0, len(graph) - 1))] = data.draw(st.integers(0, 255))
    try:
        for node in OnnxGraph.decode(bytes(graph)).nodes:
            node.integers("perm"), node.integer("group"), node.number("alpha", 1.0), node.holds_graphs
    except FormatError as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=300))
def test_random_bytes(data: bytes) -> None:
    with pytest.raises(FormatError):
        OnnxGraph.decode(data)
