"""Surgery on an ONNX graph: find batch normalizations and fold them into the layer before them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from sepnet.graphs.layers import LayerNode, read_layer
from sepnet.graphs.nodes import inner_graphs, settings
from sepnet.graphs.onnx_graph import Node
from sepnet.packing.graph import Norm

__all__ = ["drop_defaults", "find_norms", "fold", "graphs", "reads", "rename", "simplify"]


def find_norms(proto: Any, names: set[str]) -> tuple[Norm, ...]:
    """The batch normalizations whose four tensors are entries of the state dict that nothing else reads, each once.

    One that is called several times is one norm; if it normalizes by the batch at hand, or with more than one epsilon, it
    is none.
    """
    read = reads(proto.graph)
    found: dict[str, set[Norm]] = {}
    calls: Counter[str] = Counter()
    for node in proto.graph.node:
        if node.op_type == "BatchNormalization" and all(name in names for name in node.input[1:5]):
            prefix = node.input[1].removesuffix(".weight")
            given = settings(node)
            if list(node.input[1:5]) == _parts(prefix) and not given.get("training_mode"):
                eps = float(str(np.float32(given.get("epsilon", 1e-5))))
                found.setdefault(prefix, set()).add(Norm(prefix, eps))
                calls[prefix] += 1
    return tuple(
        norm
        for prefix, kinds in found.items()
        for norm in kinds
        if len(kinds) == 1 and all(read[name] == calls[prefix] for name in _parts(prefix))
    )


def _parts(prefix: str) -> list[str]:
    return [f"{prefix}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]


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


def fold(proto: Any, norm: Norm) -> Norm:
    """Fold `norm` into the convolution or fully connected layer before it, when nothing else sees that layer's output.

    The norm's node goes, and the layer adds `<norm>.bias` instead of its own.  Returns where it went; unchanged if it stays.
    """
    graph = proto.graph
    read = reads(graph)
    nodes = [
        node for node in graph.node if node.op_type == "BatchNormalization" and node.input[1] == f"{norm.name}.weight"
    ]
    if len(nodes) != 1:
        return norm
    node = nodes[0]
    before = next((other for other in graph.node if node.input[0] in other.output), None)
    if before is None or read[node.input[0]] != 1 or any(read[name] for name in node.output[1:]):
        return norm
    weights = {value.name for value in graph.input}
    layer = _foldable(before)
    if layer is None or layer.weight not in weights or read[layer.weight] != 1:
        return norm
    if layer.bias and (layer.bias not in weights or read[layer.bias] != 1):
        return norm
    del before.input[:]
    before.input.extend([layer.input, layer.weight, f"{norm.name}.bias"])
    before.output[0] = node.output[0]
    graph.node.remove(node)
    return dataclasses.replace(norm, weight=layer.weight, bias=layer.bias)


def _foldable(node: Any) -> LayerNode | None:
    """A layer whose filters come first, so that a factor a filter can go into its weight."""
    layer = read_layer(Node.of(node)) if node.op_type in ("Conv", "Gemm") else None
    return layer if layer and layer.plain and layer.filters == 0 else None


def simplify(proto: Any) -> None:
    """Drop biases that are constant zeros, identities, and nodes and constants that nothing reads."""
    graph = proto.graph
    constants = _constants(graph)
    for node in graph.node:
        if (
            node.op_type in ("Conv", "Gemm")
            and len(node.input) > 2
            and node.input[2] in constants
            and not np.any(constants[node.input[2]])
        ):
            del node.input[2:]
    _drop_identities(graph)
    while True:
        read = reads(graph)
        dead = [node for node in graph.node if not any(name in read for name in node.output)]
        if not dead:
            break
        for node in dead:
            graph.node.remove(node)
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def drop_defaults(proto: Any) -> None:
    """Drop the attributes that only repeat the operator's default."""
    import onnx

    opset = next(entry.version for entry in proto.opset_import if not entry.domain)
    for node in proto.graph.node:
        known = onnx.defs.get_schema(node.op_type, opset).attributes
        for attribute in list(node.attribute):
            default = known[attribute.name].default_value if attribute.name in known else None
            value = onnx.helper.get_attribute_value(attribute)
            same = default is not None and default.type and value == onnx.helper.get_attribute_value(default)
            if (
                same
                or (attribute.name == "dilations" and set(value) == {1})
                or (attribute.name == "kernel_shape" and node.op_type == "Conv")
            ):
                node.attribute.remove(attribute)


def _constants(graph: Any) -> dict[str, np.ndarray]:
    import onnx

    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            found[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    return found


def _drop_identities(graph: Any) -> None:
    outputs = {value.name for value in graph.output}
    for node in [node for node in graph.node if node.op_type == "Identity" and node.output[0] not in outputs]:
        graph.node.remove(node)
        rename(graph, {node.output[0]: node.input[0]})
