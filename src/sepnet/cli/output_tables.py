"""Outputs of a network beside those that they should be like: for `pack` and `export`."""

from __future__ import annotations

from collections.abc import Sequence

from sepnet.cli.terminal import console, plain, table
from sepnet.core.output_row import OutputRow

__all__ = ["print_outputs"]


def print_outputs(rows: Sequence[OutputRow], title: str) -> None:
    """A row an output."""
    lines = table(title, ["output"], ["signal to noise", "max |difference|", "max |output|"])
    for row in rows:
        if row.changed is not None:
            lines.add_row(plain(row.name), f"{row.changed:.2%} changed", "-", "-")
        elif row.difference is None:
            lines.add_row(plain(row.name), "no finite numbers", "-", "-")
        else:
            noise = "exact" if row.snr_db is None else f"{row.snr_db:.1f} dB"
            lines.add_row(plain(row.name), noise, f"{row.difference:.4g}", f"{row.largest:.4g}")
    console().print(lines)
