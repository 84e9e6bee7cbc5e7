"""What `pack` shows."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from sepnet.cli.output_tables import print_outputs
from sepnet.cli.terminal import console, note, plain, shape_text, table
from sepnet.core.pack_report import Measured, PackReport, PackRow

__all__ = ["pack_json", "print_pack"]


def print_pack(report: PackReport, file: Path, output: Path, *, verbose: bool) -> None:
    """A row a tensor, then what the file takes and what it loses; first the passes that its graph went through, if `verbose`."""
    if verbose and report.passes:
        steps = table("passes", ["pass", "what it changed"], [], prose=["what it changed"])
        for each in report.passes:
            steps.add_row(each.name, each.changed or "nothing")
        console().print(steps)
    numbers = ["bytes before", "after", "bits a number", "relative error"]
    measured = any(row.alone for row in report.rows)
    rows = table(plain(str(file)), ["tensor", "shape", "scheme"], [*numbers, *["rounded alone"] * measured])
    for row in report.rows:
        error = "exact" if row.error is None else f"{row.error:.4f}"
        before, after, bits = f"{row.bytes_before:,}", f"{row.bytes:,}", f"{row.bits:.2f}"
        effect = [_alone(row)] if measured else []
        rows.add_row(plain(row.name), shape_text(row.shape), row.scheme, before, after, bits, error, *effect)
    console().print(rows)
    size = output.stat().st_size
    note(f"{output}: {size:,} bytes, {_compared(size, report.bytes_before)}")
    if report.quantized:
        note(_how_many(report))
    if report.fixed:
        note(f"fixed to {_examples(report.fixed)}; every command takes any number, in parts")
    if report.outputs:
        print_outputs(report.outputs, f"outputs of {report.checked} random examples, read back and run")
    if report.reason:
        note(f"outputs not compared: {plain(report.reason)}")
    for kept in report.spoiled:
        alone = f"{kept.snr_db:.1f} dB"
        note(f"kept in 16 bits: {plain(kept.name)}; 8 bits of it alone leave output {plain(kept.output)} at {alone}")
    if report.advice:
        note(plain(report.advice))
    if report.measured is not None:
        _print_measured(report.measured)


def _print_measured(found: Measured) -> None:
    which = f"{found.examples:,} {found.noun}"
    if found.quantized_by:
        which = (
            f"{which}, those that it was quantized by"
            if found.examples > 1
            else "the one example that it was quantized by"
        )
    if found.agreement is None:
        print_outputs(found.rows, f"outputs of {which}")
        return
    note(
        f"{which}: divergence {found.agreement.divergence:.4g} nats, {found.agreement.changed:.2%} change their most probable class"
    )


def _alone(row: PackRow) -> str:
    if not row.alone:
        return "-"
    return "exact" if row.alone_db is None else f"{row.alone_db:.1f} dB"


def _how_many(report: PackReport) -> str:
    bits = report.packed.header.made.get("bits", "auto")
    total = report.quantized + sum(row.tensors for row in report.kept)
    whole = f"{report.quantized:,} of {total:,} weights in {'few' if bits == 'auto' else bits} bits"
    whys = "; ".join(f"{row.why}: {row.tensors:,} of {row.numbers:,} numbers" for row in report.kept)
    return f"{whole}, the others as they are: {whys}" if whys else whole


def _examples(fixed: int) -> str:
    return "one example" if fixed == 1 else f"batches of {fixed}"


def _compared(size: int, before: int) -> str:
    """
    >>> _compared(10, 25), _compared(99, 100), _compared(100, 100), _compared(101, 100)
    ('2.5x smaller than 25', '1 less than 100', 'as before', '1 more than 100')
    """
    if size < 0.95 * before:
        return f"{before / size:.1f}x smaller than {before:,}"
    return (
        f"{abs(before - size):,} {'less' if size < before else 'more'} than {before:,}"
        if size != before
        else "as before"
    )


def pack_json(report: PackReport, output: Path) -> dict[str, Any]:
    """`pack --json`."""
    packed = report.packed
    return {
        "output": str(output),
        "bytes": output.stat().st_size,
        "bytes_before": report.bytes_before,
        "params": packed.header.params,
        "ratio": packed.ratio,
        "checked": report.checked,
        "difference": report.difference,
        "largest": report.largest,
        "outputs": [dataclasses.asdict(row) for row in report.outputs],
        "not_compared": report.reason,
        "spoiled": [dataclasses.asdict(kept) for kept in report.spoiled],
        "advice": report.advice,
        "fixed_batch": report.fixed,
        "agreement": None if report.agreement is None else dataclasses.asdict(report.agreement),
        "measured": None if report.measured is None else dataclasses.asdict(report.measured),
        "quantized": report.quantized,
        "kept": [dataclasses.asdict(row) for row in report.kept],
        "passes": [dataclasses.asdict(row) for row in report.passes],
        "tensors": [dataclasses.asdict(row) for row in report.rows],
    }
