"""Batch normalization: tensors of its own for each, and folding into the layer before it."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np

from sepnet.graphs.layers import LayerNode, read_layer
from sepnet.graphs.nodes import reads, settings
from sepnet.graphs.onnx_graph import Node
from sepnet.packing.graph import NORM_PARTS, Norm
from sepnet.packing.passes.draft import Draft, count

__all__ = ["fold_norms", "fold_numbers", "name_norms"]


def name_norms(draft: Draft) -> str:
    """Give the four tensors of each batch normalization the names that folding looks for, and to each its own."""
    graph, named = draft.graph, 0
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    taken = set(tensors) | {name for node in graph.node for name in (*node.input, *node.output)}
    for at, node in enumerate(node for node in graph.node if node.op_type == "BatchNormalization"):
        own = list(node.input[1:5])
        prefix = own[0].removesuffix(".weight")
        if not all(name in tensors for name in own) or own == _parts(prefix):
            continue
        prefix = _free(f"norm{at}", taken)
        for place, (name, part) in enumerate(zip(own, NORM_PARTS, strict=True), 1):
            copy = graph.initializer.add()
            copy.CopyFrom(tensors[name])
            copy.name = node.input[place] = f"{prefix}.{part}"
        named += 1
    return count((named, "batch normalizations given tensors of their own"))


def _free(word: str, taken: set[str]) -> str:
    while any(f"{word}.{part}" in taken for part in NORM_PARTS):
        word += "_"
    taken |= {f"{word}.{part}" for part in NORM_PARTS}
    return word


def fold_norms(draft: Draft) -> str:
    """Fold each batch normalization into the layer before it where nothing else sees that layer's output."""
    draft.norms = tuple(_fold(draft.proto, norm) for norm in _find(draft.proto, draft.names))
    folded = sum(bool(norm.weight) for norm in draft.norms)
    return count((folded, "batch normalizations folded"), (len(draft.norms) - folded, "left"))


def fold_numbers(draft: Draft) -> str:
    """Fold those norms into the numbers of the layers too, of which only those stay that the graph reads."""
    before = len(draft.state)
    named = {f"{norm.name}.{part}" for norm in draft.norms for part in NORM_PARTS}
    kept = draft.used | named | {norm.bias for norm in draft.norms}
    state = {name: array for name, array in draft.state.items() if name in kept}
    done, draft.state = [], dict(state)
    for norm in draft.norms:
        if norm.weight:
            factor, shift = norm.factor_and_shift(state)
            weight = state[norm.weight]
            by_filter = factor.reshape((-1,) + (1,) * (weight.ndim - 1))
            draft.state |= {norm.weight: (weight * by_filter).astype(np.float32), f"{norm.name}.bias": shift}
            if (codes := draft.codes.pop(norm.weight, None)) and not (codes.steps.ndim and codes.axis):
                draft.codes[norm.weight] = codes.times(factor)
            for name in (norm.bias, *(f"{norm.name}.{part}" for part in NORM_PARTS if part != "bias")):
                draft.state.pop(name, None)
        done.append(dataclasses.replace(norm, done=bool(norm.weight)))
    draft.norms = tuple(done)
    draft.weights &= draft.used
    draft.biases = draft.biases & draft.used | {f"{norm.name}.bias" for norm in done if norm.weight}
    return count((before - len(draft.state), "tensors gone"))


def _find(proto: Any, names: set[str]) -> tuple[Norm, ...]:
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
    return [f"{prefix}.{part}" for part in NORM_PARTS]


def _fold(proto: Any, norm: Norm) -> Norm:
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
