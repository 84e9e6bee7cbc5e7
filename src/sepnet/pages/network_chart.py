"""Charts of a network report in SVG: params added up layer by layer, and each kind's share.

Shapes and texts have explicit fills and fonts, so that they print; a page may restyle texts by its own CSS.
"""

from __future__ import annotations

import html
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sepnet.core.network import KINDS, LayerReport, NetworkReport
from sepnet.pages.page import si

__all__ = ["COLOURS", "Size", "area_chart", "legend", "share_bars", "svg"]

COLOURS = {
    "conv kxk": "#0072b2",
    "conv 1x1": "#56b4e9",
    "depthwise": "#009e73",
    "fc": "#d55e00",
    "norm": "#8c8c8c",
    "other": "#cc79a7",
}
"""Okabe and Ito's colours, told apart by colour-blind readers; white is legible on the first only, black on the rest."""

_FONT = "Helvetica, Arial, sans-serif"
_INK, _SOFT = "#000000", "#595959"
_HALO = ' class="halo" stroke="#ffffff" stroke-width="3.5" stroke-linejoin="round" stroke-linecap="butt"'
_DASHES = (
    f'{_HALO} stroke-dasharray="5 4"',
    ' class="trace" stroke="#000000" stroke-width="1.5" stroke-dasharray="5 4"',
)


@dataclass(frozen=True)
class Size:
    """Width of the drawing, height of the area chart, and font size, in pixels."""

    width: int = 720
    height: int = 300
    font: int = 13


def svg(content: str, size: Size, *, height: float, label: str, background: str = "") -> str:
    """The outermost element, scaled by its viewBox."""
    back = f'<rect width="{size.width}" height="{height:.0f}" fill="{background}"/>' if background else ""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size.width} {height:.0f}" role="img" '
        f'aria-label="{html.escape(label)}" font-family="{_FONT}" font-size="{size.font}">{back}{content}</svg>'
    )


