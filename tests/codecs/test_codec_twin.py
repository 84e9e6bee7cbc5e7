"""A second reader, in pure Python from docs/codecs.md alone: it must read what the package writes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from fitting import GENERAL
from hypothesis import given, settings
from hypothesis import strategies as st

from sepnet.codecs import find
from sepnet.codecs.ans import Ans, quantize_counts
from sepnet.codecs.layered import Layered
from sepnet.core.codec import CodecUnfitError, IntArray


class Bytes:
    """Bytes read from the front."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def take(self, count: int) -> bytes:
        piece, self.data = self.data[:count], self.data[count:]
        return piece

    def varint(self) -> int:
        byte = self.take(1)[0]
        return byte if byte < 128 else byte - 128 + 128 * self.varint()

    def signed(self) -> int:
        value = self.varint()
        return value // 2 if value % 2 == 0 else -(value + 1) // 2


class Bits:
    """Bits read from the front."""

    def __init__(self, data: bytes) -> None:
        self.bits = "".join(f"{byte:08b}" for byte in data)
        self.place = 0

    def read(self, width: int) -> int:
        self.place += width
        return int(self.bits[self.place - width : self.place] or "0", 2)

    def count_until(self, stop: int) -> int:
        end = self.bits.index(str(stop), self.place)
        run, self.place = end - self.place, end + 1
        return run


