"""How the weights of layers are held as integers, so that every processor computes the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from sepnet.core.exporter import WeightsRow
from sepnet.exporters.onnx.model import OnnxNetwork
from sepnet.exporters.onnx.saturating_run import SaturatingRun
from sepnet.exporters.onnx.saturation import can_saturate
from sepnet.exporters.onnx.weights import IntegerKind
from sepnet.quantizing.activations import Run
from sepnet.runtimes.activation_ranges import Range

__all__ = ["Kinds", "Weights", "WeightsChoice"]

Kinds = Mapping[str, IntegerKind]
Weights = Literal["auto", "int8", "uint8", "int7"]
MOST_LOST = 1e-6
"""Share of a layer's outputs, in squares, that saturation may change before its weights become uint8 (60 dB)."""
MOST_DB = 0.5
"""What saturation may cost the outputs before the weights of all layers that can saturate become uint8."""


@dataclass(frozen=True)
class WeightsChoice:
    """What ways to hold integer weights give on images.

    Everything is computed in floats, and with simulated sums, so a choice is the same on every processor.

    Args:
        network, ranges: what is written, and the ranges of its activations.
        packed: whether it is written packed, for the bytes.
        images: how many `noise` looks at.
        noise: from what is tried and how it is run to the signal-to-noise ratio of its outputs, in dB.
    """

    network: OnnxNetwork
    ranges: Mapping[str, Range]
    packed: bool
    images: int
    noise: Callable[[str, Run], float]

    def choose(self, wanted: Weights = "auto") -> tuple[Kinds, tuple[WeightsRow, ...]]:
        """How each weight is held, by name (int8 where none is given), and what was tried.

        "uint8" and "int7" hold all weights so whose sums of two products can leave 16 bits; the others have no need of it.
        "auto" takes int8 where they cannot, or where that changes next to nothing, and elsewhere uint8.
        """
        layers = self.network.written(False, self.ranges).layers
        danger = tuple(dict.fromkeys(layer.weight for layer in layers if can_saturate(layer)))
        if wanted == "auto" and danger:
            return self._automatic(danger)
        kind: IntegerKind = "int8" if wanted == "auto" else wanted
        kinds: Kinds = {} if kind == "int8" else dict.fromkeys(danger, kind)
        row, _ = self._try(kinds, kind)
        return kinds, (replace(row, chosen=True),)

    def _automatic(self, danger: tuple[str, ...]) -> tuple[Kinds, tuple[WeightsRow, ...]]:
        plain, lost = self._try({}, "int8")
        harmed = tuple(name for name in danger if lost[name] > MOST_LOST)
        if not harmed and not plain.loses(MOST_DB):
            return {}, (replace(plain, chosen=True),)
        kinds: Kinds = dict.fromkeys(harmed or danger, "uint8")
        row, _ = self._try(kinds, "uint8")
        if row.loses(MOST_DB):
            kinds = dict.fromkeys(danger, "uint8")
            row, _ = self._try(kinds, "uint8")
        other, _ = self._try(dict.fromkeys(kinds, "int7"), "int7")
        return kinds, (plain, replace(row, chosen=True), other)

    def _try(self, kinds: Kinds, name: IntegerKind) -> tuple[WeightsRow, dict[str, float]]:
        """A row, and the share of each layer's outputs that saturation changes."""
        written = self.network.written(False, self.ranges, kinds)
        floats = saturating = self.noise(f"{name} weights", SaturatingRun(written.graph, ()).run)
        run = SaturatingRun(written.graph, written.layers)
        exposed = sum(map(can_saturate, written.layers))
        if exposed:
            saturating = self.noise(f"{name} weights, 16-bit sums", run.run)
        size = len(self.network.encode(self.packed, self.ranges, kinds)[0])
        row = WeightsRow(name, tuple(kinds), len(written.layers), exposed, size, self.images, floats, saturating)
        return row, {each: run.lost[each] / max(run.signal[each], 1e-30) for each in run.lost}
