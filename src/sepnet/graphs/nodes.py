"""What the nodes of an ONNX graph say, read from its protobuf messages: settings, names, and the graphs inside.

Whoever has a message has the package onnx; here it is not imported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["graphs", "inner_graphs", "reads", "rename", "settings"]

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


def graphs(graph: Any) -> Iterator[Any]:
    """The graph, and every graph inside its nodes."""
    yield graph
    for node in graph.node:
        for inner in inner_graphs(node):
            yield from graphs(inner)


def reads(graph: Any) -> Counter[str]:
    """How often each value is read: by nodes, those of graphs inside included, and as an output."""
    found: Counter[str] = Counter()
    for part in graphs(graph):
        found.update(value.name for value in part.output)
        for node in part.node:
            found.update(node.input)
    return found


def rename(graph: Any, names: Mapping[str, str]) -> None:
    """Give values new names, in the graphs inside as well."""
    for part in graphs(graph):
        for value in (*part.input, *part.output, *part.initializer):
            value.name = names.get(value.name, value.name)
        for node in part.node:
            for old in (node.input, node.output):
                new = [names.get(name, name) for name in old]
                del old[:]
                old.extend(new)
