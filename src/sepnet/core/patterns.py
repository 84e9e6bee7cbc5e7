"""The pattern noun: how often each sign pattern occurs among the k x k kernels of a layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from sepnet.core.coded_tensor import CodedTensor

__all__ = ["PatternReport", "commonest", "patterns"]


@dataclass(frozen=True)
class PatternReport:
    """The patterns of one layer.

    Attributes:
        side: extents of a kernel, (3, 3).
        kernels: how many there are.
        entropy: bits a kernel, -sum P log2 P of the patterns' frequencies; no static code of whole kernels needs less,
            its table not counted.
        stored: bits a kernel in the file, scales and checksum not counted.
        histogram: how often each pattern that occurs does, the commonest first; a pattern is written as its signs, row
            by row, 1 for plus and 0 for minus.
    """

    side: tuple[int, ...]
    kernels: int
    entropy: float
    stored: float
    histogram: dict[str, int]


def patterns(tensor: CodedTensor, stored_bytes: int) -> PatternReport | None:
    """The patterns of a tensor of signs with k x k kernels, else None.

    >>> signs = np.array([[[1, 0]], [[1, 0]], [[0, 0]], [[1, 1]]])
    >>> report = patterns(CodedTensor("w", signs, "sign"), stored_bytes=2)
    >>> report.kernels, report.entropy, report.stored, report.histogram
    (4, 1.5, 4.0, {'10': 2, '00': 1, '11': 1})
    """
    shape = tensor.shape
    if tensor.values != "sign" or len(shape) < 3 or not tensor.codes.size:
        return None
    kernels = tensor.codes.reshape(shape[0] * shape[1], -1).astype(np.uint8)
    distinct, counts = np.unique(kernels, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    share = counts / counts.sum()
    return PatternReport(
        side=shape[2:],
        kernels=len(kernels),
        entropy=float(-(share * np.log2(share)).sum()) + 0.0,
        stored=8 * stored_bytes / len(kernels),
        histogram={"".join(map(str, distinct[at])): int(counts[at]) for at in order},
    )


def commonest(reports: Iterable[PatternReport]) -> dict[tuple[int, ...], list[tuple[str, int]]]:
    """For each kernel size, its patterns over all layers and how often they occur, the commonest first."""
    totals: dict[tuple[int, ...], Counter[str]] = {}
    for report in reports:
        totals.setdefault(report.side, Counter()).update(report.histogram)
    return {side: sorted(counts.items(), key=lambda item: (-item[1], item[0])) for side, counts in totals.items()}
