"""Short names, and nothing that only people read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sepnet.graphs.nodes import graphs, reads, rename
from sepnet.packing.passes.draft import Draft, count

__all__ = ["call", "shorten"]


NAMELESS = ("?", "-1", "None", "")
"""Names that exporters give a free side that has none."""


def shorten(draft: Draft) -> str:
    """Drop the lifted inputs and everything that only people read; give values short names."""
    proto, names, keep_ends = draft.proto, draft.names, draft.keep_ends
    inputs = [value for value in proto.graph.input if value.name not in names]
    draft.used = frozenset(names & reads(proto.graph).keys())
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    ends = {value.name for value in (*inputs, *proto.graph.output)} if keep_ends else set()
    call(proto.graph, {name: name for name in names | ends})
    for graph in graphs(proto.graph):
        for field in ("value_info", "metadata_props"):
            del getattr(graph, field)[:]
        for node in graph.node:
            node.name = node.doc_string = ""
            del node.metadata_props[:]
        for value in (*graph.input, *graph.output):
            del value.metadata_props[:]
            for side in value.type.tensor_type.shape.dim:
                _free(side, keep_ends)
        graph.name, graph.doc_string = "n", ""
    proto.doc_string = proto.producer_name = proto.producer_version = ""
    del proto.metadata_props[:]
    return count((len(draft.used), "tensors referred to by name"))


def _free(side: Any, keep_name: bool) -> None:
    """A side is free that has a name, or a size below 1 as some exporters write it."""
    if side.dim_param and not keep_name:
        side.dim_param = "n"
    elif keep_name and (side.dim_param in NAMELESS if side.HasField("dim_param") else side.dim_value < 1):
        side.Clear()


def call(graph: Any, weights: Mapping[str, str]) -> None:
    """Give the weights the names they shall have, and all other values short ones."""
    short, taken = dict(weights), set(weights.values())

    def give(name: str, word: str) -> None:
        while word in taken:
            word += "_"
        short.setdefault(name, word)

    for values, word in ((graph.input, "input"), (graph.output, "output")):
        for at, value in enumerate(value for value in values if value.name not in weights):
            give(value.name, f"{word}{at or ''}")
    for part in graphs(graph):
        for value in (*part.input, *part.initializer):
            give(value.name, f"k{len(short) - len(weights)}")
        for node in part.node:
            for name in filter(None, node.output):
                give(name, f"v{len(short) - len(weights)}")
    rename(graph, short)
