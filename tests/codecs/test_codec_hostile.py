"""Damaged and made-up bytes: `FormatError` or wrong integers of the right shape, and memory of the shape's order."""

from __future__ import annotations

import contextlib
import sys
import time
import tracemalloc
from typing import Any

import numpy as np
import pytest
from fitting import GENERAL, encode
from hypothesis import given, settings
from hypothesis import strategies as st

from sepnet.codecs import CODECS, find
from sepnet.codecs.fields import signed_varint, varint
from sepnet.core.codec import Codec, CodecUnfitError, IntArray
from sepnet.core.errors import FormatError

EDITS = st.lists(st.tuples(st.integers(0, 999), st.binary(max_size=3)))


def tolerates(codec: Codec, data: bytes, shape: tuple[int, ...]) -> bool:
    """Whether `data` decoded; anything but `FormatError` and a good array fails the test."""
    try:
        codes = codec.decode(data, shape)
    except FormatError as error:
        assert len(str(error)) > 15
        return False
    assert codes.shape == shape and codes.dtype == np.int64
    return True


def test_describing_damaged_bytes_is_survived(name: str, small: IntArray) -> None:
    data = encode(name, small)
    for length in range(len(data)):
        with contextlib.suppress(FormatError):
            find(name).describe(data[:length])
            find(name).describe(data[:length] + b"\xff" * 12)


def is_found(codec: Codec, damaged: bytes, codes: IntArray) -> bool:
    """Whether damage at the end raises `FormatError`.  What ANS or an adaptive codec reads may be other codes."""
    if not tolerates(codec, damaged, codes.shape):
        return True
    return codec.name.endswith(("_ans", "ab1", "mx1", "+")) and bool(
        (codec.decode(damaged, codes.shape) != codes).any()
    )


def test_every_truncation_is_found(name: str, small: IntArray) -> None:
    codec = find(name)
    data = encode(name, small)
    for length in range(len(data)):
        assert is_found(codec, data[:length], small)


def test_every_bit_flip_is_survived(name: str, small: IntArray) -> None:
    codec = find(name)
    data = encode(name, small)
    for bit in range(8 * len(data)):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        tolerates(codec, bytes(damaged), small.shape)


def test_every_tail_is_found(name: str, sample: IntArray) -> None:
    codec = find(name)
    try:
        data = codec.encode(sample)
    except CodecUnfitError:
        return
    for tail in (b"\0", b"\1", b"\xff" * 9, b"\0" * 4):
        assert is_found(codec, data + tail, sample)


def test_another_shape_is_survived(name: str, small: IntArray) -> None:
    codec = find(name)
    data = encode(name, small)
    for shape in [(0,), (1,), (2, 3), (small.size + 1,), (100_000,), (-1,), (2**40, 2**40)]:
        if min(shape) < 0 or shape[0] > 2**32:
            assert not tolerates(codec, data, shape)
        else:
            tolerates(codec, data, shape)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 5, 8, 13, 40, 200])
def test_random_bytes_are_survived(name: str, length: int) -> None:
    generator = np.random.default_rng(length)
    for _ in range(60):
        tolerates(find(name), generator.bytes(length), (5, 7))


@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(GENERAL), seed=st.integers(0, 9), edits=EDITS)
def test_edited_payloads_are_survived(name: str, seed: int, edits: list[tuple[int, bytes]]) -> None:
    generator = np.random.default_rng(seed)
    codes = np.rint(generator.laplace(0, 4, 300)).astype(np.int64) * (generator.random(300) < 0.3)
    data = find(name).encode(codes)
    for place, piece in edits:
        place %= len(data) + 1
        data = data[:place] + piece + data[place + 1 :]
    tolerates(find(name), data, (300,))


ABSURD = [varint(value) for value in (0, 1, 2, 3, 17, 2**13, 2**32, 2**63, 2**64 - 1)]
ABSURD += [b"\xff" * 30, b"\x80" * 30, b"\xff" * 9 + b"\x02"]


@pytest.mark.parametrize("second", ABSURD, ids=lambda each: each.hex()[:20])
@pytest.mark.parametrize("first", ABSURD, ids=lambda each: each.hex()[:20])
def test_absurd_counts_cost_nothing(first: bytes, second: bytes) -> None:
    for name in ("dense", "dense_ans"):
        tolerates(find(name), find(name).encode(np.arange(3)), (3,))
    tracemalloc.start()
    begun = time.perf_counter()
    for name in CODECS:
        for middle in (b"", b"\x0c", b"\x10", signed_varint(-(2**31)), b"\x21"):
            for tail in (b"", b"\x01", b"\xff" * 50):
                tolerates(find(name), first + middle + second + tail, (8,))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 300_000 and time.perf_counter() - begun < 20


def test_a_long_table_stops_early(name: str) -> None:
    begun = time.perf_counter()
    for table_size in (2**13, 2**20, 2**23):
        for filler in (b"\0", b"\xff", b"\x10"):
            tolerates(find(name), b"\0" + varint(table_size) + filler * 1_000_000, (2, 2))
    assert time.perf_counter() - begun < 20


def test_a_panic_of_the_coder_library_is_a_format_error(monkeypatch: pytest.MonkeyPatch) -> None:
    codec = find("dense_ans")
    data = codec.encode(np.arange(9))

    class PanicException(BaseException):
        """As pyo3 raises it."""

    class Broken:
        def __init__(self, words: Any) -> None:
            raise PanicException("index out of bounds")

    monkeypatch.setattr(sys.modules["constriction"].stream.stack, "AnsCoder", Broken)
    with pytest.raises(FormatError, match="index out of bounds"):
        codec.decode(data, (9,))
