"""network page: where a network's parameters are, as one HTML file for people and one SVG for papers."""

from __future__ import annotations

import html
from collections.abc import Callable

from sepnet.core.estimate import WhatIf
from sepnet.core.network import KindTotal, LayerReport, NetworkReport
from sepnet.pages.network_chart import COLOURS, Size, area_chart, legend, share_bars, svg
from sepnet.pages.page import count, page, si
from sepnet.pages.sortable import SCRIPT, STYLE, Cell, sortable

__all__ = ["network_page", "network_svg"]

_STYLE = """
body { max-width: 72rem; } .narrow { display: none; } .chart { margin: 1rem 0; max-width: 60rem; }
.chart svg { max-width: none; display: block; } .halo { stroke: var(--paper); } .trace { stroke: var(--ink); } .swatch { display: inline-block; width: .8em; height: .8em; margin-right: .5em; }
@media (max-width: 40rem) { .narrow { display: block; max-width: 30rem; } .broad { display: none; } .wide table { font-size: .85rem; } }
"""
_BROAD, _NARROW = Size(), Size(330, 260, 13)


def network_page(report: NetworkReport, what_if: WhatIf | None = None) -> str:
    """A whole HTML document that loads nothing: charts, a table of the layers that sorts and filters, the what-if table.

    Args:
        report: what `inspect` says.
        what_if: what each method would save; None leaves that table out.
    """
    name = report.name or "network"
    shape = " x ".join(map(str, report.input_shape))
    body = [
        f"<h1>{html.escape(name)}</h1>",
        f'<p class="big"><b>{report.params:,} params</b>, {report.bytes / 1e6:,.1f} MB at float32; '
        f"{si(report.macs)} macs for one example of {html.escape(shape)}.</p>",
        f"<p>{html.escape(_advice(report))}</p>",
        "<h2>Params, layer by layer</h2>",
        _both(_area, report),
        "<h2>By kind of layer</h2>",
        _both(_bars, report),
        _kinds(report),
        "<h2>Layers</h2>",
        _layers(report),
    ]
    if what_if is not None:
        body += ["<h2>What each method would leave</h2>", _what_if(what_if)]
    body.append(
        '<p class="soft">A MAC is one multiplication and addition, biases not counted; 1 MB is 10<sup>6</sup> bytes. '
        "Written by sepnet.</p>"
    )
    return page(f"{name}: params by layer", body, STYLE + _STYLE, SCRIPT)


def network_svg(report: NetworkReport) -> str:
    """Both charts in one SVG on white, with explicit colours and fonts, for papers and slides."""
    size = Size()
    title = f"{report.name or 'network'}: {report.params:,} params, {si(report.macs)} macs"
    top = 2.4 * size.font
    heading = f'<text x="10" y="{1.4 * size.font:.1f}" font-weight="bold" fill="#000000">{html.escape(title)}</text>'
    area = area_chart(report, size, top)
    bars, below = share_bars(report, size, top + size.height + 0.8 * size.font)
    key, end = legend(report, size, below + 0.4 * size.font)
    return (
        svg(heading + area + bars + key, size, height=end + 0.4 * size.font, label=title, background="#ffffff") + "\n"
    )


def _advice(report: NetworkReport) -> str:
    """Which kind holds most of the params, and which does most of the work."""
    kinds = [kind for kind in report.by_kind() if kind.params]
    if not kinds:
        return "This network has no params."
    heavy, busy = max(kinds, key=lambda kind: kind.params), max(kinds, key=lambda kind: kind.macs)
    words = f"Most params are in {heavy.kind} layers: {_percent(heavy.params, report.params)} of them"
    if busy.macs:
        words += f"; most macs in {busy.kind} layers: {_percent(busy.macs, report.macs)}"
    return words + "."


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole if whole else 0:.1f}\N{NO-BREAK SPACE}%"


