"""What every codec on the shelf promises: no loss, and the same bytes each time."""

from __future__ import annotations

import contextlib
import subprocess
import sys

import numpy as np
import pytest
from fitting import GENERAL
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import sepnet.codecs
from sepnet.codecs import CODECS, choices, find, smallest
from sepnet.core.codec import Codec, CodecUnfitError, IntArray
from sepnet.core.errors import FormatError, UnknownNameError, UsageError
from sepnet.core.registry import Shelf

CODE = st.one_of(st.just(0), st.integers(-8, 7), st.integers(-(2**31), 2**32 - 1))
ARRAYS = hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=7), elements=CODE)


def test_round_trip(name: str, sample: IntArray) -> None:
    codec = find(name)
    try:
        data = codec.encode(sample)
    except CodecUnfitError:
        assert name not in GENERAL or (name.endswith(("_huffman", "_ans")) and np.unique(sample).size > 4096)
        return
    decoded = codec.decode(data, sample.shape)
    assert decoded.dtype == np.int64 and decoded.shape == sample.shape
    np.testing.assert_array_equal(decoded, sample)
    assert isinstance(data, bytes) and codec.encode(sample.copy()) == data
    assert isinstance(codec.describe(data), str)


@settings(max_examples=60, deadline=None)
@given(codes=ARRAYS)
def test_round_trip_of_anything(codes: IntArray) -> None:
    for name in GENERAL:
        codec = find(name)
        np.testing.assert_array_equal(codec.decode(codec.encode(codes), codes.shape), codes)


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(1, 4000),
    kept=st.floats(0, 1),
    spread=st.floats(0.1, 300),
    bits=st.integers(1, 12),
    seed=st.integers(0, 99),
)
def test_round_trip_of_weights(size: int, kept: float, spread: float, bits: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    codes = np.rint(generator.laplace(0, spread, size)).astype(np.int64) * (generator.random(size) < kept)
    for name in [*GENERAL, f"relative_index:{bits}", f"relative_index_ans:{bits}"]:
        codec = find(name)
        data = codec.encode(codes)
        np.testing.assert_array_equal(codec.decode(data, codes.shape), codes)
        np.testing.assert_array_equal(find(name.partition(":")[0]).decode(data, codes.shape), codes)


def test_memory_order_and_integer_width_do_not_matter(name: str) -> None:
    codes = np.random.default_rng(0).integers(0, 2, (6, 5, 4)) - (7 if name in GENERAL else 0)
    codec = find(name)
    data = codec.encode(codes)
    assert codec.encode(np.asfortranarray(codes)) == data
    assert codec.encode(codes.astype(np.int16)) == data
    assert codec.encode(np.flip(codes[:, ::-1], 1)) == data
    if name in GENERAL:
        assert codec.decode(data, (6, 20)).shape == (6, 20)


def test_codes_out_of_range_are_unfit(name: str) -> None:
    for code in (-(2**31) - 1, 2**32):
        with pytest.raises(CodecUnfitError, match="expected -2147483648"):
            find(name).encode(np.array([0, code]))
    with pytest.raises(CodecUnfitError):
        find(name).encode(np.array([2**64 - 1], dtype=np.uint64))
    with pytest.raises(UsageError, match="expected integers"):
        find(name).encode(np.array([0.5]))


def test_shelf_names_are_the_codecs_names(name: str) -> None:
    assert find(name).name == name
    assert isinstance(CODECS[name], Codec)


@pytest.mark.parametrize(
    "wrong", ["dense:3", "bitmap:1", *(f"relative_index:{option}" for option in ("0", "13", "", "03"))]
)
def test_options_that_no_codec_takes(wrong: str) -> None:
    with pytest.raises(UsageError, match="option"):
        find(wrong)


def test_unknown_name_lists_the_choices() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'dense_huffman'"):
        find("dense_hufman")


def test_smallest_is_the_smallest_and_the_first_of_equals(sample: IntArray) -> None:
    sizes = {}
    for name in choices():
        with contextlib.suppress(CodecUnfitError):
            sizes[name] = len(find(name).encode(sample))
    name, data = smallest(sample)
    assert name == min(sizes, key=lambda each: sizes[each]) and len(data) == sizes[name]
    assert smallest(sample, ["bitmap", "dense"])[0] in ("bitmap", "dense")


def test_smallest_says_why_nothing_fits() -> None:
    with pytest.raises(CodecUnfitError, match="5000 distinct symbols"):
        smallest(np.arange(5000), ["dense_ans"])
    with pytest.raises(UsageError, match="choices: dense"):
        smallest(np.arange(5), [])


class Plain(Codec):
    """A codec that is no layout x coder and needs the shape."""

    name = "plain"

    def encode(self, codes: IntArray) -> bytes:
        if codes.ndim != 1:
            raise CodecUnfitError("rows only")
        return bytes(codes.tolist()[:1])

    def decode(self, data: bytes, shape: tuple[int, ...]) -> IntArray:
        if len(data) != 1 or len(shape) != 1:
            raise FormatError("one byte for one row")
        return np.full(shape, data[0])


def test_a_codec_of_another_kind_joins_with_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "a_new_codec", type(sys)("a_new_codec"))
    monkeypatch.setattr(sys.modules["a_new_codec"], "PLAIN", Plain(), raising=False)
    shelf: Shelf[Codec] = Shelf("codec", {"dense": "sepnet.codecs.dense:DENSE", "plain": "a_new_codec:PLAIN"})
    monkeypatch.setattr(sepnet.codecs, "CODECS", shelf)
    assert smallest(np.full(9, 4)) == ("plain", b"\x04")
    assert smallest(np.full((3, 3), 4))[0] == "dense"
    with pytest.raises(UsageError, match="takes no option"):
        find("plain:2")


def test_the_coder_library_is_imported_only_when_used() -> None:
    program = (
        "import sys, numpy, sepnet.codecs as c; c.find('dense_huffman').encode(numpy.arange(9)); c.find('dense_ans');"
        "assert 'constriction' not in sys.modules and 'torch' not in sys.modules;"
        "c.find('dense_ans').encode(numpy.arange(9)); assert 'constriction' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))})
