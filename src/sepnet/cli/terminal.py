"""What the door shows: tables, progress, JSON, errors.  Colour only on a terminal."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sepnet.core.epoch_log import setups
from sepnet.core.patterns import commonest
from sepnet.core.progress import Tick, is_first
from sepnet.core.ratio import compared
from sepnet.core.score import Score

if TYPE_CHECKING:
    from rich.progress import TaskID

    from sepnet.core.epoch_log import EpochLog
    from sepnet.core.rewrite import RewriteRow
    from sepnet.core.stage_row import StageRow
    from sepnet.steps.compress import Compressed
    from sepnet.steps.info import FileReport
    from sepnet.steps.run import Prediction

_WIDE = 400
_LONGEST, _SHORTEST = 100, 16
"""Letters of a name in a table off a terminal at most, and on a narrow terminal at least."""


def console(stream: TextIO | None = None) -> Console:
    """A console on stdout (or `stream`) that takes texts as they are; off a terminal it is wide, so that nothing is cut."""
    target = stream or sys.stdout
    width = None if target.isatty() else _WIDE
    return Console(file=target, width=width, highlight=False, markup=False, emoji=False)


def plain(text: str) -> str:
    """A text from a file or a user on one line, without what could steer a terminal.

    >>> plain("a\\x1b[31mb\\n")
    'a\\\\x1b[31mb\\\\n'
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def print_error(message: str, word: str = "error") -> None:
    """One line on stderr."""
    console(sys.stderr).print(f"{word}: ", style="bold red", end="")
    console(sys.stderr).print(plain(message), soft_wrap=True)


def note(message: str) -> None:
    """One line on stdout."""
    console().print(message, soft_wrap=True)


def is_live() -> bool:
    """Whether progress is drawn: on a stderr that is a terminal, by one process alone."""
    return sys.stderr.isatty() and is_first()


def note_weights(net: str) -> None:
    """Where nobody gave weights to the user's own network: whose they are."""
    print_error(f"found no --weights; taken are those that {net} makes, random ones unless it loads some", "note")


def print_json(value: Any) -> None:
    """JSON on stdout, indented."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def cut(text: str, width: int) -> str:
    """At most `width` letters, the middle left out.

    >>> cut("encoder.0.weight", 9), cut("conv", 9)
    ('enco…ight', 'conv')
    """
    if len(text) <= width:
        return text
    head = width // 2
    return f"{text[:head]}…{text[len(text) - (width - 1 - head) :]}"


class _Name:
    """A text that shows its two ends where it is too long for its column."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        width = min(cell_len(self.text), _longest(console, options))
        return Measurement(min(width, _SHORTEST), width)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(cut(self.text, _longest(console, options)))


def _longest(console: Console, options: ConsoleOptions) -> int:
    return options.max_width if console.is_terminal else min(options.max_width, _LONGEST)


class _Rows(Table):
    """A table whose first columns hold names."""

    def __init__(self, names: Sequence[bool]) -> None:
        super().__init__(box=None, pad_edge=False, header_style="bold")
        self._names = names

    def add_row(self, *cells: Any, **options: Any) -> None:
        """A row; names are cut in the middle where the console is too narrow for them."""
        names = [*self._names, *[False] * len(cells)]
        super().add_row(*(_Name(cell) if name else cell for cell, name in zip(cells, names, strict=False)), **options)


def table(title: str, left: Sequence[str], right: Sequence[str], *, prose: Sequence[str] = ()) -> Table:
    """Print a title; an empty table, the columns of `left` texts, those of `right` numbers.

    Names that are too long for the console lose their middle; the columns `prose` of `left` go on in the next line instead.
    """
    if title:
        console().print(title, style="bold", soft_wrap=True)
    made = _Rows([name not in prose for name in left])
    for name in left:
        made.add_column(name, overflow="fold")
    for name in right:
        made.add_column(name, justify="right", no_wrap=True)
    return made


def shape_text(shape: Sequence[int]) -> str:
    """`(20, 1, 5, 5)` to "20x1x5x5"."""
    return "x".join(map(str, shape)) or "-"


def score_json(score: Score) -> dict[str, Any]:
    """`evaluate --json`: n, top1, top5, loss; null for a loss that is no number, which JSON cannot say."""
    return {**dataclasses.asdict(score), "loss": score.loss if math.isfinite(score.loss) else None}


def print_score(score: Score, title: str) -> None:
    """`evaluate` and `train`."""
    rows = table(title, [], ["n", "top-1", "top-5", "loss"])
    rows.add_row(f"{score.n:,}", f"{score.top1:.2%}", f"{score.top5:.2%}", f"{score.loss:.4f}")
    console().print(rows)


def print_rows(rows: Sequence[StageRow], title: str) -> None:
    """`compress`: the table of the stages."""
    lines = table(title, ["stage"], ["params kept", "bytes on disk", "ratio", "top-1", "ms an image"])
    for row in rows:
        lines.add_row(
            row.stage, f"{row.kept:.2%}", f"{row.bytes:,}", f"{row.ratio:.1f}x", f"{row.top1:.2%}", f"{row.ms:.3f}"
        )
    console().print(lines)
    if any(row.ratio < 0.995 for row in rows):
        note(
            "ratio: 4 bytes a parameter over bytes on disk; below 1 where a file holds names and norms' statistics besides"
        )


def print_rewrites(rows: Sequence[RewriteRow]) -> None:
    """`compress`: the table of the rewrites."""
    from sepnet.core.rewrite import rewrite_table

    names, lines = rewrite_table(rows)
    shown = table("rewrites", names[:2], names[2:])
    for line in lines:
        shown.add_row(*map(plain, line))
    console().print(shown)


