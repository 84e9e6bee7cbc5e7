"""Canonical Huffman codes of at most 15 bits.

Huffman, "A method for the construction of minimum-redundancy codes", Proc. IRE 1952; lengths limited by package-merge
(Larmore and Hirschberg, J. ACM 1990), which is optimal under the limit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sepnet.codecs.layered import Coder
from sepnet.codecs.symbol_table import index_of, occurring, read_table, write_table
from sepnet.core.codec import IntArray
from sepnet.core.errors import FormatError

__all__ = ["MAX_LENGTH", "Huffman", "code_lengths"]

MAX_LENGTH = 15
BLOCK_SYMBOLS = 1 << 16
BLOCK_BYTES = 1 << 15


class Huffman(Coder):
    """Table of code lengths (level = 16 - length), then the codes, most significant bit first.

    Codes are numbered by (length, symbol); a stream of one distinct symbol is its table alone.  At most 4096
    distinct symbols, else `CodecUnfitError`.

    >>> import numpy as np
    >>> Huffman().encode(np.array([0, 0, 1, 0, 2, 0])).hex()
    '063e0026'
    >>> Huffman().decode(bytes.fromhex("063e0026"), 6).tolist()
    [0, 0, 1, 0, 2, 0]
    """

    def encode(self, symbols: IntArray) -> bytes:
        """Table and codes; ceil(sum of lengths / 8) bytes after the table."""
        present, counts = occurring(symbols)
        if present.size == 1:
            return write_table(present, np.array([1]))
        lengths = code_lengths(counts)
        table = write_table(present, MAX_LENGTH + 1 - lengths)
        return table + _pack(index_of(symbols, present), lengths, _canonical_codes(lengths))

    def decode(self, data: bytes, count: int) -> IntArray:
        """The symbols.  The lengths must be of a complete code: sum of 2**-length = 1."""
        present, levels, packed = read_table(data, count, with_extra=False)
        if present.size == 1 and not levels.size:
            if packed:
                raise FormatError(f"{len(packed)} unused bytes after the table of a single symbol")
            return np.full(count, present[0], dtype=np.int64)
        lengths = MAX_LENGTH + 1 - levels
        if int((1 << levels).sum()) != 1 << MAX_LENGTH + 1:
            raise FormatError("the Huffman code lengths are not those of a complete code")
        if count > 8 * len(packed):
            raise FormatError(f"{8 * len(packed)} bits found, expected at least one for each of {count} symbols")
        order = np.lexsort((present, lengths))
        window_index = np.repeat(order, 1 << (MAX_LENGTH - lengths[order])).astype(np.int64)
        index = _unpack(packed, count, window_index, lengths.astype(np.uint8)[window_index])
        return np.asarray(present[index], dtype=np.int64)

    def estimate_bits(self, counts: IntArray, largest: int) -> float:
        """Entropy of the counts, at least a bit a symbol, and two bits of table for each."""
        total = float(counts.sum())
        entropy_bits = float((counts * np.log2(total / counts)).sum())
        return (max(total, entropy_bits) if counts.size > 1 else 0.0) + 2.0 * counts.size

    def describe(self, data: bytes) -> str:
        """ "17 symbols"."""
        return f"{read_table(data, 1 << 32, with_extra=False)[0].size} symbols"


def code_lengths(counts: IntArray) -> IntArray:
    """Lengths in bits (1 to 15) of an optimal prefix code for 2 to 2**15 `counts`, each > 0: package-merge.

    >>> import numpy as np
    >>> code_lengths(np.array([4, 1, 1])).tolist()
    [1, 2, 2]
    """
    order = np.argsort(counts, kind="stable")
    leaves = counts[order]
    is_leaf_of_level: list[npt.NDArray[np.bool_]] = []
    packages = np.zeros(0, dtype=np.int64)
    for _ in range(MAX_LENGTH):
        weights = np.concatenate([leaves, packages])
        merged = np.argsort(weights, kind="stable")
        is_leaf_of_level.append(merged < leaves.size)
        weights = weights[merged]
        packages = weights[: weights.size // 2 * 2].reshape(-1, 2).sum(axis=1)
    lengths = np.zeros(counts.size, dtype=np.int64)
    taken = 2 * counts.size - 2
    for is_leaf in reversed(is_leaf_of_level):
        leaf_count = int(np.count_nonzero(is_leaf[:taken]))
        lengths[order[:leaf_count]] += 1
        taken = 2 * (taken - leaf_count)
    return lengths


def _canonical_codes(lengths: IntArray) -> IntArray:
    """The code of each symbol as an integer: the first is 0; each next is the last plus 1, shifted to its length."""
    order = np.lexsort((np.arange(lengths.size), lengths))
    spans = 1 << (MAX_LENGTH - lengths[order])
    codes = np.empty(lengths.size, dtype=np.int64)
    codes[order] = (np.cumsum(spans) - spans) >> (MAX_LENGTH - lengths[order])
    return codes


def _pack(index: IntArray, lengths: IntArray, codes: IntArray) -> bytes:
    """The codes of the symbols, one after the other."""
    left_aligned = (codes << (16 - lengths)).astype(">u2")
    used = np.arange(16) < lengths[:, np.newaxis]
    bits_of_symbol = np.unpackbits(left_aligned.view(np.uint8).reshape(-1, 2), axis=1)
    parts, pending = [], np.zeros(0, dtype=np.uint8)
    for start in range(0, index.size, BLOCK_SYMBOLS):
        block = index[start : start + BLOCK_SYMBOLS]
        bits = np.concatenate([pending, bits_of_symbol[block][used[block]]])
        whole = bits.size // 8 * 8
        parts.append(np.packbits(bits[:whole]).tobytes())
        pending = bits[whole:]
    return b"".join(parts) + np.packbits(pending).tobytes()


def _unpack(packed: bytes, count: int, window_index: IntArray, window_length: npt.NDArray[np.uint8]) -> IntArray:
    """Symbol places from codes: looks up the next 15 bits at every bit of a block, then follows the chain."""
    source = np.frombuffer(packed + b"\0\0", dtype=np.uint8)
    index = np.empty(count, dtype=np.int64)
    done, position = 0, 0
    for start in range(0, len(packed), BLOCK_BYTES):
        stop = min(start + BLOCK_BYTES, len(packed))
        part = source[start : stop + 2].astype(np.uint32)
        triples = part[:-2] << 16 | part[1:-1] << 8 | part[2:]
        windows = (triples[:, np.newaxis] >> np.arange(9, 1, -1, dtype=np.uint32) & 0x7FFF).ravel()
        lengths = window_length[windows].tobytes()
        places = []
        for _ in range(count - done):
            if position >= len(lengths):
                break
            places.append(position)
            position += lengths[position]
        index[done : done + len(places)] = window_index[windows[places]] if places else 0
        done += len(places)
        position -= len(lengths)
    if done < count or position > 0:
        raise FormatError(f"the Huffman codes end early: {count} symbols expected, {done} found")
    if -position >= 8 or (packed[-1] & ((1 << -position) - 1)):
        raise FormatError("unused bits after the last Huffman code")
    return index
