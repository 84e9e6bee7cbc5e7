"""Pattern statistics: what occurs how often, and what only signs of kernels have."""

from __future__ import annotations

import numpy as np
import pytest

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.patterns import commonest, patterns


def signs(shape: tuple[int, ...], seed: int = 0) -> CodedTensor:
    return CodedTensor("w", np.random.default_rng(seed).integers(0, 2, shape), "sign")


def test_the_histogram_counts_every_kernel_once() -> None:
    tensor = signs((40, 30, 3, 3))
    report = patterns(tensor, 1350)
    assert report is not None and report.kernels == 1200 == sum(report.histogram.values())
    assert report.stored == 9.0 and 8.0 < report.entropy < 9.0
    assert list(report.histogram.values()) == sorted(report.histogram.values(), reverse=True)
    first = "".join(map(str, tensor.codes[3, 4].ravel()))
    assert report.histogram[first] == sum(
        (kernel == tensor.codes[3, 4]).all() for kernel in tensor.codes.reshape(-1, 3, 3)
    )


def test_one_pattern_has_no_entropy() -> None:
    report = patterns(CodedTensor("w", np.ones((5, 4, 3, 3), np.int64), "sign"), 3)
    assert report is not None and report.entropy == 0.0 and str(report.entropy) == "0.0" and len(report.histogram) == 1


@pytest.mark.parametrize(
    "tensor",
    [signs((8, 9)), CodedTensor("w", np.ones((2, 2, 3, 3), np.int64), "integer"), signs((0, 4, 3, 3))],
    ids=["no kernels", "no signs", "nothing"],
)
def test_what_has_no_patterns(tensor: CodedTensor) -> None:
    assert patterns(tensor, 10) is None


def test_layers_are_added_up_by_kernel_size() -> None:
    reports = [patterns(signs((6, 6, 3, 3), seed), 9) for seed in (0, 1)] + [patterns(signs((2, 2, 5, 5)), 9)]
    totals = commonest(report for report in reports if report)
    assert set(totals) == {(3, 3), (5, 5)} and sum(count for _, count in totals[3, 3]) == 72
    counts = [count for _, count in totals[3, 3]]
    assert counts == sorted(counts, reverse=True)
