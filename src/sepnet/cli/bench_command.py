"""The command bench.  It needs no torch, but for the runtime torch."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any

import typer

from sepnet.cli.app import DataDir, File, Json, Limit, command, integer
from sepnet.core.bench_report import BenchReport
from sepnet.core.errors import UsageError
from sepnet.core.files import check_paths, write_bytes
from sepnet.core.limits import limits_of

__all__ = ["bench"]


@command("sepnet bench lenet5.sepnet --runtime onnxruntime,torch --against float,int8 --svg bench.svg")
def bench(
    file: File,
    *,
    runtime: Annotated[
        str,
        typer.Option(
            "--runtime",
            metavar="NAMES",
            help="What runs the packed file: onnxruntime, torch, openvino, litert, c99, integer; several by commas.",
        ),
    ] = "onnxruntime",
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="FORMS",
            help="Forms of the network in ONNX Runtime to measure beside it: float, int8, onnx (unpacks itself), onnx-uint8 (also with uint8 activations), or an .onnx or .tflite file; FORM@openvino in that runtime; several by commas, none with ''.",
        ),
    ] = "float,int8",
    batch: Annotated[str, typer.Option("--batch", metavar="N,...", help="Images a run; several by commas.")] = "1,32",
    threads: Annotated[
        int, typer.Option("--threads", metavar="N", parser=integer(1), help="Threads of each runtime.")
    ] = 1,
    seconds: Annotated[
        float, typer.Option("--seconds", metavar="S", help="To measure each entrant at each batch size.")
    ] = 2.0,
    data: Annotated[
        str | None,
        typer.Option("--data", metavar="DATA", help="A data set whose test images to run on; default random images."),
    ] = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Draw latency and size.")] = None,
    limit: Limit = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Measure load time, latency, memory and energy, beside other forms, each in a process of its own, in turns."""
    from sepnet.cli import terminal
    from sepnet.cli.dataset_input import read_dataset
    from sepnet.cli.packed_input import is_stream, read_packed
    from sepnet.steps.bench import bench as step

    if svg is not None:
        check_paths({"FILE": None if is_stream(file) else file}, {"--svg": svg})
    model = read_packed(file, limits_of(limit))
    loaded = None if data is None else read_dataset(data, data_dir)
    with terminal.Progress() as progress:
        report = step(
            model,
            _names(runtime),
            _names(against),
            batches=_numbers(batch),
            threads=threads,
            seconds=seconds,
            data=loaded,
            progress=progress.tick,
        )
    if svg is not None:
        from sepnet.pages.bench_chart import bench_chart

        write_bytes(svg, bench_chart(report).encode())
    terminal.print_json(_json(report)) if as_json else _print(report)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in _names(text)]
    except ValueError:
        raise UsageError(f"--batch {text!r}: expected whole numbers, as in 1,32") from None


def _json(report: BenchReport) -> dict[str, Any]:
    rows = []
    for row in report.rows:
        values = dataclasses.asdict(row)
        entrant = values.pop("entrant")
        rows.append({key: entrant[key] for key in ("form", "runtime", "bytes")} | values | {"ratio": report.ratio(row)})
    return dataclasses.asdict(report) | {"rows": rows}


def _print(report: BenchReport) -> None:
    from sepnet.cli.terminal import console, note, plain, table

    told = any(row.joules is not None for row in report.rows)
    lines = table(
        f"{plain(report.network)}, {report.threads} thread{'s' * (report.threads > 1)}, {report.inputs}",
        ["form", "runtime"],
        [
            "file bytes",
            "load ms",
            "batch",
            "ms a run",
            "10 to 90 %",
            "ratio",
            "peak MB",
            *(["mJ an image"] * told),
            "max |Δ|",
        ],
    )
    for row in report.rows:
        entrant = row.entrant
        cells = [f"{entrant.bytes:,}", f"{row.load_ms:.1f}", str(row.batch), f"{row.ms:.3f}"]
        cells += [f"{row.fast_ms:.3f} to {row.slow_ms:.3f}", f"{report.ratio(row):.2f}x"]
        cells.append("?" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:.1f}")
        if told:
            cells.append("?" if row.joules is None else f"{1000 * row.joules:.2f}")
        lines.add_row(plain(entrant.form), entrant.runtime, *cells, f"{row.difference:.2g}")
    console().print(lines)
    note(
        "ms: median, and the middle 80 %; ratio: of time, to the first row; peak: resident, above Python with numpy; max |Δ|: to the reference, of the largest output"
    )
    for name, gains in report.gains.items():
        note(f"{name} gets faster by {gains}")
    if not told:
        note("this system does not tell the energy used")
