"""The adaptive codecs: the compiled coder and its Python twin agree, and a file's tensors go on from one another."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sepnet.codecs.adaptive.codec as adaptive
from sepnet.codecs import find
from sepnet.codecs.adaptive import native, twin
from sepnet.codecs.adaptive.codec import AB1, MX1, Adaptive, Matrix
from sepnet.codecs.adaptive.kernels import KERNELS_AB1, KERNELS_AB1_NEXT
from sepnet.core.codec import CodecUnfitError, IntArray
from sepnet.core.errors import FormatError

compiled = pytest.mark.skipif(native.library() is None, reason="installed without a C compiler")
SOURCE = Path(adaptive.__file__).parent


def weights(shape: tuple[int, ...], spread: float, kept: float, seed: int = 0) -> IntArray:
    generator = np.random.default_rng(seed)
    return np.rint(generator.laplace(0, spread, shape)).astype(np.int64) * (generator.random(shape) < kept)


@compiled
@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(1, 9),
    channels=st.integers(1, 5),
    kernel=st.sampled_from([1, 4, 9, 25, 64]),
    spread=st.sampled_from([0.3, 2.0, 30.0, 300_000.0]),
    kept=st.sampled_from([0.02, 0.3, 1.0]),
    mixes=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_compiled_coder_and_its_twin_write_and_read_the_same(
    rows: int, channels: int, kernel: int, spread: float, kept: float, mixes: bool, seed: int
) -> None:
    columns = channels * kernel
    codes = np.clip(weights((rows, columns), spread, kept, seed), -(2**22), 2**22).astype(np.int32)
    data = native.write_codes(codes, kernel, mixes)
    assert twin.write_codes(codes, kernel, mixes) == data
    for module in (native, twin):
        again, whole = module.read_codes(data, rows, columns, kernel=kernel, mixes=mixes)
        assert whole and again.dtype == np.int32
        np.testing.assert_array_equal(again, codes)


@compiled
@settings(max_examples=30, deadline=None)
@given(data=st.binary(max_size=60), kernel=st.sampled_from([1, 9]), mixes=st.booleans())
def test_both_read_the_same_from_any_bytes(data: bytes, kernel: int, mixes: bool) -> None:
    ours, theirs = (module.read_codes(data, 4, 18, kernel=kernel, mixes=mixes) for module in (native, twin))
    np.testing.assert_array_equal(ours[0], theirs[0])
    assert ours[1] == theirs[1]


@compiled
@settings(max_examples=20, deadline=None)
@given(kernel=st.sampled_from([2, 4, 9, 25, 49, 121]), ones=st.floats(0, 1), seed=st.integers(0, 99))
def test_both_remember_kernels_alike(kernel: int, ones: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    layers = [(generator.random((3, n, kernel)) < ones).astype(np.uint8) for n in (1, 4, 2)]
    writers, readers = (native.KernelMemory(), twin.KernelMemory()), (native.KernelMemory(), twin.KernelMemory())
    for bits in layers:
        data, same = (writer.write(bits) for writer in writers)
        assert data == same
        for reader in readers:
            again, whole = reader.read(data, *bits.shape)
            assert whole
            np.testing.assert_array_equal(again, bits)


@pytest.mark.parametrize("codec", [AB1, MX1], ids=["ab1", "mx1"])
def test_the_twin_alone_reads_the_same_payloads(codec: Adaptive, monkeypatch: pytest.MonkeyPatch) -> None:
    codes, signs = weights((6, 3, 3, 3), 4, 0.5), (weights((6, 3, 3, 3), 4, 1, 1) > 0).astype(np.int64)
    before = codec.encode(codes), KERNELS_AB1.encode(signs)
    monkeypatch.setattr(adaptive, "engine", lambda: twin)
    monkeypatch.setattr("sepnet.codecs.adaptive.kernels.engine", lambda: twin)
    assert (codec.encode(codes), KERNELS_AB1.encode(signs)) == before
    np.testing.assert_array_equal(codec.decode(before[0], codes.shape), codes)
    np.testing.assert_array_equal(KERNELS_AB1.decode(before[1], signs.shape), signs)
    with pytest.raises(CodecUnfitError, match="without its compiled library"):
        codec.encode(np.zeros(adaptive.TWIN_CODES + 1, np.int64))


def test_a_library_that_does_not_load_leaves_the_twin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(native, "LIBRARY", tmp_path / "none.so")
    native.library.cache_clear()
    try:
        assert native.library() is None and adaptive.engine() is twin
        with pytest.raises(OSError, match=r"none\.so"):
            native.write_codes(np.zeros((1, 1), np.int32), 1, False)
    finally:
        native.library.cache_clear()


@pytest.mark.parametrize("codec", [AB1, MX1], ids=["ab1", "mx1"])
@pytest.mark.parametrize("rows", [1, 7, 8, 9])
def test_large_arrays_are_coded_in_parts(codec: Adaptive, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adaptive, "PART", 100)
    codes = weights((rows, 25), 3, 0.4)
    data = codec.encode(codes)
    assert len(Matrix.of(codes.shape).parts()) == -(-rows // 4)
    np.testing.assert_array_equal(codec.decode(data, codes.shape), codes)
    for length in range(len(data)):
        try:
            assert (codec.decode(data[:length], codes.shape) != codes).any()
        except FormatError:
            continue


@pytest.mark.parametrize("entries", [3, 16, 200])
@pytest.mark.parametrize("pruned", [False, True])
def test_indices_of_a_sorted_table_are_made_signed(entries: int, pruned: bool) -> None:
    codes = np.clip(weights((60, 80), entries / 12, 1) + entries // 2, 0, entries - 1)
    if pruned:
        codes = (codes + 1) * (np.random.default_rng(1).random(codes.shape) < 0.2)
    data = AB1.encode(codes)
    np.testing.assert_array_equal(AB1.decode(data, codes.shape), codes)
    assert len(data) <= len(AB1._payload(codes, Matrix.of(codes.shape), 0))
    assert data[0] > 0 or entries != 16


def test_codes_that_are_too_large_or_too_many_are_declined() -> None:
    edge = np.array([[2**22, -(2**22)]])
    np.testing.assert_array_equal(AB1.decode(AB1.encode(edge), (1, 2)), edge)
    for codes in (np.array([2**22 + 1]), np.arange(4097), np.array([-(2**22) - 1])):
        with pytest.raises(CodecUnfitError, match="4096 distinct codes"):
            AB1.encode(codes)


def test_few_bytes_cannot_ask_for_many_codes() -> None:
    for codec, shape in ((AB1, (2**20, 2**10)), (MX1, (2**30,)), (KERNELS_AB1, (2**10, 2**10, 3, 3))):
        with pytest.raises(FormatError, match="bytes"):
            codec.decode(b"\0\1", shape)
    empty = AB1.encode(np.zeros((1000, 1000), np.int64))
    assert len(empty) < 70 and not AB1.decode(empty, (1000, 1000)).any()


@pytest.mark.parametrize("way", [2**23 + 1, 2**40])
def test_a_way_to_make_codes_signed_that_no_writer_takes_is_refused(way: int) -> None:
    data = AB1.encode(np.array([1, -2, 3]))
    with pytest.raises(FormatError, match="signed"):
        AB1.decode(adaptive.varint(way) + data[1:], (3,))
    with pytest.raises(FormatError, match="at least"):
        AB1.decode(b"\1" + AB1.encode(np.array([1, -2, 3]))[1:], (3,))


def test_kernels_go_on_from_layer_to_layer() -> None:
    layers = [np.tile((weights((2, 1, 3, 3), 3, 1, seed) > 0).astype(np.int64), (8, 9, 1, 1)) for seed in (0, 0, 1)]
    chain, first = [], None
    for bits in layers:
        first = (KERNELS_AB1_NEXT if chain else KERNELS_AB1).remembering(first)
        chain.append(first.encode(bits))
    assert len(chain[1]) < len(chain[0])
    reader: Any = None
    for place, bits in enumerate(layers):
        reader = (KERNELS_AB1_NEXT if place else KERNELS_AB1).remembering(reader)
        np.testing.assert_array_equal(reader.decode(chain[place], bits.shape), bits)
    with pytest.raises(FormatError, match="no tensor before it"):
        KERNELS_AB1_NEXT.remembering(None)
    assert find("dense").remembering(reader) is find("dense")


def test_kernels_only() -> None:
    for codes in (
        np.full((2, 2, 3, 3), 2),
        np.full((2, 2, 3, 3), -1),
        np.ones((4, 4), np.int64),
        np.ones((2, 2, 1, 1), np.int64),
    ):
        with pytest.raises(CodecUnfitError, match="kernels"):
            KERNELS_AB1.encode(codes)
    with pytest.raises(FormatError, match="kernels of shape"):
        KERNELS_AB1.decode(b"\1", (4, 4))


def test_the_source_is_short_and_its_state_small() -> None:
    lines = sum(len((SOURCE / name).read_text().splitlines()) for name in ("adaptive.c", "adaptive.h"))
    assert lines <= 400
    assert f"SEPNET_CODER_BYTES = {native.CODER_BYTES}" in (SOURCE / "adaptive.h").read_text()


@compiled
def test_the_reader_compiles_strictly_and_small(tmp_path: Path) -> None:
    flags = ["-Os", "-std=c11", "-Wall", "-Wextra", "-Wconversion", "-Wno-enum-compare", "-Werror", "-pedantic"]
    target = tmp_path / "reader.o"
    done = subprocess.run(["cc", *flags, "-c", SOURCE / "adaptive.c", "-o", target], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    table = subprocess.run(["size", target], capture_output=True, text=True, check=True).stdout.splitlines()
    assert int(table[1].split()[0]) <= 8000
