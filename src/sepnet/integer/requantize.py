"""The multipliers, offsets and shifts that make 8-bit numbers of exact sums, and what they make of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import NetworkError
from sepnet.integer.value import Value

__all__ = ["Requantize", "requantize", "requantized", "scaled"]

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
LARGEST_MULTIPLIER, LEAST_MULTIPLIER = 32767, 1024
"""Of the largest multiplier of an operator; below the least, products are given 64 bits."""
MOST_SHIFT, MOST_LONG_SHIFT = 30, 46
LARGEST_BIAS, BEYOND = 2.0**30, 2.0**16
"""In steps of a result; a bias so far beyond the largest sum makes the result its limit, however large it is."""
FINEST = 64
"""Steps of an offset in one step of the result, which 16 bits have to give it."""


@dataclass(frozen=True, eq=False)
class Requantize:
    """From a sum to a number: clamp((sum * multipliers[c] + offsets[c] * 2**offset_shift) >> shift, low, high).

    `>>` rounds towards minus infinity; one half, the zero of the result and that of what went in are in the offset.

    Attributes:
        multipliers: int16, one a channel.
        offsets: int32, one a channel.
        offset_shift, shift: bits.
        low, high: limits of the result, those of an activation function that is part of the operator among them.
        long: whether a product needs more than 32 bits; otherwise it fits them whatever the inputs are.
        long_sum: whether a sum already does; then `long` is set too.
    """

    multipliers: npt.NDArray[np.int16]
    offsets: npt.NDArray[np.int32]
    offset_shift: int
    shift: int
    low: int
    high: int
    long: bool
    long_sum: bool


def requantize(
    ratio: Floats,
    zeros: Integers,
    bias: Floats,
    *,
    bounds: tuple[Integers, Integers],
    target: Value,
    clamp: tuple[float, float] | None = None,
    joint: bool = False,
) -> Requantize:
    """The rule for (sum - zeros) * ratio + bias, one each a channel.

    Args:
        ratio: of one step of a sum to one step of the result.
        zeros: the sum that stands for zero.
        bias: in steps of the result.
        bounds: the least and the largest sum that can be.
        target: what the result is.
        clamp: limits of the result as numbers.
        joint: the sums are added up, each with its multiplier, before one offset is.

    Raises `NetworkError` for numbers that are not finite.
    """
    if not np.isfinite(ratio).all() or not np.isfinite(bias).all():
        raise NetworkError(f"the scales or biases of what makes {target.name!r} are not finite, or too large")
    ratio = np.clip(ratio, -LARGEST_MULTIPLIER, LARGEST_MULTIPLIER)
    reach = np.maximum(np.abs(bounds[0] - zeros), np.abs(bounds[1] - zeros))
    most_bias = np.maximum(reach * (np.abs(ratio) + 0.5) + BEYOND, LARGEST_BIAS)
    bias = np.clip(bias, -most_bias, most_bias)
    largest = float(np.abs(ratio).max(initial=0.0))
    most = int(np.floor(np.log2(LARGEST_MULTIPLIER / largest))) if largest > 0 else 0
    shift = min(most, MOST_SHIFT)
    long_sum = not _fits(bounds[0]) or not _fits(bounds[1])
    fits = False
    while shift >= 0 and not long_sum:
        multipliers, offsets, step = _fixed(ratio, zeros, bias, target=target, shift=shift, joint=joint)
        ends = np.abs([multipliers * bounds[0], multipliers * bounds[1]]).max(axis=0)
        fits = _fits((ends.sum() if joint else ends) + np.abs(offsets << step))
        if fits or np.abs(multipliers).max(initial=0) < LEAST_MULTIPLIER:
            break
        shift -= 1
    if not fits:
        shift = max(0, min(most, MOST_LONG_SHIFT))
        farthest = reach * (np.abs(ratio) + 0.5 / 2.0**shift) + BEYOND  # a multiplier is rounded by half a step
        multipliers, offsets, step = _fixed(
            ratio, zeros, np.clip(bias, -farthest, farthest), target=target, shift=shift, joint=joint
        )
    low, high = target.limits
    if clamp is not None:
        low, high = max(low, target.q(max(clamp[0], -1e30))), min(high, target.q(min(clamp[1], 1e30)))
    return Requantize(
        multipliers.astype(np.int16), offsets.astype(np.int32), step, shift, low, high, not fits, long_sum
    )


def _fits(numbers: Integers) -> bool:
    """Whether 32 bits hold them."""
    return int(np.abs(numbers).max(initial=0)) < 1 << 31


def _fixed(
    ratio: Floats, zeros: Integers, bias: Floats, *, target: Value, shift: int, joint: bool
) -> tuple[Integers, Integers, int]:
    """Multipliers, offsets, and the low bits that these are rounded by."""
    one = 2.0**shift
    multipliers = np.rint(ratio * one).astype(np.int64)
    back = -multipliers * zeros
    if joint:
        back = back.sum(keepdims=True)
    offsets = np.floor((bias[: back.size] + target.zero + 0.5) * one).astype(np.int64) + back
    step = _offset_step(int(np.abs(offsets).max(initial=0)), shift)
    return multipliers, (offsets + ((1 << step) >> 1)) >> step, step


def _offset_step(largest: int, shift: int) -> int:
    """Low bits of offsets that are left out so that 16 bits hold them, as far as that is fine enough; else 32 have to."""
    short = _bits_over(largest, 15)
    return short if short <= max(0, shift - FINEST.bit_length() + 1) else _bits_over(largest, 31)


def _bits_over(largest: int, bits: int) -> int:
    """Low bits to leave out so that `bits` hold what the rest is rounded to."""
    step = max(0, largest.bit_length() - bits)
    return step + ((largest + ((1 << step) >> 1)) >> step >= 1 << bits)


def requantized(rule: Requantize, total: Integers) -> Integers:
    """A sum (n, channels, height, width) as q."""
    multipliers = rule.multipliers.astype(np.int64)[:, None, None]
    return scaled(rule, total * multipliers, rule.offsets[:, None, None])


def scaled(rule: Requantize, product: Integers, offsets: npt.NDArray[np.int32]) -> Integers:
    """A sum with its multiplier in it as q, each with its offset."""
    shifted = (product + (offsets.astype(np.int64) << rule.offset_shift)) >> rule.shift
    return np.asarray(np.clip(shifted, rule.low, rule.high), np.int64)
