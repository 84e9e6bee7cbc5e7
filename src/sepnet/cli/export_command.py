"""The command export.  It needs no torch, but for the formats whose converters do.

Steps are imported when their command runs, so that `--help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sepnet.cli.app import CALIBRATE, DataDir, File, Json, Limit, Seed, command, integer
from sepnet.cli.packed_input import is_stream, read_packed
from sepnet.core.calibrate import Calibrate
from sepnet.core.errors import UsageError
from sepnet.core.exporter import Material, make_exporter
from sepnet.core.files import check_paths
from sepnet.core.limits import limits_of

__all__ = ["export"]

IMAGES = 256


@command("sepnet export lenet5.sepnet --to onnx -o lenet5.onnx --calibrate digits --data digits")
def export(
    file: File,
    *,
    to: Annotated[
        str,
        typer.Option(
            "--to", metavar="FORMAT", help="onnx, tflite, executorch, safetensors or c99, see docs/export.md."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="What to write; a folder for c99.")],
    form: Annotated[
        str | None,
        typer.Option(
            "--form",
            metavar="FORM",
            help="Of onnx: float; int8 (weights and activations, needs --calibrate); packed, the default: weights unpack themselves when the file is loaded, activations float32, or uint8 with --calibrate. Of tflite and executorch: float, the default; int8, needs --calibrate.",
        ),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="DATA",
            help=f"Quantize activations by examples, which c99 needs: {CALIBRATE}.",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images",
            metavar="N",
            parser=integer(1),
            help=f"With --calibrate: examples to calibrate on, and as many again to compare methods on; default {IMAGES}.",
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="METHOD",
            help="How ranges of activations are made: min-max, percentile or mse; default the one whose outputs are nearest on other examples.",
        ),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(
            "--weights",
            metavar="KIND",
            help="Of onnx with --calibrate: int8; uint8 or int7 where int8 sums can saturate on processors without VNNI; auto, the default: uint8 where they do.",
        ),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="Measure top-1 of both files on the test split of this data set."),
    ] = None,
    limit: Limit = None,
    data_dir: DataDir = None,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a packed file in another format, run it beside the packed one, and say what is in it."""
    from sepnet.cli import terminal
    from sepnet.cli.dataset_input import read_calibration, read_dataset
    from sepnet.cli.export_tables import export_json, print_export
    from sepnet.exporters import EXPORTERS
    from sepnet.steps.export import export as step

    options = {"form": form, "method": method, "weights": weights}
    exporter = make_exporter(to, {key: value for key, value in options.items() if value is not None}, EXPORTERS)
    exporter.check_data(calibrate is not None, data is not None)
    if images is not None and calibrate is None:
        raise UsageError("found --images and nothing to calibrate by; expected --calibrate DATA")
    reads, folder = {"FILE": None if is_stream(file) else file}, output if exporter.writes == "folder" else None
    check_paths(reads, {"-o": None if folder else output}, folder)
    model = read_packed(file, limits_of(limit))
    test = None if data is None else read_dataset(data, data_dir)
    by = None
    if calibrate is not None:
        same = test if test is not None and calibrate == data else None
        by = Calibrate(same or read_calibration(calibrate, data_dir), images or IMAGES, seed)
    with terminal.Progress() as progress:
        report = step(model, exporter, output, Material(by, test, progress.tick))
    terminal.print_json(export_json(report, output)) if as_json else print_export(report, model, output)
