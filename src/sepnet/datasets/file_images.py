"""Images in files, read when they are asked for, by threads that are a little ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sepnet.core.dataset import Pixels, Rows, StreamedImages
from sepnet.core.errors import UsageError
from sepnet.core.processors import processors

__all__ = ["FileImages", "check_workers"]

AHEAD = 2  # batches in memory: the one that is waited for, and the one after it
MOST_WORKERS = 256

Read = Callable[[Path], Pixels]
Draw = Callable[[Path, np.random.Generator], Pixels]


@dataclass(frozen=True)
class FileImages(StreamedImages):
    """Image files below a folder, decoded on demand.

    Threads suffice, and need no copies between processes: Pillow decodes and resizes without holding Python's lock.
    No thread outlives its stream: an error, Ctrl-C or a stream that is dropped lets each finish its image at most.

    Attributes:
        root, names: the files are `root / name`.
        one: (channels, height, width) of what `read` and `draw` return.
        read: decodes a file as evaluation sees it.
        draw: decodes a file as training sees it, given a generator of random numbers; None means as evaluation does.
        workers: threads that decode; 0 decodes in the thread that asks.
    """

    root: Path
    names: Sequence[str]
    one: tuple[int, int, int]
    read: Read
    draw: Draw | None
    workers: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """(n, channels, height, width)."""
        return len(self.names), *self.one

    def part(self, rows: slice) -> FileImages:
        """These rows alone; rows are counted from the first of them."""
        return replace(self, names=self.names[rows])

    def stream(self, batches: Iterable[Rows], draw: tuple[int, int] | None = None) -> Iterator[Pixels]:
        """As `StreamedImages.stream`; `AHEAD` batches are in memory, besides those that the caller keeps."""
        if self.workers:
            yield from self._ahead(iter(batches), draw)
            return
        for rows in batches:
            pixels = np.empty((len(rows), *self.one), np.uint8)
            for at, row in enumerate(rows.tolist()):
                pixels[at] = self._decoded(row, draw)
            yield pixels

    def _ahead(self, batches: Iterator[Rows], draw: tuple[int, int] | None) -> Iterator[Pixels]:
        pool = ThreadPoolExecutor(self.workers, "sepnet-images")
        waiting: deque[tuple[Pixels, list[Future[None]]]] = deque()

        def put(pixels: Pixels, at: int, row: int) -> None:
            pixels[at] = self._decoded(row, draw)

        def begin_one() -> None:
            if (rows := next(batches, None)) is not None:
                pixels = np.empty((len(rows), *self.one), np.uint8)
                tasks = [pool.submit(put, pixels, at, row) for at, row in enumerate(rows.tolist())]
                waiting.append((pixels, tasks))

        try:
            for _ in range(AHEAD):
                begin_one()
            while waiting:
                pixels, tasks = waiting.popleft()
                for task in tasks:
                    task.result()
                begin_one()
                yield pixels
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _decoded(self, row: int, draw: tuple[int, int] | None) -> Pixels:
        path = self.root / self.names[row]
        if draw is None or self.draw is None:
            return self.read(path)
        return self.draw(path, np.random.default_rng([*draw, row]))


def check_workers(workers: Any) -> int:
    """The number of threads that `workers` asks for; None means the processors this program may use, at most 8.

    Raises `UsageError` unless it is None or an integer from 0 to 256.

    >>> check_workers(2)
    2
    """
    if workers is None:
        return min(8, processors())
    if not isinstance(workers, int) or isinstance(workers, bool) or not 0 <= workers <= MOST_WORKERS:
        raise UsageError(f"found workers={workers!r}; expected a number of threads, 0 to {MOST_WORKERS}")
    return workers
