"""ONNX: the exporter."""

from __future__ import annotations

import functools
import importlib.util
import itertools
from pathlib import Path
from typing import ClassVar, Literal

from sepnet.core.errors import NetworkError, UsageError, brief
from sepnet.core.exporter import Check, Exporter, ExportReport, Material, MethodRow, WeightsRow
from sepnet.core.files import replacing
from sepnet.core.packed_model import PackedModel
from sepnet.exporters.comparison import compare
from sepnet.exporters.onnx.integer_choice import Kinds, Weights, WeightsChoice
from sepnet.exporters.onnx.model import OPSET, OnnxNetwork
from sepnet.graphs.ports import ports_of
from sepnet.quantizing.activations import ActivationCalibration, Run
from sepnet.runtimes.activation_ranges import Method, Range
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.runtimes.probe import Probe
from sepnet.runtimes.session import Session
from sepnet.runtimes.side_by_side import side_by_side

__all__ = ["Onnx"]

FLOAT32 = "float32 activations: as fast as the float network; --calibrate DATA makes them uint8, which can be faster"
UINT8 = "uint8 activations and 8-bit weights: integer kernels can be faster, most where a processor has 8-bit dot products (VNNI, NEON dotprod)"
PACKED = "packed weights are unpacked once, when a session is built: that saves bytes of the file and takes time to load, runs are as fast"
NOTHING = "no layer was found whose activations can be uint8, so --calibrate changes nothing: activations stay float32, and weights as they are"
COMPARED = 64
"""Images on which ways to hold weights are compared."""
HARM = 1.0
"""dB that saturation may cost before the export warns."""


class Onnx(Exporter, frozen=True):
    """An `.onnx` file of standard operators.

    Attributes:
        form: "float" has float32 weights; "int8" int8 weights and uint8 activations, which takes examples to calibrate by;
            "packed" the packed codes and operators that unpack them, activations float32 or, with examples to calibrate by, uint8.
        method: how ranges of activations are made; None tries all and takes the one of least noise in the outputs.
        weights: how layers with uint8 activations hold theirs; None is "auto", see
            `sepnet.exporters.onnx.integer_choice.WeightsChoice.choose`.
    """

    name: ClassVar[str] = "onnx"
    calibrates: ClassVar[bool] = True

    form: Literal["float", "int8", "packed"] = "packed"
    method: Method | None = None
    weights: Weights | None = None

    def export(self, model: PackedModel, path: Path, material: Material) -> ExportReport:
        """Raises `UsageError` for examples that the form needs and has not, or has and cannot use."""
        integers = material.calibrate is not None
        if self.form == "int8" and not integers:
            raise UsageError(
                "--form int8 found nothing to calibrate by; expected --calibrate DATA (a data set, or a file .npz)"
            )
        if self.form == "float" and integers:
            raise UsageError("--form float has no quantized activations; found --calibrate, leave it out")
        for option in ("method", "weights"):
            if getattr(self, option) is not None and not integers:
                raise UsageError(f"found --{option} and nothing to calibrate by; expected --calibrate DATA")
        runtime = OnnxRuntime(model)  # first of all: it refuses graphs that break the rules of ONNX
        network = OnnxNetwork.of(model, OPSET if self.form != "float" or integers else 0)
        ranges, methods, kinds, weights, remark = self._choose(model, network, material)
        data, rows = network.encode(self.form == "packed", ranges, kinds)
        with replacing(path) as temporary:
            temporary.write_bytes(data)
            uint8 = any(row.count for row in weights)
            remarks = [
                UINT8 if uint8 else FLOAT32 if not integers else "",
                PACKED if self.form == "packed" else "",
                _checked(data),
                remark,
            ]
            check, reason = _compared(model, runtime, Session(temporary), batch=network.batch, material=material)
        if reason:
            remarks.append(f"outputs not compared: {reason}")
        warnings = tuple(map(_warning, (row for row in weights if row.chosen and row.loses(HARM))))
        if integers and not uint8:
            warnings = (NOTHING, *warnings)
        return ExportReport(rows, len(data), check, methods, tuple(filter(None, remarks)), weights, warnings)

    def _choose(
        self, model: PackedModel, network: OnnxNetwork, material: Material
    ) -> tuple[dict[str, Range] | None, tuple[MethodRow, ...], Kinds, tuple[WeightsRow, ...], str]:
        """Ranges of activations (None without examples), what was tried, kinds of weights, what was tried, and a remark."""
        if material.calibrate is None:
            return None, (), {}, (), ""

        def build(ranges: dict[str, Range]) -> Run:
            return Probe(network.encode(False, ranges)[0], optimized=False).answers

        calibration = ActivationCalibration(model, material.calibrate, material.progress)
        ranges, methods = calibration.choose(build, self.method)
        images = calibration.few(COMPARED)
        choice = WeightsChoice(
            network, ranges, self.form == "packed", images, functools.partial(calibration.noise, images=images)
        )
        kinds, rows = choice.choose(self.weights or "auto")
        return ranges, methods, kinds, rows, calibration.remark


def _warning(row: WeightsRow) -> str:
    return (
        f"{row.weights} weights: on processors without VNNI, sums of two products saturate at 16 bits and the outputs' signal to noise "
        f"falls from {row.floats_db:.1f} to {row.saturating_db:.1f} dB; --weights auto or uint8 avoids that"
    )


def _compared(
    model: PackedModel, runtime: OnnxRuntime, written: Session, *, batch: int, material: Material
) -> tuple[Check | None, str]:
    """All outputs on examples, or on random inputs where there are none; and why some were not compared."""
    check = compare(model, runtime, written.run, batch=batch, material=material)
    if check is not None:
        return check, ""
    done = side_by_side(runtime.session, written, runtime.inputs)
    if not done.examples:
        return None, done.reason
    first = done.rows[0]
    return Check(
        done.examples, "random inputs", first.difference or 0.0, first.largest or 0.0, outputs=done.rows
    ), done.reason


def _checked(data: bytes) -> str:
    if importlib.util.find_spec("onnx") is None:
        return ""
    import onnx

    bare = [port.name for port in itertools.chain(*ports_of(data)) if port.shape is None]
    if bare:  # the checker wants to know how many sides each has, and a network may come without
        return f"onnx.checker not asked: the network does not say the shape of {', '.join(bare)}"
    try:
        onnx.checker.check_model(data, full_check=True)
    except Exception as error:  # onnx's exceptions share no base but Exception
        raise NetworkError(f"onnx.checker refuses the file: {brief(error)}") from error
    return "onnx.checker takes the file"
