"""What `export` shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from sepnet.cli.output_tables import print_outputs
from sepnet.cli.terminal import console, note, plain, print_error, score_json, shape_text, table
from sepnet.core.exporter import ExportReport, MethodRow, WeightsRow
from sepnet.core.packed_model import PackedModel
from sepnet.core.ratio import compared

__all__ = ["export_json", "print_export"]


def print_export(report: ExportReport, model: PackedModel, output: Path) -> None:
    """A row a part of the file; the methods that were tried; the file beside the packed one; remarks."""
    rows = table(plain(str(output)), ["part", "shape", "written as"], ["bytes"])
    for row in report.rows:
        rows.add_row(plain(row.part), shape_text(row.shape), row.how or "-", f"{row.bytes:,}")
    console().print(rows)
    if report.methods:
        print_methods(report.methods)
    if report.weights:
        print_weights(report.weights)
    before = 4 * model.header.params
    note(f"{output}: {report.bytes:,} bytes, {compared(before / report.bytes)} float32 parameters ({before:,})")
    check = report.check
    if check is not None:
        which = f"output {plain(check.outputs[0].name)}" if check.outputs else "outputs"
        note(
            f"{which} of {check.examples} examples ({plain(check.data)}): max |difference| {check.difference:.4g} from the packed file's, max |output| {check.largest:.4g}"
        )
        if check.outputs:
            print_outputs(check.outputs, f"outputs beside the packed file's, {plain(check.data)}")
        if check.packed and check.exported:
            note(
                f"{check.exported.n:,} test images: top-1 {check.exported.top1:.2%}, of the packed file {check.packed.top1:.2%}"
            )
    for remark in report.remarks:
        note(remark)
    for warning in report.warnings:
        print_error(warning, "warning")


def print_methods(methods: tuple[MethodRow, ...]) -> None:
    """How ranges of activations were made, and what each way gave on other examples."""
    on = f"{methods[0].compared:,} others" if methods[0].others else "the same"
    title = f"ranges of activations by {methods[0].images:,} examples, compared on {on}"
    rows = table(title, ["method"], ["outputs' signal to noise", "top-1 on these"])
    for row in methods:
        top1 = "-" if row.top1 is None else f"{row.top1:.2%}"
        rows.add_row(row.method + " (written)" * row.chosen, f"{row.noise:.1f} dB", top1)
    console().print(rows)


def print_weights(weights: tuple[WeightsRow, ...]) -> None:
    """How layers hold their integer weights, and what each way gave with exact sums and with sums that saturate."""
    title = f"weights of {weights[0].count:,} layers, outputs' signal to noise on {weights[0].images:,} other examples"
    rows = table(title, ["weights"], ["layers", "bytes", "computed in floats", "without VNNI"])
    for row in weights:
        numbers = (f"{row.bytes:,}", f"{row.floats_db:.1f} dB", f"{row.saturating_db:.1f} dB")
        rows.add_row(row.weights + " (written)" * row.chosen, f"{len(row.layers) or row.count:,}", *numbers)
    console().print(rows)
    (written,) = (row for row in weights if row.chosen)
    if written.layers:
        names = ", ".join(map(plain, written.layers))
        note(f"{written.weights} weights in {len(written.layers):,} of {written.count:,} layers: {names}")
    if written.layers and written.weights == "uint8":
        note(
            "uint8 weights give the same numbers on every processor but take longer (times: docs/export.md); int7 is as fast as int8 everywhere"
        )
    if not written.exposed:
        note("no sum of two products can leave 16 bits: processors without VNNI compute the same")
    elif not written.loses(0.05):
        note(
            f"in {written.exposed:,} layers sums of two products can leave 16 bits; on these examples that changes next to nothing"
        )


def export_json(report: ExportReport, output: Path) -> dict[str, Any]:
    """`export --json`."""
    check = None
    if report.check is not None:
        scores = {"packed": report.check.packed, "exported": report.check.exported}
        check = dataclasses.asdict(report.check)
        check |= {key: None if score is None else score_json(score) for key, score in scores.items()}
    return {
        "output": str(output),
        "bytes": report.bytes,
        "check": check,
        "methods": [dataclasses.asdict(row) for row in report.methods],
        "weights": [dataclasses.asdict(row) for row in report.weights],
        "remarks": list(report.remarks),
        "warnings": list(report.warnings),
        "parts": [dataclasses.asdict(row) for row in report.rows],
    }
