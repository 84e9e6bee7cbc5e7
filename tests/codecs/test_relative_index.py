"""The relative index: the talk's example, and what the search for the width may choose."""

from __future__ import annotations

import numpy as np
import pytest

from sepnet.codecs import find
from sepnet.codecs.bitpack import BitPack
from sepnet.codecs.relative_index import RelativeIndex
from sepnet.core.codec import IntArray


def entries(codes: IntArray, bits: int) -> list[tuple[int, int]]:
    """(distance, value) of the positive `codes` at a fixed width."""
    (laid,) = RelativeIndex(bits).candidates(codes, BitPack())
    skips, values = laid.streams
    lowest = 0 if laid.header[1] & 16 else int(codes[codes != 0].min())
    return [(skip + 1, value + lowest) for skip, value in zip(skips.tolist(), values.tolist(), strict=True)]


def test_the_talks_example() -> None:
    """Values 3.4, 0.9, 1.7 at 1, 4, 15 of 16 with 3 bits: the talk's list, but counted from -1."""
    row = np.zeros(16, dtype=np.int64)
    row[[1, 4, 15]] = 34, 9, 17
    assert entries(row, 3) == [(2, 34), (3, 9), (8, 0), (3, 17)]
    data = find("relative_index:3").encode(row)
    assert find("relative_index:3").describe(data) == "3-bit gaps"
    np.testing.assert_array_equal(find("relative_index").decode(data, (16,)), row)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        (0, [(1, 5)]),
        (7, [(8, 5)]),
        (8, [(8, 0), (1, 5)]),
        (15, [(8, 0), (8, 5)]),
        (16, [(8, 0), (8, 0), (1, 5)]),
    ],
)
def test_distances_at_the_edge_of_three_bits(place: int, expected: list[tuple[int, int]]) -> None:
    row = np.zeros(30, dtype=np.int64)
    row[place] = 5
    assert entries(row, 3) == expected


def test_the_search_is_never_worse_than_a_fixed_width() -> None:
    generator = np.random.default_rng(0)
    for kept in (0.5, 0.1, 0.02, 0.002):
        codes = generator.integers(1, 30, 20_000) * (generator.random(20_000) < kept)
        for name in ("relative_index", "relative_index_huffman", "relative_index_ans"):
            sizes = [len(find(f"{name}:{bits}").encode(codes)) for bits in range(1, 13)]
            assert len(find(name).encode(codes)) <= min(sizes) * 1.002 + 2
        assert len(find("relative_index").encode(codes)) == min(
            len(find(f"relative_index:{bits}").encode(codes)) for bits in range(1, 13)
        )


def test_zeros_at_the_end_cost_nothing() -> None:
    codes = np.array([0, 3, 0, 4])
    longer = np.concatenate([codes, np.zeros(100_000, dtype=np.int64)])
    assert find("relative_index").encode(codes) == find("relative_index").encode(longer)
