"""Huffman code lengths: optimal, at most 15 bits, complete."""

from __future__ import annotations

import heapq
import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sepnet.codecs.huffman import Huffman, code_lengths
from sepnet.core.codec import CodecUnfitError
from sepnet.core.errors import FormatError


def unlimited_cost(counts: list[int]) -> int:
    """Bits of Huffman's own construction: the sum of all merged weights."""
    heap = list(counts)
    heapq.heapify(heap)
    cost = 0
    while len(heap) > 1:
        merged = heapq.heappop(heap) + heapq.heappop(heap)
        cost += merged
        heapq.heappush(heap, merged)
    return cost


@settings(max_examples=100, deadline=None)
@given(counts=st.lists(st.integers(1, 300), min_size=2, max_size=120))
def test_lengths_are_optimal(counts: list[int]) -> None:
    lengths = code_lengths(np.array(counts))
    assert sum(2.0 ** -int(length) for length in lengths) == 1.0
    assert int((lengths * np.array(counts)).sum()) == unlimited_cost(counts)


def test_lengths_are_limited() -> None:
    fibonacci = [1, 1]
    while len(fibonacci) < 40:
        fibonacci.append(fibonacci[-1] + fibonacci[-2])
    lengths = code_lengths(np.array(fibonacci))
    assert lengths.max() == 15 and sum(2.0 ** -int(length) for length in lengths) == 1.0
    assert code_lengths(np.ones(4096, dtype=np.int64)).tolist() == [12] * 4096


def test_symbols_are_limited() -> None:
    symbols = np.arange(4096)
    np.testing.assert_array_equal(Huffman().decode(Huffman().encode(symbols), 4096), symbols)
    with pytest.raises(CodecUnfitError, match="4097 distinct symbols"):
        Huffman().encode(np.arange(4097))


def test_incomplete_lengths_are_refused() -> None:
    assert Huffman().decode(bytes.fromhex("063e0026"), 6).tolist() == [0, 0, 1, 0, 2, 0]
    with pytest.raises(FormatError, match="complete code"):
        Huffman().decode(bytes.fromhex("063d0026"), 6)


def test_a_long_stream_is_near_its_entropy_and_quick() -> None:
    symbols = np.minimum(np.random.default_rng(0).geometric(0.2, 400_000), 200)
    data = Huffman().encode(symbols)
    counts = np.bincount(symbols)
    entropy = -sum(count / symbols.size * math.log2(count / symbols.size) for count in counts.tolist() if count)
    assert 1.0 <= len(data) * 8 / symbols.size / entropy < 1.02
    begun = time.perf_counter()
    np.testing.assert_array_equal(Huffman().decode(data, symbols.size), symbols)
    assert symbols.size / (time.perf_counter() - begun) > 500_000  # about 6 M/s alone on a core
