"""Nodes on constants worked out without the onnx package, judged by its reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from sepnet.core.errors import FormatError
from sepnet.graphs.constants import EVALUATED, evaluate
from sepnet.graphs.onnx_graph import Node

BOX = np.arange(24).reshape(2, 3, 4)
ONE, FLOATS = np.array([3, -7, 5]), np.float32([[1.5, -2.5], [0.25, 9]])
AXES = np.array([0, 2])
TENSOR = numpy_helper.from_array(np.array([7], np.int32))
CASES: dict[str, list[tuple[int, list[Any], dict[str, Any]]]] = {
    "Constant": [(18, [], each) for each in ({"value": TENSOR}, {"value_ints": [1, -2]}, {"value_float": 2.5})],
    "ConstantOfShape": [(18, [np.array([2, 3])], {"value": TENSOR}), (18, [np.array([2])], {})],
    "Div": [(18, [ONE, np.array([2])], {}), (18, [FLOATS, np.float32(2)], {})],
    "Mod": [(18, [ONE, np.array([4])], {}), (18, [ONE, np.array([4])], {"fmod": 1})],
    "Max": [(18, [ONE, np.array([4])], {})],
    "Min": [(18, [ONE, np.array([4]), np.array([-1])], {})],
    "Concat": [(18, [BOX, BOX], {"axis": -1})],
    "Cast": [(18, [FLOATS], {"to": 7}), (18, [ONE], {"to": 11}), (18, [ONE], {"to": 10})],
    "Identity": [(18, [ONE], {})],
    "Gather": [(18, [BOX, np.array([[1, -1]])], {"axis": 2})],
    "Transpose": [(18, [BOX], {}), (18, [BOX], {"perm": [1, 0, 2]})],
    "Reshape": [(18, [BOX, np.array([0, -1])], {})],
    "Squeeze": [(18, [BOX[:1, :, :1], AXES], {}), (11, [BOX[:1]], {"axes": [0]}), (18, [BOX[:1]], {})],
    "Unsqueeze": [(18, [ONE, AXES], {}), (11, [ONE], {"axes": [0, 2]})],
    "Slice": [
        (18, [BOX, np.array([1]), np.array([2**62]), np.array([2]), np.array([2])], {}),
        (18, [BOX, np.array([-1]), np.array([-(2**62)]), np.array([1]), np.array([-1])], {}),
        (18, [BOX, np.array([0, 1]), np.array([1, 9])], {}),
        (18, [BOX, np.array([0]), np.array([2]), None, np.array([2])], {}),
        (9, [BOX], {"starts": [1], "ends": [3], "axes": [1]}),
    ],
    "Expand": [(18, [ONE, np.array([2, 1])], {})],
    "Tile": [(18, [BOX, np.array([1, 2, 1])], {})],
    "Range": [(18, [np.array(3), np.array(-4), np.array(-2)], {})],
    "Where": [(18, [np.array([True, False, True]), ONE, np.array([1])], {})],
    "Shape": [(18, [BOX], {}), (18, [BOX], {"start": 1}), (18, [BOX], {"start": 0, "end": -1})],
    "Size": [(18, [BOX], {})],
    "Sqrt": [(18, [np.abs(FLOATS)], {})],
    **{op: [(18, [FLOATS], {})] for op in ("Abs", "Ceil", "Floor", "Neg")},
    **{op: [(18, [ONE, np.array([2])], {}), (18, [FLOATS, np.float32(2)], {})] for op in ("Add", "Sub", "Mul", "Pow")},
    "Equal": [(18, [ONE, np.array([5])], {})],
    **{
        op: [(18, [BOX.astype(np.int32), np.array([1])], {"keepdims": 0}), (11, [BOX], {"axes": [0, 2]})]
        for op in ("ReduceMax", "ReduceMin", "ReduceProd", "ReduceSum")
    },
}


def test_every_operator_has_a_case() -> None:
    assert CASES.keys() == EVALUATED


@pytest.mark.parametrize("op", CASES)
def test_as_the_reference(op: str) -> None:
    for opset, given, attributes in CASES[op]:
        if op in ("ReduceMax", "ReduceMin", "ReduceProd") and opset == 11:
            opset = 13
        names = ["" if each is None else f"x{at}" for at, each in enumerate(given)]
        proto = helper.make_node(op, names, ["y"], **attributes)
        inputs = [helper.make_empty_tensor_value_info(name) for name in names if name]
        graph = helper.make_graph([proto], "g", inputs, [helper.make_empty_tensor_value_info("y")])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        feed = {name: each for name, each in zip(names, given, strict=True) if name}
        wanted = ReferenceEvaluator(model).run(None, feed)[0]
        if op == "Div" and given[0].dtype.kind == "i":
            wanted = np.array([1, -3, 2])  # the reference rounds down, the standard says towards zero
        found = evaluate(Node.decode(proto.SerializeToString()), given)
        np.testing.assert_array_equal(found, wanted)
        assert (found.shape, found.dtype) == (np.shape(wanted), np.asarray(wanted).dtype)


@pytest.mark.parametrize(
    "node",
    [
        helper.make_node("Expand", ["x0", "x1"], ["y"]),
        helper.make_node("Tile", ["x0", "x1"], ["y"]),
        helper.make_node("ConstantOfShape", ["x1"], ["y"]),
    ],
)
def test_a_few_bytes_do_not_fill_the_memory(node: onnx.NodeProto) -> None:
    given = {"x0": np.zeros(1, np.int64), "x1": np.array([1 << 40])}
    with pytest.raises(FormatError, match="1,099,511,627,776 numbers"):
        evaluate(Node.decode(node.SerializeToString()), [given[name] for name in node.input])
