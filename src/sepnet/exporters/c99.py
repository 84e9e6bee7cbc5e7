"""C99: the network as a program without dependencies, in integers, weights packed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import numpy.typing as npt

from sepnet.c99.compilers import TARGETS, find_compiler, measure
from sepnet.c99.host import HostProgram
from sepnet.c99.program import Program, generate
from sepnet.core.errors import NetworkError, UsageError
from sepnet.core.exporter import Exporter, ExportReport, ExportRow, Material
from sepnet.core.files import write_folder
from sepnet.core.packed_model import PackedModel
from sepnet.exporters.comparison import compare
from sepnet.integer.lower import lower
from sepnet.integer.model import IntegerModel
from sepnet.integer.reference import run, run_floats
from sepnet.integer.trace import trace
from sepnet.quantizing.activations import ActivationCalibration
from sepnet.runtimes.activation_ranges import Method, Range
from sepnet.runtimes.onnxruntime import OnnxRuntime

__all__ = ["C99"]

Floats = npt.NDArray[np.float32]


class C99(Exporter, frozen=True):
    """A folder with `model.c`, `model.h`, `model_weights.c`, a demo `main.c` and a Makefile.

    `bytes` of the report are those that the constants of `model_weights.c` take in flash, part by part.

    Attributes:
        method: how ranges of activations are made; None tries all and takes the one of least noise in the outputs.
    """

    name: ClassVar[str] = "c99"
    writes: ClassVar[Literal["file", "folder"]] = "folder"
    calibrates: ClassVar[bool] = True

    method: Method | None = None

    def export(self, model: PackedModel, path: Path, material: Material) -> ExportReport:
        """Raises `UsageError` without calibration images, `NetworkError` naming an operator that has no integer form."""
        if material.calibrate is None:
            raise UsageError(
                "--to c99 found no calibration images; expected --calibrate DATA (a data set, as of --data)"
            )
        trace(model)  # what cannot be done is said before calibration takes its time

        def build(ranges: dict[str, Range]) -> Callable[[Floats], Floats]:
            whole = lower(model, ranges)
            return lambda batch: run_floats(whole, batch)

        ranges, methods = ActivationCalibration(model, material.calibrate, material.progress).choose(build, self.method)
        whole = lower(model, ranges)
        program = generate(whole)
        compute, remark = _checked(whole, program)
        check = compare(model, OnnxRuntime(model), compute, 0, material)
        write_folder(path, {name: text.encode() for name, text in program.files.items()})
        rows = tuple(ExportRow(part.name, part.shape, part.how, part.bytes) for part in program.parts)
        return ExportReport(rows, program.weight_bytes, check, methods, (*_remarks(program), remark))


def _checked(whole: IntegerModel, program: Program) -> tuple[Callable[[Floats], Floats], str]:
    """What computes the program's outputs: itself, compiled here and compared with its definition, or else the definition."""
    if not find_compiler():
        return lambda batch: run_floats(whole, batch), "found no C compiler here, so it was not compiled"
    compiled, random = HostProgram(whole, program), np.random.default_rng(0)
    noise = random.integers(0, 256, (2, *whole.values[whole.input].shape)).astype(np.uint8)
    if not np.array_equal(compiled.run(noise), run(whole, noise)):
        raise NetworkError("the compiled program does not compute what it should; nothing was written")
    return compiled.run_floats, "compiled here, it computes what it should, bit for bit"


def _remarks(program: Program) -> tuple[str, ...]:
    found = [
        f"flash: {program.weight_bytes:,} bytes of constants in model_weights.c, and the code of model.c",
        f"RAM: {program.ram_bytes:,} bytes, all of it static, and a stack of less than 1 kB",
    ]
    for target in TARGETS:
        sizes = measure(program, target)
        if sizes is not None:
            flash = sizes.code + sizes.weights
            found.append(
                f"{target.tools}gcc -Os for {target.name}: {sizes.code:,} bytes of code, {flash:,} bytes of flash in all"
            )
    return (*found, "uint8 activations, sums of 32 bits, no floats: the same on every processor; weights stay packed")
