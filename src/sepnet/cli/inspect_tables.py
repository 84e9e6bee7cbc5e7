"""What `inspect` shows of a network: layers or blocks, kinds, and what to look at."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sepnet.cli.terminal import console, note, plain, shape_text, table
from sepnet.core.network import BlockTotal, KindTotal, LayerReport, NetworkReport, SortKey, sort_rows

__all__ = ["network_json", "print_network"]

NUMBERS = ["params", "% of params", "macs", "bytes", "activations"]


def print_network(report: NetworkReport, depth: int | None = None, sort: SortKey | None = None) -> None:
    """`inspect`: layers, or with `depth` blocks, then kinds."""
    shapes = " and ".join(shape_text(shape) for shape in report.input_shapes)
    title = plain(f"{report.name}, input {shapes}")
    if depth is None:
        _print_layers(report, title, report.sorted_layers(sort) if sort else report.layers)
    else:
        blocks = report.by_block(depth)
        _print_totals(report, title, "block", sort_rows(blocks, sort) if sort else blocks)
    _print_totals(report, "\nby kind", "kind", report.by_kind())
    _print_notes(report)


def _print_layers(report: NetworkReport, title: str, layers: Sequence[LayerReport]) -> None:
    noted = any(layer.note for layer in layers)
    rows = table(title, ["layer", "kind", "weight", "output"], NUMBERS)
    if noted:
        rows.add_column("note", overflow="fold")
    for layer in layers:
        cells = (plain(layer.name) or "(network)", layer.kind, shape_text(layer.weight_shape))
        macs = f"{layer.macs:,}" if layer.counted else "not counted"
        notes = [plain(layer.note)] if noted else []
        rows.add_row(*cells, shape_text(layer.output_shape), *_numbers(report, layer, macs), *notes)
    rows.add_row("total", "", "", "", *_numbers(report, report, f"{report.macs:,}"), style="bold")
    console().print(rows)


def _print_totals(report: NetworkReport, title: str, word: str, totals: Sequence[BlockTotal | KindTotal]) -> None:
    rows = table(title, [word], ["layers", *NUMBERS])
    for total in totals:
        name = total.kind if isinstance(total, KindTotal) else plain(total.name) or "(network)"
        rows.add_row(name, f"{total.layers}", *_numbers(report, total, f"{total.macs:,}"))
    if word == "block":
        rows.add_row("total", f"{len(report.layers)}", *_numbers(report, report, f"{report.macs:,}"), style="bold")
    console().print(rows)


def _numbers(
    report: NetworkReport, row: LayerReport | BlockTotal | KindTotal | NetworkReport, macs: str
) -> tuple[str, ...]:
    share = f"{100 * row.params / max(1, report.params):.2f}" if row is not report else "100.00"
    return f"{row.params:,}", share, macs, f"{row.bytes:,}", f"{row.activation_bytes:,}"


def _print_notes(report: NetworkReport) -> None:
    if report.peak_activation_bytes is not None:
        note(f"\nat most {report.peak_activation_bytes:,} bytes of activations at once (one example, float32)")
    if report.activation_macs:
        note(f"{report.activation_macs:,} macs between activations (attention) are not part of macs")
    if report.uncounted:
        names = ", ".join(plain(layer.name) or "(network)" for layer in report.uncounted)
        note(f"not counted, their macs are missing: {names}")
    if report.by_kind():
        most = max(report.by_kind(), key=lambda kind: kind.params)
        note(f"\nlook here: {most.kind} holds {100 * most.params / max(1, report.params):.1f} % of the parameters")


def network_json(report: NetworkReport, depth: int = 1, sort: SortKey | None = None) -> dict[str, Any]:
    """`inspect --json`: `depth` is that of its blocks."""
    blocks = report.by_block(depth)
    return {
        "network": report.name,
        "input_shape": list(report.input_shape),
        "input_shapes": [list(shape) for shape in report.input_shapes],
        "input_types": list(report.input_types),
        "params": report.params,
        "macs": report.macs,
        "bytes": report.bytes,
        "activation_bytes": report.activation_bytes,
        "peak_activation_bytes": report.peak_activation_bytes,
        "activation_macs": report.activation_macs,
        "layers": [_row(report, layer) for layer in (report.sorted_layers(sort) if sort else report.layers)],
        "blocks": [_row(report, block) for block in (sort_rows(blocks, sort) if sort else blocks)],
        "kinds": [_row(report, kind) for kind in report.by_kind()],
    }


def _row(report: NetworkReport, row: LayerReport | BlockTotal | KindTotal) -> dict[str, Any]:
    return {**dataclasses.asdict(row), "percent": 100 * row.params / max(1, report.params), "bytes": row.bytes}