def read_table(data: bytes, with_frequencies: bool) -> tuple[dict[int, int], bytes]:
    """({symbol: level or frequency}, the rest)."""
    source = Bytes(data)
    size, listed = divmod(source.varint(), 2)
    bits = Bits(source.data)
    symbols = list(range(size))
    if listed:
        last = -1
        for index in range(size):
            zeros = bits.count_until(1)
            last += (1 << zeros) + bits.read(zeros)
            symbols[index] = last
    numbers = [0] * size
    if not (listed and size == 1):
        k = bits.read(2)
        level = bits.read(4)
        for index in range(size):
            if index:
                zigzag = (bits.count_until(0) << k) + bits.read(k)
                level += zigzag // 2 if zigzag % 2 == 0 else -(zigzag + 1) // 2
            numbers[index] = level
            if with_frequencies and level:
                numbers[index] = (1 << (level - 1)) + bits.read(level - 1)
    rest = source.data[(bits.place + 7) // 8 :]
    if listed and size == 1:
        return {symbols[0]: 0}, rest
    return {symbol: number for symbol, number in zip(symbols, numbers, strict=True) if number}, rest


def read_huffman(data: bytes, count: int) -> Iterator[int]:
    table, rest = read_table(data, with_frequencies=False)
    if len(table) == 1:
        yield from list(table) * count
        return
    codes, code, last = {}, 0, 0
    for length, symbol in sorted((16 - level, symbol) for symbol, level in table.items()):
        code <<= length - last
        codes[f"{code:0{length}b}"] = symbol
        code, last = code + 1, length
    bits = Bits(rest)
    for _ in range(count):
        word = ""
        while word not in codes:
            word += str(bits.read(1))
        yield codes[word]


def read_ans(data: bytes, count: int) -> Iterator[int]:
    table, rest = read_table(data, with_frequencies=True)
    if len(table) == 1:
        yield from list(table) * count
        return
    precision = sum(table.values()).bit_length() - 1
    rest = bytes((24 - precision) // 8 if rest else 0) + rest
    rest += bytes(-len(rest) % 4)
    words = [int.from_bytes(rest[place : place + 4], "little") for place in range(0, len(rest), 4)]
    unit = 2**24 // sum(table.values())
    state = words.pop() if words else 0
    state = state << 32 | words.pop() if words else state
    for _ in range(count):
        slot, left = state % 2**24, 0
        symbol, frequency = 0, 0
        for symbol, frequency in table.items():  # noqa: B007  # both are used after the loop
            if slot < left + frequency * unit:
                break
            left += frequency * unit
        yield symbol
        state = (state >> 24) * frequency * unit + slot - left
        if state < 2**32 and words:
            state = state << 32 | words.pop()
    assert state == 0 and not words


def write_ans(indices: list[int], frequencies: list[int]) -> bytes:
    """The words for symbols 0..n-1, as the specification has them, without the table."""
    unit = 2**24 // sum(frequencies)
    state, words = 0, []
    for index in reversed(indices):
        weight, left = frequencies[index] * unit, sum(frequencies[:index]) * unit
        if state >= weight << 40:
            words.append(state % 2**32)
            state >>= 32
        state = (state // weight << 24) + left + state % weight
    while state:
        words.append(state % 2**32)
        state >>= 32
    data = b"".join(word.to_bytes(4, "little") for word in words).rstrip(b"\0")
    precision = sum(frequencies).bit_length() - 1
    assert not any(data[: (24 - precision) // 8])
    return data[(24 - precision) // 8 :]


def read_bitpack(data: bytes, count: int) -> Iterator[int]:
    bits = Bits(data[1:])
    for _ in range(count):
        yield bits.read(data[0])


CODERS = {"": read_bitpack, "huffman": read_huffman, "ans": read_ans}


def read_payload(name: str, data: bytes, size: int) -> list[int]:
    """The codes of a payload, as a specification's reader would get them."""
    layout = next(each for each in ("dense", "bitmap", "relative_index", "kernels") if name.startswith(each))
    coder = CODERS[name.removeprefix(layout).removeprefix("_")]
    source = Bytes(data)

    def stream(count: int, last: bool) -> list[int]:
        if count == 0:
            return []
        return list(coder(source.data if last else source.take(source.varint()), count))

    if size == 0:
        return []
    if layout == "dense":
        minimum = source.signed()
        return [symbol + minimum for symbol in stream(size, last=True)]
    if layout == "kernels":
        minimum, levels, signs = source.signed(), source.take(1)[0], source.take(1)[0]
        symbols = stream(size // signs, last=True)
        return [symbol // levels ** (signs - 1 - at) % levels + minimum for symbol in symbols for at in range(signs)]
    codes = [0] * size
    if layout == "bitmap":
        minimum, has_zero = source.signed(), False
        places = [place for place, bit in enumerate(stream(size, last=False)) if bit]
    else:
        count = source.varint()
        if count == 0:
            return codes
        has_zero, minimum = source.take(1)[0] >= 16, source.signed()
        places, place = [], -1
        for skip in stream(count, last=False):
            place += skip + 1
            places.append(place)
    for place, symbol in zip(places, stream(len(places), last=True), strict=True):
        value = symbol + minimum
        codes[place] = value if has_zero or minimum > 0 or value < 0 else value + 1
    return codes


def test_the_twin_reads_what_the_package_writes(name: str, sample: IntArray) -> None:
    if not isinstance(find(name), Layered):
        pytest.skip("its twin is in the package, see test_adaptive.py")
    try:
        data = find(name).encode(sample.ravel()[:6000])
    except CodecUnfitError:
        return
    assert read_payload(name, data, min(sample.size, 6000)) == sample.ravel()[:6000].tolist()


@settings(max_examples=40, deadline=None)
@given(codes=st.lists(st.one_of(st.just(0), st.integers(-20, 20), st.integers(-(2**31), 2**32 - 1)), max_size=60))
def test_the_twin_reads_anything(codes: list[int]) -> None:
    for name in GENERAL:
        assert read_payload(name, find(name).encode(np.array(codes, dtype=np.int64)), len(codes)) == codes


@pytest.mark.parametrize("symbol_count", [2, 3, 31, 257, 4096])
def test_the_model_given_to_the_coder_library_is_exact(symbol_count: int) -> None:
    """The words equal those of integer arithmetic, for skewed models and every symbol."""
    generator = np.random.default_rng(symbol_count)
    for power in (0, 1, 4):
        skewed = symbol_count * generator.random(1500) ** (1 + power)
        indices = np.concatenate([np.arange(symbol_count), skewed.astype(np.int64)])
        generator.shuffle(indices)
        data = Ans().encode(indices)
        table, words = read_table(data, with_frequencies=True)
        assert list(table) == list(range(symbol_count)) and sum(table.values()).bit_count() == 1
        assert words == write_ans(indices.tolist(), list(table.values()))
        assert list(read_ans(data, indices.size)) == indices.tolist()


@settings(max_examples=80, deadline=None)
@given(counts=st.lists(st.integers(1, 10**6), min_size=2, max_size=300), more=st.integers(0, 6))
def test_quantized_counts_sum_to_the_power(counts: list[int], more: int) -> None:
    precision = (len(counts) - 1).bit_length() + more
    frequencies = quantize_counts(np.array(counts), precision)
    assert int(frequencies.sum()) == 1 << precision and frequencies.min() >= 1
