"""Tables that sort and filter: a click or the keyboard on a column's name, a text, one choice of a column."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["SCRIPT", "STYLE", "Cell", "sortable"]

STYLE = """
.tools { display: flex; flex-wrap: wrap; gap: .5rem 1rem; align-items: end; margin: .75rem 0; }
.tools label { color: var(--soft); font-size: .85rem; display: grid; }
.tools input, .tools select { font: inherit; padding: .3rem .5rem; color: var(--ink); background: var(--paper); border: 1px solid var(--soft); border-radius: 4px; min-height: 2.4rem; box-sizing: border-box; }
.tools output { color: var(--soft); flex: 1 0 100%; }
.sorts thead th { padding: 0 .75rem 0 0; } .sorts button { font: inherit; font-weight: 600; color: inherit; background: none; border: 0; padding: .35rem 0; cursor: pointer; }
.sorts button:focus-visible, .tools :focus-visible { outline: 2px solid var(--bar); outline-offset: 2px; }
.sorts [aria-sort=ascending] button, .sorts [aria-sort=descending] button { color: var(--ink); }
.sorts [aria-sort] button::after { content: "\\2195"; opacity: .45; margin-left: .25em; display: inline-block; width: .9em; }
.sorts [aria-sort=ascending] button::after { content: "\\2191"; opacity: 1; } .sorts [aria-sort=descending] button::after { content: "\\2193"; opacity: 1; }
.sorts .share { min-width: 4.5rem; background: linear-gradient(to left, color-mix(in srgb, var(--bar) 28%, transparent) calc(var(--share) * (100% - .75rem)), transparent 0) no-repeat; background-origin: content-box; background-size: 100% 70%; background-position: 0 50%; }
.sorts tbody th, .sorts td { vertical-align: top; }
.sorts .name { position: sticky; left: 0; background: var(--paper); box-shadow: inset 0 -1px var(--line); color: var(--ink); } .sorts .name > span { display: block; max-width: 22rem; overflow: hidden; text-overflow: ellipsis; }
@media (max-width: 40rem) { .sorts { font-size: .85rem; } .sorts .name > span { width: 8.5rem; white-space: normal; overflow-wrap: anywhere; } .tools label { flex: 1 1 9rem; } }
@media print { .tools { display: none; } .sorts button::after { content: none !important; } }
"""

SCRIPT = """
"use strict";
(() => {
  const boxes = [...document.querySelectorAll("[data-sorts]")].map(prepare);
  const read = () => boxes.forEach(box => box.show(new URLSearchParams(location.hash.slice(1))));
  addEventListener("hashchange", read);
  read();

  function write() {
    const state = new URLSearchParams();
    boxes.forEach(box => box.tell(state));
    try { history.replaceState(null, "", "#" + state); } catch { /* a page that was saved may not */ }
  }

  function prepare(box) {
    const id = box.dataset.sorts, body = box.querySelector("tbody"), rows = [...body.rows];
    const heads = [...box.querySelectorAll("thead th")], names = heads.map(head => head.textContent);
    const words = box.querySelector("input"), choice = box.querySelector("select"), told = box.querySelector("output");
    const at = Number(choice.dataset.column), total = names.indexOf(told.dataset.sum);
    let column = -1, down = false;

    const value = (row, index) => {
      const cell = row.cells[index];
      return "value" in cell.dataset ? Number(cell.dataset.value) : cell.textContent;
    };
    const compare = (a, b) => typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });

    function update() {
      heads.forEach((head, index) =>
        head.setAttribute("aria-sort", index !== column ? "none" : down ? "descending" : "ascending"));
      const order = rows.map((row, index) => [row, index]);
      if (column >= 0) {
        order.sort(([a, i], [b, j]) => (down ? -1 : 1) * compare(value(a, column), value(b, column)) || i - j);
      }
      body.append(...order.map(([row]) => row));
      const wanted = words.value.trim().toLowerCase();
      rows.forEach(row => {
        row.hidden = (choice.value && value(row, at) !== choice.value) || !row.textContent.toLowerCase().includes(wanted);
      });
      const shown = rows.filter(row => !row.hidden);
      told.textContent = shown.length + " of " + rows.length + " rows";
      if (total >= 0) {
        const sum = shown.reduce((so, row) => so + value(row, total), 0);
        told.textContent += ", " + sum.toLocaleString("en") + " " + told.dataset.sum;
      }
    }

    heads.forEach((head, index) => head.querySelector("button").addEventListener("click", () => {
      down = column === index ? !down : rows.length > 0 && typeof value(rows[0], index) === "number" && index > 0;
      column = index;
      update();
      write();
    }));
    for (const control of [words, choice]) control.addEventListener("input", () => { update(); write(); });

    return {
      show(state) {
        column = names.indexOf(state.get(id + ".sort"));
        down = state.get(id + ".order") === "descending";
        words.value = state.get(id + ".text") || "";
        choice.value = state.get(id + ".only") || "";
        if (choice.selectedIndex < 0) choice.value = "";
        update();
      },
      tell(state) {
        if (column >= 0) {
          state.set(id + ".sort", names[column]);
          state.set(id + ".order", down ? "descending" : "ascending");
        }
        if (words.value) state.set(id + ".text", words.value);
        if (choice.value) state.set(id + ".only", choice.value);
      },
    };
  }
})();
"""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what it shows, not escaped yet.
        value: what it sorts by; None sorts by the text.
        share: 0 to 1, length of a bar behind the text; None for none.
        name: whether it names the row and stays in view.
    """

    text: str
    value: float | None = None
    share: float | None = None
    name: bool = False