def text(x: float, y: float, words: str, *, anchor: str = "start", fill: str = _INK, more: str = "") -> str:
    """One line of text; `words` are escaped here."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}"{more}>{html.escape(words)}</text>'


def area_chart(report: NetworkReport, size: Size, top: float = 0) -> str:
    """Params of the layers so far, stacked by kind, from left to right in the order of the layers.

    A dashed line adds macs up the same way, as a share of all macs.  The layers with the most params are named.
    """
    layers = report.layers
    left, right = 4.6 * size.font, 10.0
    bottom = top + size.height - 2.2 * size.font
    frame = _Frame(left, size.width - right, top + 1.2 * size.font, bottom, max(1, len(layers)), max(1, report.params))
    parts = _grid(frame, size)
    lower = [0.0] * (len(layers) + 1)
    for kind in (kind for kind in KINDS if any(layer.kind == kind for layer in layers)):
        sums = itertools.accumulate((layer.params if layer.kind == kind else 0 for layer in layers), initial=0)
        upper = [under + so_far for under, so_far in zip(lower, sums, strict=True)]
        line = [frame.point(at, value) for at, value in enumerate(upper)]
        line += [frame.point(at, value) for at, value in reversed(list(enumerate(lower)))]
        parts.append(f'<polygon points="{" ".join(line)}" fill="{COLOURS[kind]}"/>')
        lower = upper
    if report.macs:
        so_far = itertools.accumulate((layer.macs for layer in layers), initial=0)
        line = [frame.point(at, macs / report.macs * frame.most) for at, macs in enumerate(so_far)]
        parts += [f'<polyline points="{" ".join(line)}" fill="none"{stroke}/>' for stroke in _DASHES]
    parts += [*_names(report, frame, size), _tips(layers, frame)]
    words = f"{len(layers)} layers, first to last"
    return "".join(parts) + text(
        (frame.left + frame.right) / 2, bottom + 1.6 * size.font, words, anchor="middle", fill=_SOFT
    )


@dataclass(frozen=True)
class _Frame:
    """Where the plot is, and what its axes span."""

    left: float
    right: float
    top: float
    bottom: float
    layers: int
    most: int

    def x(self, layer: float) -> float:
        """Pixels from the left."""
        return self.left + (self.right - self.left) * layer / self.layers

    def y(self, params: float) -> float:
        """Pixels from the top."""
        return self.bottom - (self.bottom - self.top) * params / self.most

    def point(self, layer: float, params: float) -> str:
        """One corner."""
        return f"{self.x(layer):.1f},{self.y(params):.1f}"


def _grid(frame: _Frame, size: Size) -> list[str]:
    """Lines at round numbers of params."""
    step = next(step for step in _round_numbers() if frame.most / step <= 5)
    parts = []
    for value in range(0, frame.most + 1, step):
        y = frame.y(value)
        parts.append(
            f'<line x1="{frame.left:.1f}" x2="{frame.right:.1f}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8c8c8c" '
            f'stroke-opacity="{1 if value == 0 else 0.35}"/>'
        )
        parts.append(text(frame.left - 6, y + 0.35 * size.font, si(value), anchor="end", fill=_SOFT))
    return parts


def _round_numbers() -> itertools.chain[int]:
    """1, 2, 5, 10, 20, 50, ..."""
    return itertools.chain.from_iterable((10**power, 2 * 10**power, 5 * 10**power) for power in itertools.count())


def _names(report: NetworkReport, frame: _Frame, size: Size) -> list[str]:
    """The three largest layers, named above the curve where there is room; the largest in any case."""
    layers = report.layers
    below = list(itertools.accumulate((layer.params for layer in layers), initial=0))
    work = list(itertools.accumulate((layer.macs for layer in layers), initial=0))
    macs = [frame.y(so_far / max(1, report.macs) * frame.most) for so_far in work]
    parts: list[str] = []
    taken: list[float] = []
    largest = sorted(range(len(layers)), key=lambda at: -layers[at].params)[:3]
    for at in largest:
        layer, share = layers[at], layers[at].params / frame.most
        words = f"{_short(layer.name)} {si(layer.params)}, {100 * share:.0f} %"
        wide = 0.56 * size.font * len(words)
        x, y = frame.x(at + 0.5) - 8, frame.y(below[at] + layer.params / 2)
        if at == largest[0] and x - wide < frame.left:
            x = min(x + 16 + wide, frame.right)
        start = x - wide
        crossed = [macs[i] for i in range(len(macs)) if start - 9 < frame.x(i) < x + 9] if report.macs else []
        crowded = any(abs(y - other) < 1.4 * size.font for other in taken)
        crowded |= bool(crossed) and min(crossed) - size.font < y < max(crossed) + size.font
        if at != largest[0] and (share < 0.04 or crowded or start < frame.left):
            continue
        taken.append(y)
        parts.append(
            text(x, y + 0.35 * size.font, words, anchor="end", fill=_INK, more=f'{_HALO} paint-order="stroke"')
        )
    return parts


def _short(name: str, most: int = 22) -> str:
    return name if len(name) <= most else f"...{name[3 - most :]}"


def _tips(layers: Sequence[LayerReport], frame: _Frame) -> str:
    """What the pointer shows on each layer."""
    parts = []
    for at, layer in enumerate(layers):
        words = f"{layer.name or '(network)'}, {layer.kind}: {layer.params:,} params, {layer.macs:,} macs"
        parts.append(
            f'<rect x="{frame.x(at):.2f}" y="{frame.top:.1f}" width="{frame.x(1) - frame.x(0):.2f}" '
            f'height="{frame.bottom - frame.top:.1f}" fill="none" pointer-events="all"><title>{html.escape(words)}</title></rect>'
        )
    return f"<g>{''.join(parts)}</g>"


def share_bars(report: NetworkReport, size: Size, top: float = 0) -> tuple[str, float]:
    """Two bars, params and macs, split by kind; the drawing and the y below it."""
    kinds, left, tall = report.by_kind(), 4.6 * size.font, 2.2 * size.font
    room = size.width - left - 10
    parts = []
    for name, values in (("params", [k.params for k in kinds]), ("macs", [k.macs for k in kinds])):
        total, x = sum(values), left
        parts.append(text(left - 6, top + tall / 2 + 0.35 * size.font, name, anchor="end"))
        for kind, value in zip(kinds, values, strict=True):
            share = value / total if total else 0.0
            wide = room * share
            tip = f"<title>{kind.kind}: {value:,} {name}, {100 * share:.1f} %</title>"
            parts.append(
                f'<rect x="{x:.2f}" y="{top:.1f}" width="{wide:.2f}" height="{tall:.1f}" fill="{COLOURS[kind.kind]}">{tip}</rect>'
            )
            if wide > 2.8 * size.font:
                ink = "#ffffff" if kind.kind == "conv kxk" else "#000000"
                parts.append(
                    text(
                        x + wide / 2,
                        top + tall / 2 + 0.35 * size.font,
                        f"{100 * share:.0f} %",
                        anchor="middle",
                        fill=ink,
                        more=f' style="fill:{ink}" pointer-events="none"',
                    )
                )
            x += wide
        top += tall + 0.6 * size.font
    return "".join(parts), top


def legend(report: NetworkReport, size: Size, top: float) -> tuple[str, float]:
    """The colours of the kinds that occur and the dashed line of macs; the drawing and the y below it."""
    x, line = 4.6 * size.font, 1.7 * size.font
    parts = []
    items: list[str] = [kind.kind for kind in report.by_kind()]
    for item in [*items, "macs so far"] if report.macs else items:
        wide = (2.8 + 0.55 * len(item)) * size.font
        if x + wide > size.width:
            x, top = 4.6 * size.font, top + line
        middle = top + 0.6 * size.font
        if item in COLOURS:
            mark = f'<rect x="{x:.1f}" y="{top:.1f}" width="{1.2 * size.font:.1f}" height="{1.2 * size.font:.1f}" fill="{COLOURS[item]}"/>'
        else:
            ends = f'x1="{x:.1f}" x2="{x + 1.4 * size.font:.1f}" y1="{middle:.1f}" y2="{middle:.1f}"'
            mark = "".join(f"<line {ends}{stroke}/>" for stroke in _DASHES)
        parts.append(mark + text(x + 1.7 * size.font, middle + 0.35 * size.font, item))
        x += wide
    return "".join(parts), top + line
