"""Running the graph of an exported network node by node, so that each is known by the module it was made from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import fx, nn

__all__ = ["Origin", "follow"]

Origin = tuple[tuple[str, str], ...]
"""Paths and classes ("torch.nn.modules.rnn.GRU") of the modules that an operator was called from, innermost last."""


def follow(twin: nn.Module, at: Callable[[Origin], None]) -> None:
    """Have `at` told the origin of every node when the network runs; nothing for a network that is no graph."""
    if isinstance(twin, fx.GraphModule):
        twin.forward = _Run(twin, at).run


class _Run(fx.Interpreter):
    def __init__(self, twin: fx.GraphModule, at: Callable[[Origin], None]) -> None:
        super().__init__(twin)
        self.extra_traceback = False
        self._at = at

    def run_node(self, n: fx.Node) -> Any:
        """Run a node after telling where it is from."""
        stack = (n.meta.get("nn_module_stack") or {}).values()
        self._at(tuple((str(path), str(kind)) for path, kind in stack))
        return super().run_node(n)
