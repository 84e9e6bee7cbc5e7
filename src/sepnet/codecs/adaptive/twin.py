"""The adaptive coder in Python alone: the same bytes as adaptive.c, some hundred times slower.

It reads and writes where no compiled library is at hand, and is what adaptive.c is tested against.  The names are those
of the C source; docs/codecs.md is the specification of both.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["KernelMemory", "read_codes", "write_codes"]

INPUTS, SETS, CELLS, LIMIT = 7, 50, 4815, 1000
UNARY, TAILS, LEVELS, PLACES, LARGEST = 14, 20, 32, 10, 1 << 19
ZERO_COLUMN, ZERO_ROW, ZERO_BOTH, ZERO_NEAR, ZERO_SIZES, ZERO_PLACE, ZERO_DEPTH = 0, 128, 320, 576, 896, 960, 1320
SIGN_ALL, SIGN_PLACE, SIGN_BEFORE = 1640, 1721, 2180
MORE_COLUMN, MORE_ROW, MORE_NEAR, MORE_BOTH, MORE_SIZES, MORE_PLACE = 2207, 2527, 2847, 3231, 3743, 3999
TAIL_COLUMN, TAIL_ROW, BITS_TAIL, BITS_ROW = 4239, 4495, 4751, 4783
TREE, LATER, AROUND = 0, 512, 1619
SET_ZERO, SET_SIGN, SET_MORE, SET_TAIL, SET_BITS = 0, 1, 2, 16, 36
RATES = {2: 8, 3: 2, 6: 1, 7: 2}

Codes = npt.NDArray[np.int32]
Bits = npt.NDArray[np.uint8]


@functools.cache
def _tables() -> tuple[list[int], list[int], list[int]]:
    """stretch, squash and share."""
    stretch, squash, power, free = [0] * 4096, [0] * 512, 1 << 32, 2048
    for x in range(2048):
        p = min((1 << 48) // ((1 << 32) + power), 65520)
        if x % 8 == 4:
            squash[256 + x // 8], squash[255 - x // 8] = p, 65536 - p
        while free < 4096 and (free * 16 + 8 <= p or x == 2047):
            stretch[free], stretch[4095 - free] = x, -x
            free += 1
        power = power * 4278222846 >> 32
    return stretch, squash, [655360 // (10 * n + 16) for n in range(LIMIT + 1)]


class Coder:
    """What adapts, and the range coder; reads `data`, or writes to `out` when there is none."""

    def __init__(self, mixes: bool) -> None:
        self.stretch, self.squash, self.share = _tables()
        self.probability, self.count = [1 << 21] * CELLS, [0] * CELLS
        first = {SET_ZERO: 12000, SET_SIGN: 22000}
        self.weights = [[first.get(i, 11000) if mixes and i < SET_TAIL else 38000] * INPUTS for i in range(SETS)]
        self.start(None)

    def start(self, data: bytes | None) -> None:
        """Begin to read `data`, or to write."""
        self.low, self.high, self.at, self.out = 0, 0xFFFFFFFF, 4, bytearray()
        self.data, self.reads = data or b"", data is not None
        self.code = int.from_bytes(self.data[:4].ljust(4, b"\0"), "big")

    def decide(self, at: Sequence[int], which: int, bit: bool) -> bool:
        """One decision, as in C; a reader ignores `bit`."""
        weight, probability = self.weights[which], self.probability
        signal = [self.stretch[probability[each] >> 10] for each in at]
        x = sum(w * s for w, s in zip(weight, signal, strict=False)) >> 16
        p = self.squash[(min(2047, max(-2048, x)) + 2048) >> 3]
        middle = self.low + ((self.high - self.low) * p >> 16)
        if self.reads:
            bit = self.code <= middle
        if bit:
            self.high = middle
        else:
            self.low = middle + 1
        while (self.low ^ self.high) < 1 << 24:
            self._shift()
        error = ((bit << 16) - p) * RATES[len(at)]
        for i, each in enumerate(at):
            n = self.count[each]
            probability[each] += ((4194303 if bit else 0) - probability[each]) * self.share[n] >> 16
            if n < LIMIT:
                self.count[each] = n + 1
            weight[i] += signal[i] * error + 131072 >> 18
        return bit

    def _shift(self) -> None:
        if self.reads:
            byte = self.data[self.at] if self.at < len(self.data) else 0
            self.code = (self.code << 8 | byte) & 0xFFFFFFFF
            self.at += 1
        else:
            self.out.append(self.high >> 24)
        self.low = self.low << 8 & 0xFFFFFFFF
        self.high = (self.high << 8 | 255) & 0xFFFFFFFF

    def read_all(self) -> bool:
        """Whether the data ended where a writer would have ended it."""
        whole = self.at >= len(self.data) and not self.data.endswith(b"\0")
        return whole and self.code == self._ending() << 24

    def written(self) -> bytes:
        """What was written, and the byte that ends it."""
        return bytes(self.out + bytes([self._ending()])).rstrip(b"\0")

    def _ending(self) -> int:
        return (self.low >> 24) + 1 if self.low else 0


def _sign(x: int) -> int:
    return (x > 0) - (x < 0) + 1


def _level(mean: int) -> int:
    x = mean + 8
    top = x.bit_length() - 1
    return min((top - 3) * 2 + (x >> (top - 1) & 1), LEVELS - 1)


def _towards(mean: int, size: int, share: int) -> int:
    return mean + ((min(size, LARGEST) * 4096 - mean) * share >> 16)


def _tail(coder: Coder, rest: int, by_column: int, by_row: int) -> int:
    below = known = e = 0
    while e < TAILS - 1:
        at = (TAIL_COLUMN + min(e, 7) * LEVELS + by_column, TAIL_ROW + min(e, 7) * LEVELS + by_row)
        if not coder.decide(at, SET_TAIL + e, rest - below >= 4 << e):
            break
        below += 4 << e
        e += 1
    for i in range(e + 1, -1, -1):
        seen = 0 if i == e + 1 else 1 + known if i == e else 3
        at = (BITS_TAIL + min(e, 7) * 4 + seen, BITS_ROW + seen * 8 + (i <= e) * 4 + by_row // 8)
        known = 2 * known + coder.decide(at, SET_BITS, bool((rest - below) >> i & 1))
    return UNARY + below + known


class _Matrix:
    """One pass over a matrix of codes; see `code_matrix` in adaptive.c."""

    def __init__(self, coder: Coder, codes: list[list[int]], *, columns: int, kernel: int, mixes: bool) -> None:
        self.coder, self.codes, self.columns, self.kernel, self.mixes = coder, codes, columns, kernel, mixes
        self.side = int(kernel**0.5 + 1e-6)
        self.means = [0] * columns

    def run(self) -> None:
        """Code every row."""
        share, none = self.coder.share, [0] * self.columns
        for r, code in enumerate(self.codes):
            up = self.codes[r - 1] if r else none
            up2 = self.codes[r - 2] if r > 1 else none
            row, fresh = 0, share[min(r, 255)]
            for c in range(self.columns):
                value = self._code(code, up, up2, r, c, row)
                code[c] = value
                self.means[c] = _towards(self.means[c], abs(value), fresh)
                row = _towards(row, abs(value), share[min(c, 255)])

    def _code(  # noqa: PLR0917 (called for every code)
        self, code: list[int], above_row: list[int], above_row2: list[int], r: int, c: int, row: int
    ) -> int:
        kernel, side, mixes, deep = self.kernel, self.side, self.mixes, self.kernel > 1
        decide, value, place = self.coder.decide, code[c], c % self.kernel
        left, left2 = code[c - 1] if c else 0, code[c - 2] if c > 1 else 0
        up, up2 = above_row[c], above_row2[c]
        before = code[c - kernel] if deep and c >= kernel else 0
        over = code[c - side] if deep and place >= side else 0
        by_column, by_row, spot, near = _level(self.means[c]), _level(row), min(place, PLACES - 1), 0
        others = (left != 0) + (left2 != 0) + (up != 0) + (up2 != 0) + (before != 0)
        at = [ZERO_COLUMN + by_column * 4 + (left != 0) + 2 * (up != 0), ZERO_ROW + by_row * 6 + others]
        inside = _sign(left) if deep and place else 1
        if mixes:
            sizes = 2 * (abs(left) + abs(up)) + abs(left2) + abs(up2) + abs(before) + abs(over)
            near = _level(min(sizes, LARGEST) * 4096 // (8 if deep else 6))
            depth = 0 if r < 2 else 1 if r < 4 else 2 if r < 8 else 3 if r < 32 else 4
            where = spot if deep else min(r // 8, 9)
            at += [
                ZERO_BOTH + by_column // 2 * 16 + by_row // 2,
                ZERO_NEAR + near * PLACES + spot,
                ZERO_SIZES + (min(abs(left), 3) * 4 + min(abs(up), 3)) * 4 + min(abs(before), 3),
                ZERO_PLACE + (where * 9 + inside * 3 + _sign(over)) * 4 + by_row // 8,
                ZERO_DEPTH + (depth * LEVELS + by_column) * 2 + (up != 0),
            ]
        if not decide(at, SET_ZERO, value != 0):
            return 0
        at = [
            SIGN_ALL + ((_sign(left) * 3 + _sign(up)) * 3 + _sign(before)) * 3 + _sign(over),
            SIGN_PLACE + (min(place, 50) * 3 + inside) * 3 + _sign(over),
        ]
        if mixes:
            older = up2 if not deep else code[c - 2 * kernel] if c >= 2 * kernel else 0
            at.append(SIGN_BEFORE + (_sign(before) * 3 + _sign(older)) * 3 + _sign(up))
        positive, k = decide(at, SET_SIGN, value > 0), 1
        while k < UNARY:
            step = k if k < 8 else 8 + (k - 8) // 3
            at = [MORE_COLUMN + step * LEVELS + by_column, MORE_ROW + step * LEVELS + by_row]
            if mixes:
                at += [
                    MORE_NEAR + min(k, 11) * LEVELS + near,
                    MORE_BOTH + min(k, 7) * 64 + by_column // 4 * 8 + by_row // 4,
                    MORE_SIZES + min(k, 7) * 32 + min(abs(left), 15) // 2 * 4 + min(abs(up), 15) // 4,
                    MORE_PLACE + (min(k, 5) * PLACES + spot) * 4 + by_row // 8,
                ]
            if not decide(at, SET_MORE - 1 + k, abs(value) > k):
                break
            k += 1
        if k == UNARY:
            k = _tail(self.coder, abs(value) - UNARY, by_column, by_row)
        return k if positive else -k


def read_codes(data: bytes, rows: int, columns: int, *, kernel: int, mixes: bool) -> tuple[Codes, bool]:
    """A matrix of codes, int32, and whether the data ended where a writer would have ended it."""
    coder = Coder(mixes)
    coder.start(data)
    codes = [[0] * columns for _ in range(rows)]
    _Matrix(coder, codes, columns=columns, kernel=kernel, mixes=mixes).run()
    return np.array(codes, np.int32).reshape(rows, columns), coder.read_all()


def write_codes(codes: Codes, kernel: int, mixes: bool) -> bytes:
    """The bytes of a matrix of codes, each from -2**22 to 2**22."""
    coder = Coder(mixes)
    _Matrix(coder, codes.tolist(), columns=codes.shape[1], kernel=kernel, mixes=mixes).run()
    return coder.written()


class KernelMemory:
    """A coder of sign patterns, which remembers from layer to layer."""

    def __init__(self) -> None:
        self._coder = Coder(mixes=False)

    def copy(self) -> KernelMemory:
        """One that goes its own way from here."""
        return copy.deepcopy(self)

    def read(self, data: bytes, rows: int, kernels: int, kernel: int) -> tuple[Bits, bool]:
        """Bits of shape (rows, kernels, kernel), and whether the data ended where a writer would have ended it."""
        self._coder.start(data)
        bits = [[[0] * kernel for _ in range(kernels)] for _ in range(rows)]
        self._run(bits, kernel)
        return np.array(bits, np.uint8).reshape(rows, kernels, kernel), self._coder.read_all()

    def write(self, bits: Bits) -> bytes:
        """The bytes of bits of that shape."""
        self._coder.start(None)
        self._run(bits.tolist(), bits.shape[2])
        return self._coder.written()

    def _run(self, bits: list[list[list[int]]], kernel: int) -> None:
        side = int(kernel**0.5 + 1e-6)
        for r, row in enumerate(bits):
            for c, bit in enumerate(row):
                before, up, prefix = row[c - 1] if c else None, bits[r - 1][c] if r else None, 1
                for i in range(kernel):
                    left = bit[i - 1] + 1 if i % side else 0
                    above = bit[i - side] + 1 if i >= side else 0
                    corner = bit[i - side - 1] + 1 if i % side and i >= side else 0
                    later = LATER + ((min(i, 49) - 9) * 9 + left * 3 + above) * 3 + corner
                    last = before[i] + 1 if before else 0, up[i] + 1 if up else 0
                    around = AROUND + (((min(i, 24) * 3 + left) * 3 + above) * 3 + last[0]) * 3 + last[1]
                    at = (TREE + prefix if i < 9 else later, around)
                    bit[i] = int(self._coder.decide(at, min(i, SETS - 1), bool(bit[i])))
                    prefix = 2 * prefix + bit[i]
