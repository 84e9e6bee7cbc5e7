"""What exporters share that hand the network to somebody else's converter."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import MissingExtraError, UsageError
from sepnet.core.examples import Feed
from sepnet.core.exporter import Exporter, ExportReport, ExportRow, Material, MethodRow
from sepnet.core.files import write_bytes
from sepnet.core.packed_model import PackedModel
from sepnet.core.ports import Port, described
from sepnet.exporters.comparison import compare
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.quantizing.activations import ActivationCalibration
from sepnet.runtimes.onnxruntime import OnnxRuntime

__all__ = ["Convert", "Converted", "Load"]

Floats = npt.NDArray[np.float32]
Run = Callable[[Floats], Floats]
Convert = Callable[[PackedModel, list[Floats] | None], bytes]
"""From a packed file to another, in int8 by the batches, if given."""
Load = Callable[[bytes, int], Run]
"""From a file, and how many examples it takes at once, to what runs it."""
FLOAT = "float32 weights: the size of the float network; --form int8 --calibrate DATA makes it about a quarter"
INT8 = "int8 weights, a scale a filter, and int8 activations; float32 in and out"
ONE = "takes {} at once, in the layout of the packed file: channels before height and width"


class Converted(Exporter, frozen=True):
    """A self-contained file of a format whose own converter writes it.

    Attributes:
        form: "float" has float32 weights; "int8" int8 weights and activations, which takes examples to calibrate by.
    """

    calibrates: ClassVar[bool] = True
    extra: ClassVar[str]
    """Of the package, with the converter."""

    form: Literal["float", "int8"] = "float"

    @abc.abstractmethod
    def tools(self, model: PackedModel) -> tuple[Convert, Load]:
        """The converter, and what runs its files.

        Raises `ImportError` or `MissingExtraError` when they are not there, `FormatError` for operators that it cannot get.
        """

    def rows(self, data: bytes) -> tuple[ExportRow, ...]:
        """The ledger."""
        return (ExportRow("file", (), "int8" if self.form == "int8" else "float32", len(data)),)

    def _check_ends(self, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
        if len(inputs) != 1 or len(outputs) != 1 or inputs[0].type != "float32":
            raise UsageError(
                f"--to {self.name} takes networks of one input of float32 and one output, and this one takes {described(inputs)} and gives "
                f"{described(outputs)}; expected --to onnx"
            )

    def export(self, model: PackedModel, path: Path, material: Material) -> ExportReport:
        """Raises `UsageError` for examples that the form needs and has not, or has and cannot use."""
        if self.form == "int8" and material.calibrate is None:
            raise UsageError(
                "--form int8 found nothing to calibrate by; expected --calibrate DATA (a data set, or a file .npz)"
            )
        if self.form == "float" and material.calibrate is not None:
            raise UsageError(
                f"--to {self.name} quantizes activations in --form int8 alone; found --calibrate, add --form int8 or leave it out"
            )
        reference = OnnxRuntime(model)  # it refuses graphs that break the rules of ONNX
        self._check_ends(reference.inputs, reference.outputs)
        try:
            convert, load = self.tools(model)
        except ImportError as error:
            raise MissingExtraError(f"--to {self.name}", str(error.name), self.extra) from error
        calibration = (
            ActivationCalibration(model, material.calibrate, material.progress) if material.calibrate else None
        )
        batches = [next(iter(feed.values())) for feed in calibration.batches()] if calibration else None
        data = convert(model, batches)
        fixed = OnnxGraph.decode(model.graph).batch
        compute, name = load(data, fixed or 1), reference.outputs[0].name

        def run(feed: Feed) -> dict[str, Floats]:
            return {name: compute(next(iter(feed.values())))}

        check = compare(model, reference, run, batch=fixed, material=material)
        methods: tuple[MethodRow, ...] = ()
        if calibration:
            methods = (replace(calibration.compare("min-max", run), chosen=True),)
        rows = self.rows(data)
        write_bytes(path, data)
        remarks = (
            INT8 if calibration else FLOAT,
            ONE.format(f"{fixed} examples" if fixed else "one example"),
            *filter(None, [calibration.remark if calibration else ""]),
        )
        return ExportReport(rows, len(data), check, methods, remarks)
