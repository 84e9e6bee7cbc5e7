"""The exporter noun: a packed model in somebody else's format."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from sepnet.core.calibrate import Calibrate
from sepnet.core.convert import convert
from sepnet.core.dataset import Dataset
from sepnet.core.errors import RecipeError, UsageError
from sepnet.core.output_row import OutputRow
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Progress, silent
from sepnet.core.registry import Shelf
from sepnet.core.score import Score

__all__ = [
    "Check",
    "ExportReport",
    "ExportRow",
    "Exporter",
    "Material",
    "MethodRow",
    "WeightsRow",
    "make_exporter",
]


@dataclass(frozen=True)
class Material:
    """What an exporter gets besides the packed model.

    Attributes:
        calibrate: examples by which it may choose.
        test: images that it may measure on, and nothing else.
        progress: callback.
    """

    calibrate: Calibrate | None = None
    test: Dataset | None = None
    progress: Progress = silent


@dataclass(frozen=True)
class ExportRow:
    """A line of the ledger: a part of the file, how it is written there, its bytes."""

    part: str
    shape: tuple[int, ...]
    how: str
    bytes: int


@dataclass(frozen=True)
class MethodRow:
    """What ranges of activations by one method gave, on images that the ranges were not made from.

    Attributes:
        method: see `sepnet.runtimes.activation_ranges`.
        images, compared: how many examples the ranges were made from, and how many others the outputs are of.
        noise: signal-to-quantization-noise ratio in dB of the output that has the least: 10 log10(|y|^2 / |y' - y|^2).
        top1: a fraction; None for outputs that are no classes of the data set.
        chosen: whether it is what was written.
        others: whether the outputs are of other examples than the ranges; of few examples they are of the same.
    """

    method: str
    images: int
    compared: int
    noise: float
    top1: float | None
    chosen: bool
    others: bool = True


@dataclass(frozen=True)
class WeightsRow:
    """What a way to hold integer weights gave, on images that nothing else was made from.

    Attributes:
        weights: int8, uint8 or int7; `layers` names the weights that are held so, the others of all `count` are int8.
        exposed: layers in which some input makes a sum of two products leave 16 bits.
        bytes: of the file.
        images: that the outputs are of.
        floats_db, saturating_db: signal-to-quantization-noise ratio of the outputs as for `MethodRow`, computed in floats,
            and with sums of two products that saturate at 16 bits, as on x86 processors without VNNI.
        chosen: whether it is what was written.
    """

    weights: str
    layers: tuple[str, ...]
    count: int
    exposed: int
    bytes: int
    images: int
    floats_db: float
    saturating_db: float
    chosen: bool = False

    def loses(self, decibels: float) -> bool:
        """Whether saturation costs more than that."""
        return self.saturating_db < self.floats_db - decibels


@dataclass(frozen=True)
class Check:
    """The written file beside the packed one.

    Attributes:
        examples: that both were run on; `data` is where they are from.
        difference, largest: of the first output, max |difference| and max |output| of the packed file.
        packed, exported: on the test split, where one was given.
        outputs: a row an output; of networks of several outputs, or whose input is of no known shape.
        lowest: the output that has the least signal to noise; None where all are equal.
    """

    examples: int
    data: str
    difference: float
    largest: float
    packed: Score | None = None
    exported: Score | None = None
    outputs: tuple[OutputRow, ...] = ()
    lowest: OutputRow | None = None


@dataclass(frozen=True)
class ExportReport:
    """What was written: its bytes part by part, what it computes, and remarks and warnings for people."""

    rows: tuple[ExportRow, ...]
    bytes: int
    check: Check | None = None
    methods: tuple[MethodRow, ...] = ()
    remarks: tuple[str, ...] = ()
    weights: tuple[WeightsRow, ...] = ()
    warnings: tuple[str, ...] = ()


class Exporter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One format and its options, which are the fields of the subclass.

    Contract, tested for every exporter: what it writes computes what the packed file computes, within what it reports;
    `bytes` are those on disk (of source code those its constants take) and the sum of `rows`; nothing is left behind when it
    fails.
    """

    name: ClassVar[str]
    writes: ClassVar[Literal["file", "folder"]] = "file"
    calibrates: ClassVar[bool] = False
    """Whether it can use `Material.calibrate`."""
    runs: ClassVar[bool] = True
    """Whether what it writes computes something, so that it can use `Material.test`."""

    def check_data(self, calibrate: bool, test: bool) -> None:
        """Raise `UsageError` for a data set that the format has no use for."""
        if calibrate and not self.calibrates:
            raise UsageError(f"--to {self.name} quantizes no activations; found --calibrate, leave it out")
        if test and not self.runs:
            raise UsageError(f"--to {self.name} writes weights alone, which cannot be run; found --data, leave it out")

    @abc.abstractmethod
    def export(self, model: PackedModel, path: Path, material: Material) -> ExportReport:
        """Write `path`, a file or a folder as `writes` says, and check it."""


def make_exporter(name: str, options: Mapping[str, Any], shelf: Shelf[type[Exporter]]) -> Exporter:
    """An exporter by its name on the shelf.  `UsageError` for an option that it does not have, or a value that does not fit."""
    kind = shelf[name]
    fields = {field.name for field in msgspec.structs.fields(kind)}
    for key in options.keys() - fields:
        known = ", ".join(f"--{field}" for field in sorted(fields)) or "none"
        raise UsageError(f"--to {name} found the option --{key}, which it does not have; its own: {known}")
    try:
        made: Exporter = convert(options, kind, f"--to {name}")
    except RecipeError as error:
        raise UsageError(str(error)) from error
    return made
