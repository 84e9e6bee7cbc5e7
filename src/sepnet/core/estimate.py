"""The estimate nouns: what a network would become before anyone trains.  Plain numbers, no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sepnet.core.recipe import Recipe, Rule

__all__ = ["NETWORK", "TYPICAL", "Accounting", "FileEstimate", "TalkAccounting", "WhatIf", "WhatIfRow"]

NETWORK = "network"
"""The scope of a row that speaks of the whole network; other scopes are kinds of layers."""

TYPICAL = "typical trained weights (logistic distribution)"
"""What an estimate without weights is measured on."""


@dataclass(frozen=True)
class FileEstimate:
    """Size of the packed file that a recipe without stages would leave.

    Attributes:
        tensors: bytes of each layer's tensors (codes, scales, checksums) by layer; a folded norm counts with its layer.
        header: bytes of the header and the fixed part.
        graph: bytes of the graph, a guess from the number of layers.
    """

    tensors: Mapping[str, int]
    header: int
    graph: int

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return sum(self.tensors.values()) + self.header + self.graph


@dataclass(frozen=True)
class WhatIfRow:
    """What one method would leave of a network.

    Attributes:
        method: "prune", "linear 8 bits", "groups x4", ...
        scope: the kind of layers that the method is applied to, or "network" for every layer that it suits.
        layers: those layers.
        params: learnable numbers of the whole network afterwards; pruned ones do not count.
        macs: of the whole network; pruning and quantizing leave them as they are, see docs/numbers.md.
        part_before: bytes of the weights of `layers` at float32.
        part: bytes of those layers in the file, with scales, indices, biases and checksums.
        bytes: size of the whole file; layers without the method are kept in binary16.
        ratio: bytes of the whole network at float32, over `bytes`.
        rules: what a recipe says to get this; empty for a change of structure, which means another network.
    """

    method: str
    scope: str
    layers: tuple[str, ...]
    params: int
    macs: int
    part_before: int
    part: int
    bytes: int
    ratio: float
    rules: tuple[Rule, ...] = ()

    @property
    def recipe(self) -> Recipe:
        """The recipe without stages that makes this file; without rules it keeps all weights in binary16."""
        return Recipe(f"{self.method}, {self.scope}", rule=self.rules, name="what-if")


@dataclass(frozen=True)
class WhatIf:
    """What each method would save, a row a method and a scope.

    Attributes:
        network, params, macs: of the network as it is.
        measured_on: where the sizes come from: "its weights", or `TYPICAL` ones.
        coded, weights: how many weights were really coded, of how many; the rest is scaled up from those.
        rows: by scope, the whole network first; the first row keeps every weight in binary16.
    """

    network: str
    params: int
    macs: int
    measured_on: str
    coded: int
    weights: int
    rows: tuple[WhatIfRow, ...]

    @property
    def bytes(self) -> int:
        """Size at float32, 4 bytes a parameter."""
        return 4 * self.params

    def row(self, method: str, scope: str = NETWORK) -> WhatIfRow:
        """The row of a method and a scope.  `KeyError` if there is none."""
        for row in self.rows:
            if (row.method, row.scope) == (method, scope):
                return row
        raise KeyError(f"{method} of {scope}")


@dataclass(frozen=True)
class Accounting:
    """One way to count a network whose patterns are binarized.

    Attributes:
        label: what is counted, in a few words.
        numbers: float32 numbers that would take as many bits; a part of one counts as one.
        formula: how it adds up.
        talk: whether this is how the talk counts.
    """

    label: str
    numbers: int
    formula: str
    talk: bool = False


@dataclass(frozen=True)
class TalkAccounting:
    """The talk's "6.99 M -> 4.43 M" for any network, beside other ways to count.

    Attributes:
        network: its name.
        weights, params: without and with biases and norms.
        layers: whose kernels become patterns in the talk's way.
        rows: the talk's way first.
        explanation: sentences for whoever reads the figures.
    """

    network: str
    weights: int
    params: int
    layers: tuple[str, ...]
    rows: tuple[Accounting, ...]
    explanation: tuple[str, ...] = field(default=())
