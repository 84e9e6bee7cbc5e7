"""Top-1, top-5 and loss, against the plain definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sepnet.core.score import score_batches


@given(st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 30))
def test_against_the_definitions(seed: int, classes: int, count: int) -> None:
    random = np.random.default_rng(seed)
    logits = random.normal(size=(count, classes)).astype(np.float32).round(1) * 5
    labels = random.integers(classes, size=count)
    cut = count // 2
    score = score_batches([(logits[:cut], labels[:cut]), (logits[cut:], labels[cut:])])
    order = np.argsort(-logits, axis=1, kind="stable")
    assert score.n == count
    assert score.top1 == pytest.approx(np.mean(order[:, 0] == labels))
    assert score.top5 == pytest.approx(np.mean([label in row[:5] for label, row in zip(labels, order, strict=True)]))
    odds = np.exp(logits.astype(np.float64))
    odds /= odds.sum(axis=1, keepdims=True)
    assert score.loss == pytest.approx(-np.log(odds[np.arange(count), labels]).mean())


def test_the_first_of_equal_outputs_counts_and_no_numbers_are_wrong() -> None:
    same = score_batches([(np.zeros((10, 10), np.float32), np.arange(10))])
    assert (same.top1, same.top5) == (0.1, 0.5)
    broken = np.full((2, 3), np.nan, np.float32)
    score = score_batches([(broken, np.array([0, 2]))])
    assert (score.top1, score.top5) == (0.0, 0.0)
    assert math.isnan(score.loss)


def test_large_logits_do_not_overflow() -> None:
    logits = np.float32([[3e38, -3e38], [0, 1e30]])
    score = score_batches([(logits, np.array([0, 1]))])
    assert (score.top1, score.loss) == (1.0, 0.0)


def test_infinite_logits_warn_nobody(recwarn: pytest.WarningsRecorder) -> None:
    score_batches([(np.float32([[np.inf, 0], [np.nan, 0], [-np.inf, -np.inf]]), np.array([0, 1, 0]))])
    assert not recwarn.list


def test_nothing() -> None:
    score = score_batches([])
    assert (score.n, score.top1, score.top5, score.loss) == (0, 0.0, 0.0, 0.0)
