"""Asymmetric numeral systems (range variant) with one static model: within a fraction of a percent of the entropy.

Duda et al., "The use of asymmetric numeral systems as an accurate replacement for Huffman coding", PCS 2015.  The coder
is `constriction.stream.stack.AnsCoder` (64-bit state, 32-bit words, 24-bit probabilities), imported on first use.  Its
model is given exactly, as integers, so any reader can be written from docs/codecs.md.
"""

from __future__ import annotations

import heapq
import importlib
import math
from typing import Any

import numpy as np

from sepnet.codecs.layered import Coder
from sepnet.codecs.symbol_table import index_of, occurring, read_table, table_bits, write_table
from sepnet.core.codec import IntArray
from sepnet.core.errors import FormatError

__all__ = ["MAX_PRECISION", "Ans", "quantize_counts"]

MAX_PRECISION = 15
MODEL_PRECISION = 24


class Ans(Coder):
    """Table of frequencies f with sum 2**P (level = bit length of f, extra = f), then the coder's words.

    Words are little-endian, the first without the floor((24 - P) / 8) low bytes that are always zero, the last without
    its zero bytes at the end.  P (up to 15 bits) is the one with the smallest total.  A stream of one distinct symbol
    is its table alone.  At most 4096 distinct symbols, else `CodecUnfitError`.

    >>> import numpy as np
    >>> data = Ans().encode(np.array([0, 0, 1, 0, 2, 0]))
    >>> Ans().decode(data, 6).tolist()
    [0, 0, 1, 0, 2, 0]
    """

    def encode(self, symbols: IntArray) -> bytes:
        """Table and words."""
        present, counts = occurring(symbols)
        if present.size == 1:
            return write_table(present, np.array([1]))
        frequencies = _best_frequencies(present, counts)
        coder = _stack().AnsCoder()
        coder.encode_reverse(index_of(symbols, present).astype(np.int32), _model(frequencies))
        words = np.asarray(coder.get_compressed()).astype("<u4").tobytes()
        packed = words.rstrip(b"\0")[_zero_bytes(frequencies) :]
        return write_table(present, _bit_lengths(frequencies), frequencies) + packed

    def decode(self, data: bytes, count: int) -> IntArray:
        """The symbols; the coder must end in its initial, empty state."""
        present, frequencies, packed = read_table(data, count, with_extra=True)
        if present.size == 1 and not frequencies.size:
            if packed:
                raise FormatError(f"{len(packed)} unused bytes after the table of a single symbol")
            return np.full(count, present[0], dtype=np.int64)
        total = int(frequencies.sum())
        if present.size < 2 or total & (total - 1) or total > 1 << MAX_PRECISION:
            raise FormatError(f"frequencies of sum {total} found, expected a power of two up to 2**{MAX_PRECISION}")
        if packed.endswith(b"\0"):
            raise FormatError("the ANS words end in a zero byte")
        packed = bytes(_zero_bytes(frequencies) if packed else 0) + packed
        words = np.frombuffer(packed + bytes(-len(packed) % 4), dtype="<u4").astype(np.uint32)
        return np.asarray(present[_decode_words(words, frequencies, count)], dtype=np.int64)

    def estimate_bits(self, counts: IntArray, largest: int) -> float:
        """Entropy of the counts, and six bits of table for each symbol."""
        return float((counts * np.log2(float(counts.sum()) / counts)).sum()) + 6.0 * counts.size

    def describe(self, data: bytes) -> str:
        """ "17 symbols"."""
        return f"{read_table(data, 1 << 32, with_extra=True)[0].size} symbols"


def _stack() -> Any:
    """constriction's stack coders, imported only when an ANS codec is used."""
    return importlib.import_module("constriction").stream.stack


def _model(frequencies: IntArray) -> Any:
    """constriction's model whose 24-bit fixed-point probabilities are exactly frequency x 2**(24 - P).

    Its fast quantization gives symbol i the left cumulative floor(scale x sum of the first i weights) + i, where
    scale = (2**24 - n) / (sum of all n weights).  With weights f x 2**(24 - P) - 1 the scale is exactly 1.
    """
    model: Any = importlib.import_module("constriction").stream.model
    unit = (1 << MODEL_PRECISION) // int(frequencies.sum())
    return model.Categorical((frequencies * unit - 1).astype(np.float64), perfect=False)


def _decode_words(words: np.ndarray[Any, np.dtype[np.uint32]], frequencies: IntArray, count: int) -> IntArray:
    """Places of the symbols; whatever constriction raises, a panic too, becomes `FormatError`."""
    try:
        coder = _stack().AnsCoder(words)
        index = np.asarray(coder.decode(_model(frequencies), count), dtype=np.int64)
        empty = bool(coder.is_empty())
    except (KeyboardInterrupt, SystemExit, MemoryError, ImportError):
        raise
    except BaseException as error:  # a Rust panic is one, and no Exception
        raise FormatError(f"the ANS words cannot be decoded: {error}") from None
    if not empty:
        raise FormatError(f"the ANS words do not end with the last of {count} symbols")
    return index


def _zero_bytes(frequencies: IntArray) -> int:
    """Low bytes of the first word that are always zero: until it is written the state is a multiple of 2**(24 - P)."""
    return (MODEL_PRECISION + 1 - int(frequencies.sum()).bit_length()) // 8


def _bit_lengths(numbers: IntArray) -> IntArray:
    return np.frexp(numbers.astype(np.float64))[1].astype(np.int64)


def _best_frequencies(present: IntArray, counts: IntArray) -> IntArray:
    """The quantized frequencies with the smallest table + cross entropy; the lowest precision of equals."""
    best, best_bits = counts, math.inf
    for precision in range(int(present.size - 1).bit_length(), MAX_PRECISION + 1):
        frequencies = quantize_counts(counts, precision)
        levels = _bit_lengths(frequencies)
        bits = table_bits(present, levels) + int((levels - 1).sum())
        total_bits = bits + float((counts * (precision - np.log2(frequencies))).sum())
        if total_bits < best_bits:
            best, best_bits = frequencies, total_bits
    return best


def quantize_counts(counts: IntArray, precision: int) -> IntArray:
    """Frequencies >= 1 with sum 2**precision, near the least cross entropy; each step takes the cheapest change.

    >>> import numpy as np
    >>> quantize_counts(np.array([90, 9, 1]), 4).tolist()
    [14, 1, 1]
    """
    total = 1 << precision
    frequencies = np.maximum(1, counts * total // int(counts.sum()))
    missing = total - int(frequencies.sum())
    weights, result = counts.tolist(), frequencies.tolist()
    step = 1 if missing > 0 else -1

    def cost(index: int) -> float:
        """Rank of changing this frequency: most gained by adding, or least lost by taking away, comes first."""
        weight, frequency = float(weights[index]), float(result[index])
        if step > 0:
            return -weight / (frequency + 0.5)
        return weight / (frequency - 0.5) if frequency > 1 else math.inf

    heap = [(cost(index), index) for index in range(len(result))] if missing else []
    heapq.heapify(heap)
    for _ in range(abs(missing)):
        index = heap[0][1]
        result[index] += step
        heapq.heapreplace(heap, (cost(index), index))
    return np.array(result, dtype=np.int64)
