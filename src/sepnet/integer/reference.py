"""What an integer model computes, in numpy: the definition that every other engine equals bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError, NetworkError
from sepnet.graphs.windows import windows as windows_of
from sepnet.integer.bounds import sum_bounds
from sepnet.integer.model import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Gather,
    IntegerModel,
    Lookup,
    MaxPool,
    Multiply,
    Operator,
    Pad,
    Requantize,
    ResponseNorm,
    Slice,
    Value,
    sources_of,
)

__all__ = ["dequantize", "quantize", "run", "run_floats"]

Integers = npt.NDArray[np.int64]


def quantize(value: Value, numbers: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """q of numbers: clamp(floor(number / scale + zero + 1/2)), in float64; 0 of what is no number.

    >>> quantize(Value("x", (1, 1, 3), 0.5, 10), np.float32([[[[-9, 0.25, 1]]]])).tolist()
    [[[[0, 11, 12]]]]
    """
    scaled = np.floor(np.asarray(numbers, np.float64) / value.scale + (value.zero + 0.5))
    return np.clip(np.where(np.isnan(scaled), 0, scaled), *value.limits).astype(np.uint8)


def dequantize(value: Value, q: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """scale * (q - zero), rounded once to float32."""
    return ((q.astype(np.float64) - value.zero) * value.scale).astype(np.float32)


def run(model: IntegerModel, q: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16] | npt.NDArray[np.uint8]:
    """The output's q (n, channels, height, width) for the input's."""
    if q.shape[1:] != model.values[model.input].shape or q.dtype != np.uint8:
        wanted = ["n", *model.values[model.input].shape]
        raise DataError(f"the network takes uint8 of shape {wanted}; found {q.dtype} {list(q.shape)}")
    last = {name: at for at, each in enumerate(model.operators) for name in sources_of(each)} | {model.output: -1}
    maps: dict[str, Integers] = {model.input: q.astype(np.int64)}
    for at, operator in enumerate(model.operators):
        maps[operator.target] = _run(model, operator, maps)
        for name in set(sources_of(operator)):
            if last[name] == at:
                del maps[name]
    out = maps[model.output]
    return out.astype(np.int16) if model.values[model.output].wide else out.astype(np.uint8)


def run_floats(model: IntegerModel, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Outputs for inputs as the network takes them: (n, classes), or (n, channels, height, width) of a map."""
    source, target = model.values[model.input], model.values[model.output]
    found = dequantize(target, run(model, quantize(source, batch)))
    return found.reshape(len(found), target.shape[0]) if target.shape[1:] == (1, 1) else found


def _run(model: IntegerModel, operator: Operator, maps: dict[str, Integers]) -> Integers:
    target = model.values[operator.target]
    if isinstance(operator, Add):
        first, second = (int(each) for each in operator.requantize.multipliers)
        total = maps[operator.first] * first + maps[operator.second] * second
        return _scaled(operator.requantize, total, operator.requantize.offsets)
    if isinstance(operator, Multiply):
        a, b = (maps[name] - model.values[name].zero for name in sources_of(operator))
        return requantized(operator.requantize, a * b)
    if isinstance(operator, Concat):
        return np.concatenate([maps[name] for name in operator.sources], axis=1)
    source, zero = maps[operator.source], model.values[operator.source].zero
    if isinstance(operator, Conv):
        return requantized(operator.requantize, _convolved(operator, source, zero))
    if isinstance(operator, MaxPool):
        return np.asarray(
            _windows(source, operator.kernel, strides=operator.strides, pads=operator.pads, fill=0).max(axis=(4, 5))
        )
    if isinstance(operator, AveragePool):
        return _averaged(operator, source)
    if isinstance(operator, ResponseNorm):
        return _response(operator, source - zero)
    if isinstance(operator, Lookup):
        return np.asarray(operator.table.astype(np.int64)[source])
    if isinstance(operator, Slice):
        channel, row, column = (
            slice(start, None, step) for start, step in zip(operator.starts, operator.steps, strict=True)
        )
        sides = target.shape
        return source[:, channel, row, column][:, : sides[0], : sides[1], : sides[2]]
    if isinstance(operator, Pad):
        return np.pad(source, ((0, 0), *zip(operator.before, operator.after, strict=True)), constant_values=zero)
    if isinstance(operator, Gather):
        return source[:, list(operator.order)]
    raise NetworkError(f"operator {type(operator).__name__} has no reference that says what it computes")