def _both(draw: Callable[[NetworkReport, Size], str], report: NetworkReport) -> str:
    """A drawing for a screen and one for a phone, of which CSS shows one."""
    return (
        f'<div class="chart broad">{draw(report, _BROAD)}</div><div class="chart narrow">{draw(report, _NARROW)}</div>'
    )


def _area(report: NetworkReport, size: Size) -> str:
    key, top = legend(report, size, 2)
    label = f"Params of {report.name} added up layer by layer, by kind"
    return svg(key + area_chart(report, size, top), size, height=top + size.height, label=label)


def _bars(report: NetworkReport, size: Size) -> str:
    bars, below = share_bars(report, size)
    return svg(
        bars,
        size,
        height=below,
        label=f"Shares of params and macs of {report.name} by kind; the table below has the figures",
    )


def _kinds(report: NetworkReport) -> str:
    def row(kind: KindTotal) -> str:
        swatch = f'<span class="swatch" style="background:{COLOURS[kind.kind]}"></span>'
        cells = (
            count(kind.layers, "layer"),
            f"{kind.params:,}",
            _percent(kind.params, report.params),
            f"{kind.macs:,}",
            _percent(kind.macs, report.macs),
        )
        return (
            f'<tr><td class="text">{swatch}{kind.kind}</td>' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
        )

    heads = "".join(f'<th scope="col">{name}</th>' for name in ("", "params", "% of params", "macs", "% of macs"))
    return (
        f'<div class="wide"><table><thead><tr><th class="text">kind</th>{heads}</tr></thead>'
        f"<tbody>{''.join(map(row, report.by_kind()))}</tbody></table></div>"
    )


def _layers(report: NetworkReport) -> str:
    def row(at: int, layer: LayerReport) -> list[Cell]:
        share, work = layer.params / max(1, report.params), layer.macs / max(1, report.macs)
        return [
            Cell(layer.name or "(network)", name=True),
            Cell(f"{at}", at),
            Cell(layer.kind),
            Cell(f"{layer.params:,}", layer.params),
            Cell(f"{100 * share:.2f}", layer.params, share),
            Cell(f"{layer.macs:,}", layer.macs),
            Cell(f"{100 * work:.2f}", layer.macs, work),
            Cell("x".join(map(str, layer.weight_shape)) or "-"),
            Cell(f"{layer.bytes:,}", layer.bytes),
        ]

    names = ("layer", "#", "kind", "params", "% of params", "macs", "% of macs", "weight", "bytes")
    rows = [row(at, layer) for at, layer in enumerate(report.layers, 1)]
    return sortable("layers", "find layers", names, rows, choose="kind", total="params")


def _what_if(what_if: WhatIf) -> str:
    most = max(row.ratio for row in what_if.rows)
    rows = [
        [
            Cell(row.method, name=True),
            Cell(f"{row.ratio:.2f}x", row.ratio, row.ratio / most),
            Cell(f"{row.bytes:,}", row.bytes),
            Cell(row.scope),
            Cell(f"{len(row.layers)}", len(row.layers)),
            Cell(f"{row.params:,}", row.params),
            Cell(f"{row.macs:,}", row.macs),
            Cell(f"{row.part_before:,}", row.part_before),
            Cell(f"{row.part:,}", row.part),
        ]
        for row in what_if.rows
    ]
    names = (
        "method",
        "ratio",
        "file bytes",
        "applied to",
        "layers",
        "params left",
        "macs left",
        "their bytes before",
        "their bytes after",
    )
    coded = f"{what_if.coded:,} of {what_if.weights:,}"
    return (
        f'<p class="soft">Estimated before any training, from {html.escape(what_if.measured_on)} ({coded} really coded): '
        "accuracy is not part of it.  Layers that a method does not touch are kept in binary16; ratio is the network at "
        f"float32 over the file.</p>{sortable('methods', 'find methods', names, rows, choose='applied to')}"
    )
