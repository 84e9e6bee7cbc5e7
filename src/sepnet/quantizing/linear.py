"""Uniform symmetric quantization by the weights alone."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor, Half, float_codes
from sepnet.core.layer_bits import KEPT

__all__ = [
    "BIAS_BITS",
    "code_kept",
    "code_other",
    "code_weight",
    "filter_steps",
    "filters_of",
    "largest_code",
]

Floats = npt.NDArray[np.floating]
CANDIDATES = np.linspace(0.3, 1.0, 40)
"""Steps to try, in parts of the one that reaches the largest weight."""
BIAS_BITS = 8


def largest_code(bits: int) -> int:
    """2^(bits - 1) - 1, so that the codes are symmetric.

    >>> largest_code(8), largest_code(2)
    (127, 1)
    """
    return int(2 ** (bits - 1)) - 1


def filter_steps(rows: Floats, largest: int) -> Half:
    """The step of least squared error of each row (filters, weights a filter), of 40 candidates, as it is stored.

    Sum over the weights of a row of (step * clamp(round(w / step), -largest, largest) - w)^2; zeros are exact at any step.
    A row of zeros has step 0.

    >>> filter_steps(np.float32([[-1.0, 0.0, 1.0, 0.5], [0, 0, 0, 0]]), 7).numbers().astype(float).round(3).tolist()
    [0.14, 0.0]
    """
    top = np.abs(rows).max(axis=1, initial=0.0).astype(np.float64)
    if not top.any():
        return Half.of(top)
    best, least = top / largest, np.full(len(rows), np.inf)
    safe = np.where(top > 0, top, 1.0).astype(np.float32)[:, None]
    unit = rows / safe
    for part in CANDIDATES:
        step = np.float32(part / largest)
        error = np.square(np.clip(np.rint(unit / step), -largest, largest) * step - unit).sum(axis=1)
        better = error < least
        least[better] = error[better]
        best[better] = part * top[better] / largest
    return Half.of(best)


def filters_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The sides of a weight along which filters lie: the first, or two of a stack of matrices, as of an LSTM.

    >>> filters_of((64, 3, 5, 5)), filters_of((2, 512, 128))
    ((64,), (2, 512))
    """
    return shape[:2] if len(shape) == 3 and shape[0] <= 2 else shape[:1]


def code_weight(name: str, weight: Floats, bits: int) -> CodedTensor:
    """A layer's weight, filters first: `bits` bits, a step a filter (a row of a stack of matrices, as of an LSTM).

    >>> code_weight("w", np.float32([[-1.0, 1.0, 0.5], [0.02, 0.01, 0.0]]), 2).codes.tolist()
    [[-1, 1, 1], [1, 1, 0]]
    """
    shape = filters_of(weight.shape)
    rows = weight.reshape(int(np.prod(shape)), -1)
    half = filter_steps(rows, largest_code(bits))
    steps = half.numbers()[:, None]
    codes = np.rint(rows / np.where(steps > 0, steps, np.float32(1.0)))
    largest = largest_code(bits)
    integers = np.clip(codes, -largest, largest).astype(np.int64).reshape(weight.shape)
    return CodedTensor(name, integers, "integer", ("linear",), Half(half.bits.reshape(shape), half.exponent))


def code_kept(name: str, numbers: Floats) -> CodedTensor:
    """A tensor in 16 bits: binary16, or integers of 16 bits with a step a filter, whichever is nearer.

    Where the numbers of a filter are about alike in size, as in sines and cosines, integers have up to five bits more to tell them
    apart, and a filter that is to be silent at all frequencies but one is that much more silent.

    >>> kept = code_kept("w", np.cos(np.arange(64, dtype=np.float32)).reshape(2, 32))
    >>> kept.values, kept.bits, kept.schemes
    ('integer', 16, ('keep',))
    >>> code_kept("w", np.float32([[1e-4, 1.0, 8.0]])).values
    'float16'
    """
    halves = float_codes(name, numbers, "float16", ("keep",))
    if numbers.ndim < 2 or not numbers.size:
        return halves
    integers = dataclasses.replace(code_weight(name, numbers, KEPT), schemes=("keep",))
    nearer = np.square(halves.restore() - numbers).sum() <= np.square(integers.restore() - numbers).sum()
    return halves if nearer else integers


def code_other(name: str, numbers: Floats, bias: bool, bits: int = BIAS_BITS) -> CodedTensor:
    """What is no layer's weight: a bias in 8 bits, or as many as asked for, with one step; anything else in binary16.

    Whole numbers that binary16 does not hold, such as positions above 2,048, are float32.

    >>> code_other("b", np.float32([127.0, -1.0]), True).codes.tolist()
    [127, -1]
    >>> code_other("at", np.float32([4000.0, 4001.0]), False).restore().tolist()
    [4000.0, 4001.0]
    """
    if not bias or not np.any(numbers):
        half = float_codes(name, numbers, "float16", ("keep",))
        lossy = np.array_equal(numbers, np.rint(numbers)) and not np.array_equal(half.restore(), numbers)
        return float_codes(name, numbers, "float32", ("keep",)) if lossy else half
    largest = largest_code(bits)
    step = Half.of(np.asarray(np.abs(numbers).max() / largest))
    codes = np.clip(np.rint(numbers / step.numbers()), -largest, largest).astype(np.int64)
    return CodedTensor(name, codes, "integer", ("linear",), step)
