"""What `bench` found: a row for each form of a network, runtime and batch size."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BenchReport", "BenchRow", "Entrant"]


@dataclass(frozen=True)
class Entrant:
    """What is measured: a file, and what runs it.

    Attributes:
        form: "packed", "float", "int8", or the name of an .onnx file.
        runtime: its name on the shelf.
        path: the file that is loaded, packed or .onnx.
        bytes: its size.
    """

    form: str
    runtime: str
    path: str
    bytes: int


@dataclass(frozen=True)
class BenchRow:
    """One entrant at one batch size.

    Attributes:
        batch: images a run.
        load_ms: milliseconds from the file to a runtime that is ready, the packages already imported.
        ms: median milliseconds a run; a tenth of the runs took less than `fast_ms`, a tenth more than `slow_ms`.
        runs: how many.
        peak_bytes: most resident memory, less that of Python with numpy; None where the system does not tell.
        joules: energy of the processor an image; None where the system does not tell.
        difference: largest absolute difference from the outputs of the reference runtime, over the largest output.
    """

    entrant: Entrant
    batch: int
    load_ms: float
    ms: float
    fast_ms: float
    slow_ms: float
    runs: int
    peak_bytes: int | None
    joules: float | None
    difference: float


@dataclass(frozen=True)
class BenchReport:
    """All rows of one run, the first entrant's first.

    Attributes:
        inputs: what the images were.
        gains: runtime -> what makes a network faster on it.
    """

    network: str
    threads: int
    inputs: str
    rows: tuple[BenchRow, ...]
    gains: dict[str, str]

    def ratio(self, row: BenchRow) -> float:
        """Time over that of the first entrant at the same batch size."""
        first = self.rows[0].entrant
        return row.ms / next(other.ms for other in self.rows if other.entrant == first and other.batch == row.batch)
