"""Tables of what a network could become, and of the networks of the talk."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from sepnet.cli.terminal import console, note, plain, table
from sepnet.core.estimate import TYPICAL, TalkAccounting, WhatIf
from sepnet.core.history import HistoryRow

__all__ = [
    "history_json",
    "print_history",
    "print_talk_accounting",
    "print_what_if",
    "talk_accounting_json",
    "what_if_json",
]


def print_what_if(what_if: WhatIf) -> None:
    """`inspect --what-if`: a table a scope."""
    coded = f"{what_if.coded:,} of {what_if.weights:,} weights really coded"
    note(
        f"what if: {plain(what_if.network)}, {what_if.params:,} params, {what_if.bytes:,} bytes at float32; "
        f"estimated from {what_if.measured_on} ({coded}), nothing trained"
    )
    for scope in dict.fromkeys(row.scope for row in what_if.rows):
        lines = table(
            f"\napplied to {'every layer that it suits' if scope == 'network' else scope + ' layers'}",
            ["method"],
            ["layers", "params left", "macs left", "their bytes before", "after", "file bytes", "ratio"],
        )
        for row in (row for row in what_if.rows if row.scope == scope):
            lines.add_row(
                row.method,
                f"{len(row.layers)}",
                f"{row.params:,}",
                f"{row.macs:,}",
                f"{row.part_before:,}",
                f"{row.part:,}",
                f"{row.bytes:,}",
                f"{row.ratio:.2f}x",
            )
        console().print(lines)
    note("\nlayers that a method does not touch are kept in binary16; accuracy is for training to find out")
    if what_if.measured_on == TYPICAL:
        note("weights that are not trained yet, or unusually, compress otherwise; --weights FILE estimates from yours")


def what_if_json(what_if: WhatIf) -> dict[str, Any]:
    """`inspect --what-if --json`: of each row also the rules of the recipe that makes it."""
    rows = []
    for row in what_if.rows:
        plain_row = {key: value for key, value in vars(row).items() if key != "rules"}
        rules = [
            {"layers": list(rule.layers), "schemes": [dict(scheme) for scheme in rule.schemes]} for rule in row.rules
        ]
        rows.append({**plain_row, "layers": list(row.layers), "rules": rules})
    return {**vars(what_if), "bytes": what_if.bytes, "rows": rows}


def print_talk_accounting(accounting: TalkAccounting) -> None:
    """The talk's arithmetic of patterns, and other ways to count."""
    rows = table(
        f"\npatterns of {plain(accounting.network)} as the talk counts, in float32 numbers",
        ["way to count"],
        ["numbers", "formula"],
    )
    for row in accounting.rows:
        rows.add_row(row.label, f"{row.numbers:,}", row.formula, style="bold" if row.talk else None)
    console().print(rows)
    for sentence in accounting.explanation:
        note(sentence)


def talk_accounting_json(accounting: TalkAccounting) -> dict[str, Any]:
    """The same for machines."""
    return dataclasses.asdict(accounting)


def print_history(rows: Sequence[HistoryRow]) -> None:
    """`inspect --history`: the networks, then where the talk says something else."""
    lines = table(
        "networks of the talk, counted anew; accuracy as published, on ILSVRC-2012 validation",
        ["network", "year"],
        ["params", "conv", "fc", "conv %", "fc %", "MB", "published", "top-1", "top-5"],
    )
    for row in rows:
        lines.add_row(
            row.title, f"{row.year}", *_counts(row), row.published or "-", _percent(row.top1), _percent(row.top5)
        )
    console().print(lines)
    columns = ["network", "figure", "talk", "here", "reason"]
    differences = table("\nwhere the talk says something else", columns, [], prose=columns[1:])
    for row in rows:
        for at, difference in enumerate(row.differences):
            differences.add_row(
                "" if at else row.title, difference.what, difference.talk, difference.ours, difference.reason
            )
    console().print(differences)
    sources = table("\nsources of the accuracy", ["network", "source"], [], prose=["source"])
    for row in (row for row in rows if row.source):
        sources.add_row(row.title, row.source)
    console().print(sources)


def _counts(row: HistoryRow) -> list[str]:
    if row.params is None or row.conv is None or row.fc is None or row.bytes is None:
        return ["-"] * 6
    shares = [f"{100 * part / row.params:.1f}" for part in (row.conv, row.fc)]
    return [f"{row.params:,}", f"{row.conv:,}", f"{row.fc:,}", *shares, f"{row.bytes / 1e6:.1f}"]


def _percent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"


def history_json(rows: Sequence[HistoryRow]) -> list[dict[str, Any]]:
    """`inspect --history --json`."""
    return [{**dataclasses.asdict(row), "bytes": row.bytes} for row in rows]
