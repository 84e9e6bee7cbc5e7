"""The network nouns: what a network is made of, layer by layer.  Plain numbers, no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, get_args

from sepnet.core.errors import UsageError

__all__ = [
    "KINDS",
    "SORT_KEYS",
    "BlockTotal",
    "Kind",
    "KindTotal",
    "LayerReport",
    "NetworkFactory",
    "NetworkReport",
    "SortKey",
    "sort_rows",
]

Kind = Literal["conv kxk", "conv 1x1", "depthwise", "fc", "norm", "other"]
KINDS: tuple[Kind, ...] = get_args(Kind)

SortKey = Literal["params", "macs", "bytes", "activations", "name"]
SORT_KEYS: tuple[SortKey, ...] = get_args(SortKey)

NetworkFactory = Callable[..., Any]
"""A catalogue entry: keyword arguments (num_classes, in_channels, ...) to a torch module."""


class _Sized:
    """What has params has bytes."""

    params: int

    @property
    def bytes(self) -> int:
        """Size at float32, 4 bytes a parameter."""
        return 4 * self.params


@dataclass(frozen=True)
class LayerReport(_Sized):
    """One layer, that is one module that owns parameters.

    Attributes:
        name: the module's path ("layer1.0.conv1"); "" is the network itself.
        kind: one of `KINDS`.
        weight_shape: shape of the weight, () if the layer has none, or several.
        params: learnable numbers, biases included; shared ones are counted where they appear first.
        macs: multiply-accumulates of its weights for one example, bias not counted; 0 where `counted` is False.
        output_shape: shape of its output (of several the first, of several calls the last), the batch of one left out.
        activation_bytes: bytes of all its outputs over all its calls, floats at 4 bytes each.
        counted: False if its macs could not be counted; `note` says why.
        note: what else there is to know: shared weights, groups, never run, not counted.
    """

    name: str
    kind: Kind
    weight_shape: tuple[int, ...]
    params: int
    macs: int
    output_shape: tuple[int, ...] = ()
    activation_bytes: int = 0
    counted: bool = True
    note: str = ""


@dataclass(frozen=True)
class KindTotal(_Sized):
    """Sum over the layers of one kind."""

    kind: Kind
    layers: int
    params: int
    macs: int
    activation_bytes: int = 0


@dataclass(frozen=True)
class BlockTotal(_Sized):
    """Sum over the layers whose paths begin alike; `name` is that beginning."""

    name: str
    layers: int
    params: int
    macs: int
    activation_bytes: int = 0


@dataclass(frozen=True)
class NetworkReport:
    """All layers of a network, in the order of its modules.

    Attributes:
        name: as the user asked for it.
        input_shape: shape of one example of the first input.
        layers: the rows.
        input_shapes: shapes of one example of all inputs; () stands for `input_shape` alone.
        input_types: types of the inputs ("float32", "int64"), as many; () where nobody looked.
        peak_activation_bytes: most bytes of activations alive at once, see docs/numbers.md; None if not known.
        activation_macs: multiply-accumulates in products of two activations (attention); not part of `macs`.
    """

    name: str
    input_shape: tuple[int, ...]
    layers: tuple[LayerReport, ...]
    input_shapes: tuple[tuple[int, ...], ...] = ()
    input_types: tuple[str, ...] = ()
    peak_activation_bytes: int | None = None
    activation_macs: int = 0

    def __post_init__(self) -> None:
        if not self.input_shapes:
            object.__setattr__(self, "input_shapes", (self.input_shape,))

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

    @property
    def activation_bytes(self) -> int:
        """Bytes of the outputs of all layers, floats at 4 bytes each; they are never alive all at once."""
        return sum(layer.activation_bytes for layer in self.layers)

    @property
    def uncounted(self) -> tuple[LayerReport, ...]:
        """The layers whose macs could not be counted."""
        return tuple(layer for layer in self.layers if not layer.counted)

    def by_kind(self) -> tuple[KindTotal, ...]:
        """Totals for each kind that occurs, in the order of `KINDS`."""
        rows = {kind: [layer for layer in self.layers if layer.kind == kind] for kind in KINDS}
        return tuple(KindTotal(kind, len(found), *_sums(found)) for kind, found in rows.items() if found)

    def by_block(self, depth: int = 1) -> tuple[BlockTotal, ...]:
        """Totals for each block, that is the layers whose paths share their first `depth` parts, in the network's order.

        Raises `UsageError` if `depth` is below 1.

        >>> layers = [LayerReport(name, "fc", (), 2, 1) for name in ("stem", "body.0.fc", "body.1.fc")]
        >>> [(b.name, b.layers, b.params) for b in NetworkReport("net", (1,), tuple(layers)).by_block()]
        [('stem', 1, 2), ('body', 2, 4)]
        """
        if depth < 1:
            raise UsageError(f"found depth {depth}; expected 1 or more")
        rows: dict[str, list[LayerReport]] = {}
        for layer in self.layers:
            rows.setdefault(".".join(layer.name.split(".")[:depth]), []).append(layer)
        return tuple(BlockTotal(name, len(found), *_sums(found)) for name, found in rows.items())

    def sorted_layers(self, key: SortKey) -> tuple[LayerReport, ...]:
        """The layers by name, or by a number, greatest first; equal ones stay in the network's order."""
        return sort_rows(self.layers, key)


Row = TypeVar("Row", LayerReport, BlockTotal)


def sort_rows(rows: Iterable[Row], key: SortKey) -> tuple[Row, ...]:
    """Rows by name, or by a number, greatest first; equal ones stay in their order."""
    if key == "name":
        return tuple(sorted(rows, key=lambda row: row.name))
    attribute = "activation_bytes" if key == "activations" else key
    return tuple(sorted(rows, key=lambda row: -int(getattr(row, attribute))))


def _sums(layers: Iterable[LayerReport]) -> tuple[int, int, int]:
    rows = list(layers)
    return sum(row.params for row in rows), sum(row.macs for row in rows), sum(row.activation_bytes for row in rows)