def sortable(
    identity: str, label: str, names: Sequence[str], rows: Sequence[Sequence[Cell]], *, choose: str, total: str = ""
) -> str:
    """A table with its tools; without JavaScript it is a plain table.

    The page's address keeps the view: `#ID.sort=COLUMN&ID.order=descending&ID.text=WORDS&ID.only=CHOICE`.

    Args:
        identity: ID, one word.
        label: what the rows are, for the screen reader.
        names: of the columns.
        rows: cells of each row.
        choose: the column of which one value may be picked.
        total: the column whose sum over the rows shown is told, if any.
    """
    at = names.index(choose)
    choices = dict.fromkeys(row[at].text for row in rows)
    options = "".join(f"<option>{html.escape(choice)}</option>" for choice in choices)
    tools = (
        f'<div class="tools"><label>{html.escape(label)}<input type="search" placeholder="any text"></label>'
        f'<label>{html.escape(choose)}<select data-column="{at}"><option value="">all</option>{options}</select></label>'
        f'<output data-sum="{html.escape(total)}">{len(rows)} rows</output></div>'
    )
    texts = [all(row[column].value is None for row in rows) for column in range(len(names))]
    heads = "".join(
        f'<th scope="col" aria-sort="none"{_classes(text, any(row[at].name for row in rows))}>'
        f'<button type="button">{html.escape(name)}</button></th>'
        for at, (name, text) in enumerate(zip(names, texts, strict=True))
    )
    body = "".join(
        "<tr>" + "".join(_cell(cell, text) for cell, text in zip(row, texts, strict=True)) + "</tr>" for row in rows
    )
    return (
        f'<div data-sorts="{html.escape(identity)}">{tools}<div class="wide" tabindex="0" role="region" '
        f'aria-label="{html.escape(label)}"><table class="sorts"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></div>"
    )


def _classes(text: bool, name: bool = False, share: bool = False) -> str:
    words = [word for word, on in (("text", text), ("name", name), ("share", share)) if on]
    return f' class="{" ".join(words)}"' if words else ""


def _cell(cell: Cell, text: bool) -> str:
    tag = "th" if cell.name else "td"
    value = f' data-value="{cell.value}"' if cell.value is not None else ""
    share = f' style="--share:{cell.share:.4f}"' if cell.share is not None else ""
    shown = html.escape(cell.text)
    broken = re.sub(r"([._])", r"\1<wbr>", shown)  # where a narrow screen may break a long name
    inside = f'<span title="{shown}">{broken}</span>' if cell.name else shown
    scope = ' scope="row"' if cell.name else ""
    return f"<{tag}{scope}{_classes(text, cell.name, cell.share is not None)}{value}{share}>{inside}</{tag}>"
