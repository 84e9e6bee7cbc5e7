"""Bytes on the codes of real pruned and quantized networks; skipped where the data folder is absent."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from sepnet.codecs import find, smallest
from sepnet.core.codec import IntArray

REPOSITORY = Path(__file__).resolve().parents[2]
FOLDER = Path(os.environ.get("SEPNET_DATA", REPOSITORY.parent / "shared" / "data")) / "codes"


@pytest.fixture
def lenet300() -> list[IntArray]:
    """The three layers of a LeNet-300-100 with 8, 9 and 26 % of its weights kept, in 5 bits."""
    path = FOLDER / "lenet300_5bit.npz"
    if not path.exists():
        pytest.skip(f"no {path}; set SEPNET_DATA to the data folder")
    with np.load(path) as arrays:
        return [arrays[key].astype(np.int64) for key in arrays.files]


def test_lenet300_takes_no_more_bytes_than_it_did(lenet300: list[IntArray]) -> None:
    """Measured: relative_index_huffman 21,394 bytes, the smallest of the shelf 21,170."""
    huffman = sum(len(find("relative_index_huffman").encode(codes)) for codes in lenet300)
    best = 0
    for codes in lenet300:
        name, data = smallest(codes)
        np.testing.assert_array_equal(find(name).decode(data, codes.shape), codes)
        best += len(data)
    assert huffman <= 21_400
    assert best < huffman and best <= 21_175