def requantized(rule: Requantize, total: Integers) -> Integers:
    """A sum (n, channels, height, width) as q."""
    multipliers = rule.multipliers.astype(np.int64)[:, None, None]
    return _scaled(rule, total * multipliers, rule.offsets[:, None, None])


def _scaled(rule: Requantize, product: Integers, offsets: npt.NDArray[np.int32]) -> Integers:
    shifted = (product + (offsets.astype(np.int64) << rule.offset_shift)) >> rule.shift
    return np.asarray(np.clip(shifted, rule.low, rule.high), np.int64)


def _convolved(conv: Conv, source: Integers, zero: int) -> Integers:
    """Products in floats that hold every sum exactly."""
    filters, channels, *kernel = conv.weight.shape
    least, most = sum_bounds(conv.weight)
    exact = np.float32 if int((most - least).max(initial=0)) < 1 << 24 else np.float64
    windows = _windows(
        source,
        (kernel[0], kernel[1]),
        strides=conv.strides,
        pads=conv.pads,
        fill=zero,
        dilations=conv.dilations,
        dtype=exact,
    )
    count, _, high, wide = windows.shape[:4]
    size, each = kernel[0] * kernel[1], filters // conv.groups
    rows = windows.reshape(count, conv.groups, channels, high, wide, size).transpose(1, 0, 3, 4, 2, 5)
    weight = conv.weight.reshape(conv.groups, each, channels * size).astype(exact)
    sums = rows.reshape(conv.groups, count * high * wide, channels * size) @ weight.transpose(0, 2, 1)
    shaped = sums.reshape(conv.groups, count, high, wide, each).transpose(1, 0, 4, 2, 3)
    return np.asarray(shaped.reshape(count, filters, high, wide), np.int64)


def _windows(
    source: Integers,
    kernel: tuple[int, int],
    *,
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    fill: int,
    dilations: tuple[int, int] = (1, 1),
    dtype: type = np.int64,
) -> npt.NDArray[Any]:
    """(n, channels, height, width, kernel height, kernel width)."""
    ends = ((pads[0], pads[2]), (pads[1], pads[3]))
    numbers: npt.NDArray[Any] = source.astype(dtype)
    return windows_of(numbers, kernel, strides, ends, dilations=dilations, fill=fill)


def _response(norm: ResponseNorm, source: Integers) -> Integers:
    """Local response normalization of q - zero."""
    half, table = norm.size // 2, norm.table.astype(np.int64)
    squares = np.pad(source * source, ((0, 0), (half, half), (0, 0), (0, 0)))
    total = np.lib.stride_tricks.sliding_window_view(squares, norm.size, axis=1).sum(axis=-1)
    at, rest = total >> norm.shift, total & ((1 << norm.shift) - 1)
    factor = table[at] + (((table[at + 1] - table[at]) * rest) >> norm.shift)
    return requantized(norm.requantize, source * factor)


def _averaged(pool: AveragePool, source: Integers) -> Integers:
    total = _windows(source, pool.kernel, strides=pool.strides, pads=pool.pads, fill=0).sum(axis=(4, 5), dtype=np.int64)
    ones = np.ones((1, 1, *source.shape[2:]), np.int64)
    counts = _windows(ones, pool.kernel, strides=pool.strides, pads=pool.pads, fill=0).sum(axis=(4, 5), dtype=np.int64)
    which = np.searchsorted(pool.counts, counts)
    rule = pool.requantize
    return _scaled(rule, total * rule.multipliers.astype(np.int64)[which], rule.offsets[which])
