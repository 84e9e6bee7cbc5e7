"""Nodes in an order in which each reads only what those before it give, as the standard asks and some converters do not write."""

from __future__ import annotations

from typing import Any

from sepnet.graphs.nodes import graphs, inner_graphs, reads
from sepnet.packing.passes.draft import Draft, count

__all__ = ["sort_nodes"]


def sort_nodes(draft: Draft) -> str:
    """Sort the nodes of each graph whose order is wrong; of those that may come next, the first comes first."""
    return count((sum(map(_sort, graphs(draft.graph))), "graphs sorted"))


def _sort(graph: Any) -> bool:
    nodes = list(graph.node)
    made = {name: at for at, node in enumerate(nodes) for name in node.output if name}
    needs = [{made[name] for name in _read(node) if name in made} - {at} for at, node in enumerate(nodes)]
    if all(at > max(before, default=-1) for at, before in enumerate(needs)):
        return False
    order: list[int] = []
    done: set[int] = set()
    for at in range(len(nodes)):
        waiting = [at]
        path: set[int] = set()
        while waiting:
            last = waiting[-1]
            first = sorted(needs[last] - done)
            if last in done or not first or last in path:
                waiting.pop()
                if last not in done:
                    order.append(last)
                    done.add(last)
            else:
                path.add(last)
                waiting += reversed(first)
    del graph.node[:]
    graph.node.extend(nodes[at] for at in order)
    return True


def _read(node: Any) -> set[str]:
    """Names that a node reads, those of values that graphs inside it take from outside included."""
    return {*node.input, *(name for part in inner_graphs(node) for name in reads(part))}