def compress_json(output: Path, done: Compressed) -> dict[str, Any]:
    """`compress --json`."""
    packed = done.packed
    return {
        "output": str(output),
        "bytes": output.stat().st_size,
        "params": packed.header.params,
        "ratio": packed.ratio,
        **score_json(done.score),
        "rewrites": [dataclasses.asdict(row) for row in done.rewrites],
        "stages": [dataclasses.asdict(row) for row in done.rows],
        "training": training_json(done.epochs),
    }


def training_json(epochs: Sequence[EpochLog]) -> list[dict[str, Any]]:
    """How the machine computed, for each number of epochs in a row that it did so."""
    return [{"epochs": count, **dataclasses.asdict(setup)} for count, setup in setups(epochs)]


def print_info(report: FileReport, title: str) -> None:
    """`info`: tensors, then the ledger."""
    rows = table(
        f"{title}: {plain(report.network)}",
        ["tensor", "shape", "scheme", "codec"],
        ["bits", "kept", "bytes", "of it scales"],
    )
    for tensor in report.tensors:
        kept = f"{tensor.kept / max(1, tensor.params):.1%}"
        rows.add_row(
            plain(tensor.name),
            shape_text(tensor.shape),
            plain(tensor.scheme),
            tensor.codec,
            str(tensor.bits),
            kept,
            f"{tensor.bytes:,}",
            f"{tensor.side_bytes:,}",
        )
    console().print(rows)
    print_patterns(report)
    ledger = table("\nledger", ["part"], ["bytes", "% of file"])
    tensors = sum(tensor.bytes for tensor in report.tensors)
    side = sum(tensor.side_bytes for tensor in report.tensors)
    parts = {
        "codes": tensors - side,
        "scales and shared values": side,
        "graph": report.graph_bytes,
        "header": report.header_bytes + report.fixed_bytes,
    }
    for part, size in parts.items():
        ledger.add_row(part, f"{size:,}", f"{100 * size / report.bytes:.1f}")
    ledger.add_row("file", f"{report.bytes:,}", "100.0", style="bold")
    console().print(ledger)
    note(f"\n{report.params:,} params, {report.kept:,} numbers kept, {compared(report.ratio)} float32")
    if report.made:
        made = {
            key: f"of {len(value):,} characters" if key == "metadata" else value for key, value in report.made.items()
        }
        note(plain("made with " + ", ".join(f"{key} {value}" for key, value in made.items())))


def print_patterns(report: FileReport) -> None:
    """`info`: how many sign patterns the layers have, the bits they take, and pictures of the commonest."""
    found = [(tensor.name, tensor.patterns) for tensor in report.tensors if tensor.patterns]
    if not found:
        return
    rows = table("\npatterns", ["tensor", "kernel"], ["kernels", "patterns", "entropy", "stored, bits a kernel"])
    for name, each in found:
        stored, entropy = f"{each.stored:.2f}", f"{each.entropy:.2f}"
        rows.add_row(
            plain(name), shape_text(each.side), f"{each.kernels:,}", f"{len(each.histogram):,}", entropy, stored
        )
    console().print(rows)
    for side, counts in commonest(each for _, each in found).items():
        if len(side) != 2:
            continue
        shown = counts[:8]
        note(f"\ncommonest {shape_text(side)} patterns, and how many kernels have them")
        for row in range(side[0]):
            signs = (pattern[row * side[1] : (row + 1) * side[1]] for pattern, _ in shown)
            note(
                "  ".join(
                    text.replace("1", "■ ").replace("0", "□ ").ljust(max(10, 2 * side[1])) for text in signs
                ).rstrip()
            )
        note("  ".join(f"{count:,}".ljust(max(10, 2 * side[1])) for _, count in shown).rstrip())


def info_json(report: FileReport) -> dict[str, Any]:
    """`info --json`: bytes, params, ratio, tensors[], ..."""
    return dataclasses.asdict(report)


def print_predictions(predictions: Sequence[Prediction]) -> None:
    """`run`: a row a guess."""
    rows = table("", ["image", "class"], ["probability"])
    for prediction in predictions:
        for at, guess in enumerate(prediction.guesses):
            rows.add_row(plain(prediction.image) if at == 0 else "", plain(guess.label), f"{guess.probability:.2%}")
    console().print(rows)


def run_json(predictions: Sequence[Prediction]) -> list[dict[str, Any]]:
    """`run --json`."""
    return [dataclasses.asdict(prediction) for prediction in predictions]


class Progress:
    """Bars with ETA on stderr; nothing off a terminal, where `Log` prints a line an epoch instead."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bars

        self.live = is_live()
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        times = (TextColumn("elapsed"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bars = Bars(*columns, *times, console=console(sys.stderr), transient=True, disable=not self.live)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Progress:
        if self.live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:  # rich before 14.3 ends even bars that are disabled with an empty line
            self._bars.stop()

    def tick(self, tick: Tick) -> None:
        """Draw one report."""
        if tick.task not in self._tasks:
            self._tasks[tick.task] = self._bars.add_task(tick.task, total=tick.total, note="")
        self._bars.update(self._tasks[tick.task], completed=tick.done, total=tick.total, note=tick.note)

    def line(self, text: str) -> None:
        """A line above the bars, or on plain stderr."""
        if is_first():
            self._bars.console.print(text, soft_wrap=True)
