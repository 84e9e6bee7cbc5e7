"""What int8 kernels compute on x86 processors without VNNI, and which weights cannot go wrong there.

Such kernels multiply uint8 activations by int8 weights and add two neighbouring products in 16 bits, which saturate (the instruction
`pmaddubsw`); other kernels add in 32 bits.  ONNX Runtime's kernels take neighbours along the channels, then the columns, then the rows of a
kernel, and compute depthwise convolutions without such sums (MLAS, `qgemm_kernel_avx2` and `convsym`, read in ONNX Runtime 1.23 and
compared with what 1.32 computes on an AVX2 processor).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.exporters.onnx.pairs import PairedLayer
from sepnet.graphs.windows import around, reach, windows

__all__ = ["can_saturate", "excess"]

Array = npt.NDArray[Any]
Wide = npt.NDArray[np.int32]
LOWEST, HIGHEST = -(2**15), 2**15 - 1
MOST_SUM = HIGHEST // 255
"""Two weights of one sign whose magnitudes add up to more may saturate: 255 * 128 = 32,640, 255 * 129 = 32,895."""
LEAST_CODES = 259
"""Two activations that add up to less saturate with no weights: 258 * 127 = 32,766."""


def can_saturate(layer: PairedLayer) -> bool:
    """Whether some input makes a sum of two neighbouring products leave 16 bits.

    With activations a, b of 0 to 255 and weights v, w the sum a v + b w is at most 255 (max(v, 0) + max(w, 0)), and at
    least 255 (min(v, 0) + min(w, 0)).
    """
    return bool(_wide_pairs(_rows(layer)).any())


def _rows(layer: PairedLayer) -> Wide:
    """int8 codes (filters, n) in the order in which kernels go along them; (filters, 0) where they form no pairs."""
    codes = layer.integer.codes.astype(np.int32)
    if layer.node.op == "Conv":
        depthwise = codes.shape[1] == 1 and layer.node.integer("group", 1) == len(codes)
        codes = np.moveaxis(codes, 1, -1).reshape(len(codes), -1)
        codes = codes[:, :0] if depthwise else codes
    elif layer.axis == 1:
        codes = codes.T
    if layer.integer.kind == "uint8":
        codes = codes[:, :0]
    return np.pad(codes, ((0, 0), (0, codes.shape[1] % 2)))


def _wide_pairs(rows: Wide) -> npt.NDArray[np.bool_]:
    """(filters, n / 2): pairs that may leave 16 bits."""
    pairs = rows.reshape(len(rows), -1, 2)
    above, below = np.maximum(pairs, 0).sum(axis=2), np.maximum(-pairs, 0).sum(axis=2)
    return np.asarray(np.maximum(above, below) > MOST_SUM)


def excess(layer: PairedLayer, codes: Array) -> Wide:
    """What sums of two lie beyond 16 bits, summed over each filter's pairs: in the shape of the layer's output.

    Args:
        codes: uint8, the layer's input.
    """
    rows = _rows(layer)
    wide = _wide_pairs(rows)
    if layer.node.op != "Conv":
        flat = codes.reshape(-1, codes.shape[-1])
        found = np.zeros((len(flat), len(rows)), np.int32)
        for pair in np.flatnonzero(wide.any(axis=0)).tolist():
            _add_excess(found.T, flat[:, 2 * pair], flat[:, 2 * pair + 1], rows=rows, wide=wide, pair=pair)
        return found.reshape(*codes.shape[:-1], len(rows))
    seen = _windows(layer, codes)
    group, channels = layer.node.integer("group", 1), layer.integer.codes.shape[1]
    each, sides = len(rows) // group, seen.ndim // 2 - 1
    found = np.zeros((len(rows), len(codes), *seen.shape[2 : 2 + sides]), np.int32)
    for at in range(group):
        mine = slice(at * each, (at + 1) * each)
        part = seen[:, at * channels : (at + 1) * channels]
        numbers = np.moveaxis(part, 1, -1)  # (n, *sides, *kernel, channels): kernels go along the channels first
        for pair in np.flatnonzero(wide[mine].any(axis=0)).tolist():
            one, other = (_taken(numbers, number, 1 + sides) for number in (2 * pair, 2 * pair + 1))
            _add_excess(found[mine], one, other, rows=rows[mine], wide=wide[mine], pair=pair)
    return np.moveaxis(found, 0, 1)


def _windows(layer: PairedLayer, codes: Array) -> Array:
    """The windows of a convolution, the zero point around the map."""
    node, sides, kernel = layer.node, codes.shape[2:], layer.integer.codes.shape[2:]
    strides, gaps = (node.integers(name) or (1,) * len(sides) for name in ("strides", "dilations"))
    ends = around(
        node.text("auto_pad", "NOTSET"), node.integers("pads"), sides=sides, reach=reach(kernel, gaps), strides=strides
    )
    return windows(codes, kernel, strides, ends, dilations=gaps, fill=int(layer.scaled.zero))


def _taken(numbers: Array, number: int, leading: int) -> Array:
    """Number so-and-so of each window; zeros for one past the last."""
    sides = numbers.shape[leading:]
    if number >= np.prod(sides):
        return np.zeros(numbers.shape[:leading], np.uint8)
    at: Any = (..., *np.unravel_index(number, sides))
    return np.asarray(numbers[at])


def _add_excess(found: Wide, one: Array, other: Array, *, rows: Wide, wide: npt.NDArray[np.bool_], pair: int) -> None:
    """Add to `found` (filters, ...) what a pair of activations (...) gives with each filter's pair of weights."""
    places = np.nonzero(one.astype(np.int32) + other >= LEAST_CODES)
    first, second = one[places].astype(np.int32), other[places].astype(np.int32)
    for filter in np.flatnonzero(wide[:, pair]) if first.size else ():
        sums = first * rows[filter, 2 * pair] + second * rows[filter, 2 * pair + 1]
        found[filter][places] += sums - sums.clip(LOWEST, HIGHEST)
