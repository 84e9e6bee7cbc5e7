"""The network nouns: what a network is made of, layer by layer.  Plain numbers, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

__all__ = ["KINDS", "Kind", "KindTotal", "LayerReport", "NetworkFactory", "NetworkReport"]

Kind = Literal["conv kxk", "conv 1x1", "depthwise", "fc", "norm", "other"]
KINDS: tuple[Kind, ...] = ("conv kxk", "conv 1x1", "depthwise", "fc", "norm", "other")

NetworkFactory = Callable[..., Any]
"""A catalogue entry: keyword arguments (num_classes, in_channels, ...) to a torch module."""


@dataclass(frozen=True)
class LayerReport:
    """One layer, that is one module that owns parameters.

    Attributes:
        name: the module's path ("layer1.0.conv1"); "" is the network itself.
        kind: one of `KINDS`.
        weight_shape: shape of the weight, () if the layer has none.
        params: learnable numbers, biases included; shared ones are counted where they appear first.
        macs: multiply-accumulates for one example, bias not counted.
    """

    name: str
    kind: Kind
    weight_shape: tuple[int, ...]
    params: int
    macs: int

    @property
    def bytes(self) -> int:
        """Size at float32, 4 bytes a parameter."""
        return 4 * self.params


@dataclass(frozen=True)
class KindTotal:
    """Sum over the layers of one kind."""

    kind: Kind
    layers: int
    params: int
    macs: int


@dataclass(frozen=True)
class NetworkReport:
    """All layers of a network, in the order of its modules."""

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerReport, ...]

    @property
    def params(self) -> int:
        """Learnable numbers of the whole network."""
        return sum(layer.params for layer in self.layers)

    @property
    def macs(self) -> int:
        """Multiply-accumulates for one example."""
        return sum(layer.macs for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Size at float32, 4 bytes a parameter."""
        return 4 * self.params

    def by_kind(self) -> tuple[KindTotal, ...]:
        """Totals for each kind that occurs, in the order of `KINDS`."""
        return tuple(
            _total(kind, [layer for layer in self.layers if layer.kind == kind])
            for kind in KINDS
            if any(layer.kind == kind for layer in self.layers)
        )


def _total(kind: Kind, layers: Iterable[LayerReport]) -> KindTotal:
    rows = list(layers)
    return KindTotal(kind, len(rows), sum(row.params for row in rows), sum(row.macs for row in rows))
