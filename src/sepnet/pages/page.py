"""One HTML page in the house style: readable on a phone, light and dark, printable, without network access."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Sequence

__all__ = ["count", "page", "si", "table"]

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #5b6570; --line: #d7dce1; --bar: #2f6fde; --paper: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4ae; --line: #3a4149; --bar: #79a6ff; --paper: #15181c; } }
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; } p.big { font-size: 1.2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .75rem .25rem 0; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
th { color: var(--soft); font-weight: 600; } .text { text-align: left; }
svg { width: 100%; height: auto; max-width: 46rem; } svg text { fill: var(--ink); } svg .bar { fill: var(--bar); }
pre { overflow-x: auto; font-size: .85rem; border: 1px solid var(--line); padding: .75rem; } .soft { color: var(--soft); }
"""


def page(title: str, body: Sequence[str], style: str = "", script: str = "") -> str:
    """A whole document.  `title` is escaped here, `body` is HTML already; only this very `script` may run in it."""
    policy = ""
    if script:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        rules = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
        policy = f'<meta http-equiv="Content-Security-Policy" content="{rules}">'
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'{policy}<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{_STYLE}{style}</style></head><body>{''.join(body)}"
        + (f"<script>{script}</script>" if script else "")
        + "</body></html>\n"
    )


def table(names: Sequence[str], texts: int, lines: Sequence[Sequence[str]]) -> str:
    """A table whose first `texts` columns are words, the others numbers; every cell is escaped."""

    def row(cells: Sequence[str], tag: str) -> str:
        kinds = [' class="text"' if at < texts else "" for at in range(len(cells))]
        return (
            "<tr>"
            + "".join(f"<{tag}{kind}>{html.escape(cell)}</{tag}>" for kind, cell in zip(kinds, cells, strict=True))
            + "</tr>"
        )

    body = "".join(row(line, "td") for line in lines)
    return f'<div class="wide"><table><thead>{row(names, "th")}</thead><tbody>{body}</tbody></table></div>'


def count(many: int, word: str) -> str:
    """A number and its noun.

    >>> count(1, "layer"), count(1200, "layer")
    ('1 layer', '1,200 layers')
    """
    return f"{many:,} {word}{'' if many == 1 else 's'}"


def si(number: float) -> str:
    """A count in four digits at most, with k, M or G.

    >>> si(1792), si(138_357_544), si(0), si(999_999)
    ('1.79 k', '138 M', '0', '1 M')
    """
    for unit, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if number >= 0.9995 * unit:
            return f"{number / unit:.3g}{word}"
    return f"{number:.3g}"
