"""What the nodes of an ONNX graph say, read from its protobuf messages: settings, and the graphs inside.

Whoever has a message has the package onnx; here it is not imported.
"""

from __future__ import annotations

from typing import Any

__all__ = ["inner_graphs", "settings"]

_FIELDS = {1: "f", 2: "i", 3: "s", 4: "t", 5: "g", 6: "floats", 7: "ints", 8: "strings", 9: "tensors", 10: "graphs"}
"""Where an attribute holds its value, by its type: `AttributeProto.AttributeType` of onnx.proto3."""
_LISTS = 6
"""The first type of those that are lists."""


def settings(node: Any) -> dict[str, Any]:
    """The attributes of a NodeProto by name: int, float, bytes, a message, or a list of such.

    Those of other types, which no standard operator on tensors has, are left out.

    >>> import onnx
    >>> settings(onnx.helper.make_node("Conv", ["x", "w"], ["y"], group=2, pads=[0, 1], auto_pad="VALID"))
    {'auto_pad': b'VALID', 'group': 2, 'pads': [0, 1]}
    """
    found = {}
    for attribute in node.attribute:
        if attribute.type in _FIELDS:
            value = getattr(attribute, _FIELDS[attribute.type])
            found[attribute.name] = list(value) if attribute.type >= _LISTS else value
    return found


def inner_graphs(node: Any) -> list[Any]:
    """The graphs that If, Loop and Scan hold, each a GraphProto; those inside of these are not listed."""
    found = []
    for attribute in node.attribute:
        found += [attribute.g] if attribute.HasField("g") else []
        found += attribute.graphs
    return found
