"""report: one self-contained HTML file that shows what compressing did, for whoever has to be convinced."""

from __future__ import annotations

import html
import platform
from collections.abc import Sequence
from datetime import date
from importlib.metadata import version
from pathlib import Path

from sepnet.core.epoch_log import EpochLog, setups
from sepnet.core.files import write_bytes
from sepnet.core.ratio import compared
from sepnet.core.recipe import Recipe
from sepnet.core.recipe_text import recipe_text
from sepnet.core.rewrite import RewriteRow, rewrite_table
from sepnet.core.stage_row import StageRow
from sepnet.pages.curve import learning_curve
from sepnet.pages.page import page, table
from sepnet.pages.patterns import pattern_section
from sepnet.steps.info import FileReport

__all__ = ["stage_chart", "write_report"]


def write_report(
    path: Path,
    recipe: Recipe,
    rows: Sequence[StageRow],
    file: FileReport,
    *,
    data: str,
    rewrites: Sequence[RewriteRow] = (),
    epochs: Sequence[EpochLog] = (),
) -> None:
    """Write the report.  It loads nothing from anywhere."""
    curve = learning_curve(epochs)
    first, last = rows[0], rows[-1]
    drop = 100 * (first.top1 - last.top1)
    change = f"{abs(drop):.2f} points {'lost' if drop > 0 else 'gained'}" if abs(drop) >= 0.005 else "no accuracy lost"
    made = f"sepnet {version('sepnet')}, {date.today().isoformat()}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    body = [
        f"<h1>{html.escape(file.network)} on {html.escape(data)}</h1>",
        f'<p class="big"><b>{first.bytes:,} → {last.bytes:,} bytes</b>, {compared(file.ratio, "×")} float32; '
        f"top-1 {first.top1:.2%} → {last.top1:.2%} ({change}).</p>",
        f'<p class="soft">Accuracy of the last row is that of the written file, read back and run by ONNX Runtime. {html.escape(made)}.</p>',
        "<h2>Stages</h2>",
        stage_chart(rows),
        _stages(rows),
        *(["<h2>Rewrites</h2>", _rewrites(rewrites)] if rewrites else []),
        *(["<h2>Training</h2>", *_training(epochs), curve] if epochs else []),
        "<h2>What is in the file</h2>",
        _tensors(file),
        *pattern_section([(tensor.name, tensor.patterns) for tensor in file.tensors if tensor.patterns]),
        "<h2>Recipe</h2>",
        f"<p>{html.escape(recipe.title)}</p><pre>{html.escape(recipe_text(recipe))}</pre>",
    ]
    write_bytes(path, page(f"{file.network}: sepnet report", body).encode())


def stage_chart(rows: Sequence[StageRow]) -> str:
    """An SVG of one bar a stage, as long as its file is large."""
    most, height = max(row.bytes for row in rows), 34
    bars = []
    for at, row in enumerate(rows):
        width, top = max(2.0, 380 * row.bytes / most), at * height + 6
        label = f"{row.bytes:,} bytes, {row.top1:.2%}"
        bars.append(
            f'<text fill="#6b7680" x="96" y="{top + 16}" text-anchor="end">{html.escape(row.stage)}</text>'
            f'<rect class="bar" fill="#2f6fde" x="104" y="{top}" width="{width:.1f}" height="22" rx="3"/><text fill="#6b7680" x="{112 + width:.1f}" y="{top + 16}">{label}</text>'
        )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 700 {len(rows) * height + 8}" role="img" '
        f'aria-label="Bytes on disk after each stage" font-family="system-ui, sans-serif" font-size="14">{"".join(bars)}</svg>'
    )


def _stages(rows: Sequence[StageRow]) -> str:
    lines = [
        [row.stage, f"{row.kept:.2%}", f"{row.bytes:,}", f"{row.ratio:.1f}×", f"{row.top1:.2%}", f"{row.ms:.3f}"]
        for row in rows
    ]
    return table(["stage", "params kept", "bytes on disk", "ratio", "top-1", "ms an image"], 1, lines)


def _training(epochs: Sequence[EpochLog]) -> list[str]:
    """A line for each number of epochs in a row that were computed in one way."""
    return [f"<p>{count:,} epoch{'s' * (count > 1)}, {html.escape(str(setup))}.</p>" for count, setup in setups(epochs)]


def _rewrites(rows: Sequence[RewriteRow]) -> str:
    names, lines = rewrite_table(rows)
    return table(names, 2, lines)


def _tensors(file: FileReport) -> str:
    lines = [
        [
            row.name,
            "×".join(map(str, row.shape)),
            row.scheme,
            row.codec,
            str(row.bits),
            f"{row.kept / max(1, row.params):.1%}",
            f"{row.bytes:,}",
        ]
        for row in file.tensors
    ]
    lines.append(["graph", "", "", "deflate", "", "", f"{file.graph_bytes:,}"])
    lines.append(["header", "", "", "deflate", "", "", f"{file.header_bytes + file.fixed_bytes:,}"])
    lines.append(["file", "", "", "", "", "", f"{file.bytes:,}"])
    return table(["tensor", "shape", "scheme", "codec", "bits", "kept", "bytes"], 4, lines)
