"""Latency and size side by side: a bar each for every entrant of `bench`."""

from __future__ import annotations

import html

from sepnet.core.bench_report import BenchReport

__all__ = ["bench_chart"]

SOFT, TIME, SIZE = "#6b7680", "#2f6fde", "#c2571a"
COLUMN, GAP, HEIGHT, TOP = 190, 90, 34, 28
LETTER = 7.2
"""Points a letter takes, more or less."""


def bench_chart(report: BenchReport) -> str:
    """An SVG: for the smallest batch the median time (with the middle 80 % as a line, cut at the edge) and the bytes of each entrant's file."""
    batch = min(row.batch for row in report.rows)
    rows = [row for row in report.rows if row.batch == batch]
    slowest, largest = 1.25 * max(row.ms for row in rows), max(row.entrant.bytes for row in rows)
    names = [f"{row.entrant.form}, {row.entrant.runtime}" for row in rows]
    label = round(16 + LETTER * max(map(len, names)))
    second = label + COLUMN + GAP
    parts = [
        f'<text x="{label}" y="14" fill="{TIME}">ms, batch {batch}, {report.threads} thread{"s" * (report.threads > 1)}</text>',
        f'<text x="{second}" y="14" fill="{SIZE}">bytes of the file</text>',
    ]
    for at, row in enumerate(rows):
        top = TOP + at * HEIGHT
        middle = top + 11
        wide, broad = (max(2.0, COLUMN * part) for part in (row.ms / slowest, row.entrant.bytes / largest))
        low, high = (label + COLUMN * min(1.0, value / slowest) for value in (row.fast_ms, row.slow_ms))
        parts.append(
            f'<text x="{label - 8}" y="{middle + 5}" text-anchor="end">{html.escape(names[at])}</text>'
            f'<rect x="{label}" y="{top}" width="{wide:.1f}" height="22" rx="3" fill="{TIME}"/>'
            f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}" stroke="{SOFT}" stroke-width="3"/>'
            f'<text x="{max(label + wide, high) + 6:.1f}" y="{middle + 5}">{row.ms:.3g}</text>'
            f'<rect x="{second}" y="{top}" width="{broad:.1f}" height="22" rx="3" fill="{SIZE}"/>'
            f'<text x="{second + broad + 6:.1f}" y="{middle + 5}">{row.entrant.bytes:,}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {second + COLUMN + GAP} {TOP + len(rows) * HEIGHT}" role="img" '
        f'aria-label="Latency and file size" font-family="system-ui, sans-serif" font-size="13" fill="{SOFT}">{"".join(parts)}</svg>'
    )
