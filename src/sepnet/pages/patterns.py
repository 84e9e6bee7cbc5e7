"""Pictures of the commonest sign patterns, and a table of how many bits they take."""

from __future__ import annotations

from collections.abc import Sequence

from sepnet.core.patterns import PatternReport, commonest
from sepnet.pages.page import table

__all__ = ["pattern_pictures", "pattern_section"]

SHOWN = 24
CELL, GAP, LABEL, COLUMNS = 12, 20, 18, 8


def pattern_section(layers: Sequence[tuple[str, PatternReport]]) -> list[str]:
    """HTML of all of it; nothing for a file without patterns."""
    if not layers:
        return []
    lines = [
        [
            name,
            "×".join(map(str, report.side)),
            f"{report.kernels:,}",
            f"{len(report.histogram):,}",
            f"{report.entropy:.2f}",
            f"{report.stored:.2f}",
        ]
        for name, report in layers
    ]
    head = ["layer", "kernel", "kernels", "patterns", "entropy, bits a kernel", "stored, bits a kernel"]
    pictures = [
        f"<p>The commonest of {len(counts):,} patterns {'×'.join(map(str, side))}, and how many kernels have them:</p>"
        + pattern_pictures(side, counts[:SHOWN])
        for side, counts in commonest(report for _, report in layers).items()
        if len(side) <= 2
    ]
    return ["<h2>Patterns</h2>", *pictures, table(head, 1, lines)]


def pattern_pictures(side: tuple[int, ...], counts: Sequence[tuple[str, int]]) -> str:
    """An SVG of patterns, dark for plus, with a number below each.

    >>> pattern_pictures((3, 3), [("111000000", 5)]).count("<rect")
    9
    """
    rows, columns = (1, *side)[-2:]
    wide, high = columns * CELL + GAP, rows * CELL + LABEL + GAP
    parts = []
    for at, (pattern, count) in enumerate(counts):
        left, top = at % COLUMNS * wide + GAP // 2, at // COLUMNS * high + 4
        for place, sign in enumerate(pattern):
            x, y = left + place % columns * CELL, top + place // columns * CELL
            fill = "#2f6fde" if sign == "1" else "#2f6fde22"
            parts.append(f'<rect x="{x}" y="{y}" width="{CELL - 1}" height="{CELL - 1}" fill="{fill}"/>')
        middle = left + columns * CELL // 2
        parts.append(f'<text x="{middle}" y="{top + rows * CELL + 14}" text-anchor="middle">{count:,}</text>')
    width = min(len(counts), COLUMNS) * wide
    height = -(-len(counts) // COLUMNS) * high
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" style="max-width:{width * 1.5:.0f}px" role="img" '
        f'aria-label="Commonest sign patterns" font-family="system-ui, sans-serif" font-size="11" fill="#6b7680">{"".join(parts)}</svg>'
    )
