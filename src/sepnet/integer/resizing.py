"""Nodes that make larger or smaller maps: transposed convolutions, and resized maps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sepnet.graphs.onnx_graph import Node
from sepnet.integer.arithmetic import floats
from sepnet.integer.graph_values import Array, GraphValues, Ref
from sepnet.integer.operators.blend import Between, Blend
from sepnet.integer.operators.conv import Linear
from sepnet.integer.operators.slice import Slice
from sepnet.integer.value import Shape
from sepnet.integer.view import View
from sepnet.integer.weights import quantized

__all__ = ["conv_transpose", "resize"]

MOST_SIDE, MOST_STRIDE = 65535, 255


def conv_transpose(values: GraphValues, node: Node) -> None:
    """ConvTranspose: a convolution with a filter for each place of a block of pixels, whose channels then become blocks."""
    ref = values.map_of(node)
    weight, groups = values.given(node, 1).astype(np.float64), node.integer("group", 1)
    flat, (channels, *sides) = len(ref.sides) == 3, values.shapes[ref.name]
    if weight.ndim != len(ref.sides) or weight.shape[0] != channels or weight.ndim not in (3, 4):
        raise values.unsupported(node, f"a weight of shape {list(weight.shape)} for a value of {list(ref.sides)}")
    weight = weight[:, :, None] if flat else weight
    more = (1,) * flat
    strides, dilations = ((*more, *(node.integers(name) or (1,) * (2 - flat))) for name in ("strides", "dilations"))
    grown = (*(0,) * flat, *(node.integers("output_padding") or (0,) * (2 - flat)))
    kernel = weight.shape[2:]
    full = [strides[at] * (sides[at] - 1) + grown[at] + (kernel[at] - 1) * dilations[at] + 1 for at in range(2)]
    before, made = _ends(node, full, [strides[at] * sides[at] for at in range(2)], flat)
    if not 0 < min(made) <= max(made) <= MOST_SIDE or not 0 < min(strides) <= max(strides) <= MOST_STRIDE:
        raise values.unsupported(node, f"strides {list(strides)}, and an output of {list(made)}")
    taps = [_taps(kernel[at], strides[at], dilations[at], before[at]) for at in range(2)]
    filters, pads = _blocks(weight, groups, taps, strides)
    counts = [max(-(-made[at] // strides[at]), sides[at] + pads[at] - filters.shape[2 + at] + 1) for at in range(2)]
    ends = [counts[at] - sides[at] - pads[at] + filters.shape[2 + at] - 1 for at in range(2)]
    numbers, scale = quantized(filters)
    bias = floats(values.constant(node, 2), weight.shape[1] * groups).repeat(math.prod(strides))
    cut = [counts[at] * strides[at] for at in range(2)] != list(made)
    blocks = f"{node.outputs[0]} in blocks" if cut else node.outputs[0]
    shape = len(filters), counts[0], counts[1]
    draft = Linear(
        ref.name,
        blocks,
        numbers,
        scale,
        bias,
        node.inputs[1],
        (1, 1),
        (pads[0], pads[1], ends[0], ends[1]),
        (1, 1),
        groups,
    )
    values.drafts.append(draft)
    values.shapes[blocks] = shape
    _unfolded(values, node, blocks, (strides, made))


def _ends(node: Node, full: Sequence[int], same: Sequence[int], flat: bool) -> tuple[list[int], list[int]]:
    """Rows and columns that are cut off before, and those that stay."""
    wanted, mode = node.integers("output_shape"), node.text("auto_pad", "NOTSET")
    pads = node.integers("pads") or (0,) * (4 - 2 * flat)
    half = len(pads) // 2
    before = [0] * flat + list(pads[:half])
    made = [all_ - low - high for all_, low, high in zip(full, before, [0] * flat + list(pads[half:]), strict=True)]
    if wanted:
        made = [1] * flat + list(wanted[-(2 - flat) :])
    elif mode.startswith("SAME"):
        made = list(same)
    if wanted or mode.startswith("SAME"):
        cut = [max(0, all_ - side) for all_, side in zip(full, made, strict=True)]
        before = [each - each // 2 if mode == "SAME_LOWER" else each // 2 for each in cut]
    return before, made


def _taps(kernel: int, stride: int, dilation: int, cut: int) -> list[tuple[int, int, int]]:
    """(place in a block, how far away in the source, tap of the kernel) of all taps along one side."""
    return [
        (place, (place + cut - tap * dilation) // stride, tap)
        for place in range(stride)
        for tap in range(kernel)
        if (place + cut - tap * dilation) % stride == 0
    ]


def _blocks(
    weight: Array, groups: int, taps: Sequence[Sequence[tuple[int, int, int]]], strides: Sequence[int]
) -> tuple[npt.NDArray[np.float64], list[int]]:
    """Filters (channel, row and column of a block), and how far they reach up and left."""
    least = [min(0, min(away for _, away, _ in each)) for each in taps]
    size = [max(0, max(away for _, away, _ in each)) - low + 1 for each, low in zip(taps, least, strict=True)]
    channels, each = weight.shape[0] // groups, weight.shape[1]
    split = weight.reshape(groups, channels, each, *weight.shape[2:])
    filters = np.zeros((groups, each, *strides, channels, *size))
    for row, up, down in taps[0]:
        for column, left, right in taps[1]:
            filters[:, :, row, column, :, up - least[0], left - least[1]] = split[..., down, right].transpose(0, 2, 1)
    return filters.reshape(-1, channels, *size), [-low for low in least]


def _unfolded(values: GraphValues, node: Node, blocks: str, sizes: tuple[Sequence[int], Sequence[int]]) -> None:
    """Channels as blocks of pixels, cut to what stays; `sizes` are those of a block and of the result."""
    (strides, made), (count, high, wide) = sizes, values.shapes[blocks]
    channels = count // math.prod(strides)
    view = View.of((count, high, wide), (1, channels, *strides, high, wide)).transposed((0, 1, 4, 2, 5, 3))
    rows, columns = high * strides[0], wide * strides[1]
    flat = len(values.ref(node).sides) == 3
    shape: Shape = (channels, made[0], made[1])
    whole = values.reshaped(Ref(blocks, view), (1, channels, rows, columns))
    if (rows, columns) == tuple(made):
        values.known[node.outputs[0]] = values.reshaped(whole, (1, channels, *made[flat:]))
        return
    laid = values.laid(node, whole, (channels, rows, columns), View.of((channels, rows, columns)))
    draft = Slice(laid.name, node.outputs[0], (0, 0, 0), (1, 1, 1))
    values.give(node, draft, shape, View.of(shape, (1, channels, *made[flat:])))


def resize(values: GraphValues, node: Node) -> None:
    """Resize and Upsample of height and width, nearest or linear."""
    ref = values.map_of(node)
    channels, *sides = values.shapes[ref.name]
    flat, mode = len(ref.sides) == 3, node.text("mode", "nearest")
    made, scales = _target(values, node, ref, flat)
    if mode not in ("nearest", "linear") or node.integer("antialias") or not 0 < min(made) <= max(made) <= MOST_SIDE:
        raise values.unsupported(node, f"mode {mode}, to {list(made)}; expected nearest or linear")
    old = node.op == "Upsample" or values.opset < 11
    how = "asymmetric" if old else node.text("coordinate_transformation_mode", "half_pixel")
    lines: list[Between] = []
    for at in range(2):
        where = _coordinates(how, sides[at], made[at], scales[at])
        if where is None:
            raise values.unsupported(node, f"coordinates {how}")
        lines.append(
            _between(where, sides[at], mode, "floor" if old else node.text("nearest_mode", "round_prefer_floor"))
        )
    shape: Shape = (channels, made[0], made[1])
    view = View.of(shape, (1, channels, *made[flat:]))
    values.give(node, Blend(ref.name, node.outputs[0], lines[0], lines[1]), shape, view)


def _target(values: GraphValues, node: Node, ref: Ref, flat: bool) -> tuple[list[int], list[float]]:
    """Height and width of the result, and what they were multiplied by."""
    at = 1 if node.op == "Upsample" or values.opset < 11 else 2
    listed = values.constant(node, 3)
    axes = [axis % len(ref.sides) for axis in node.integers("axes")] or list(range(len(ref.sides)))
    sizes = listed if listed is not None and listed.size else None
    given = values.given(node, at) if sizes is None else sizes
    found = dict(zip(axes, map(float, given.ravel()), strict=True))
    if sizes is None:
        kept = all(found.get(axis, 1) == 1 for axis in (0, 1))
        by = [found.get(axis, 1.0) for axis in range(2, len(ref.sides))]
        made = [math.floor(side * each) for side, each in zip(ref.sides[2:], by, strict=True)]
    else:
        kept = (
            found.get(1, ref.sides[1]) == ref.sides[1] and node.text("keep_aspect_ratio_policy", "stretch") == "stretch"
        )
        made = [int(found.get(axis, ref.sides[axis])) for axis in range(2, len(ref.sides))]
        by = [new / old for new, old in zip(made, ref.sides[2:], strict=True)]
    if not kept:
        raise values.unsupported(node, "it resizes more than height and width")
    return [1] * flat + made, [1.0] * flat + by


def _coordinates(how: str, side: int, made: int, scale: float) -> npt.NDArray[np.float64] | None:
    at = np.arange(made, dtype=np.float64)
    if how == "asymmetric":
        return at / scale
    if how == "align_corners":
        return at * ((side - 1) / (made - 1) if made > 1 else 0.0)
    if how == "pytorch_half_pixel" and made == 1:
        return at * 0
    if how in ("half_pixel", "pytorch_half_pixel"):
        return (at + 0.5) / scale - 0.5
    return None


def _between(where: npt.NDArray[np.float64], side: int, mode: str, rounding: str) -> Between:
    """The two neighbours of each place, and how much of the second there is."""
    if mode == "nearest":
        rules: dict[str, Callable[[npt.NDArray[np.float64]], npt.NDArray[np.float64]]] = {
            "floor": np.floor,
            "ceil": np.ceil,
            "round_prefer_floor": lambda x: np.ceil(x - 0.5),
            "round_prefer_ceil": lambda x: np.floor(x + 0.5),
        }
        near = np.clip(rules[rounding](where), 0, side - 1).astype(int)
        return tuple((int(each), int(each), 0) for each in near)
    where = np.clip(where, 0, side - 1)
    low = np.floor(where).astype(int)
    share = np.rint(256 * (where - low)).astype(int)
    return tuple((int(a), min(int(a) + 1, side - 1), int(b)) for a, b in zip(low, share, strict=True))
