"""Inputs that drive sums to their ends: what programs are tried on besides images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import UsageError
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
    Slice,
    sources_of,
)

__all__ = ["following", "layers_to_follow"]

Wish = npt.NDArray[np.float64]
"""(channels, height, width): how much more is wanted of each number."""


def layers_to_follow(model: IntegerModel, most: int) -> list[int]:
    """Numbers of at most so many layers: the first, the last, and those of the largest sums."""
    reach = {
        at: max(int(np.abs(end).max()) for end in sum_bounds(operator.weight))
        for at, operator in enumerate(model.operators)
        if isinstance(operator, Conv)
    }
    layers = list(reach)
    chosen = [*layers[:1], *layers[-1:], *sorted(layers, key=lambda at: -reach[at])]
    return sorted(list(dict.fromkeys(chosen))[:most])


def following(model: IntegerModel, layer: int) -> npt.NDArray[np.uint8]:
    """Two inputs that follow the signs of weights, for the largest and the least sum of a layer.

    Where the layer reads the network's input a number is 255 if its weight is positive and 0 if it is negative, or the other
    way round, so that the sum is as large as it can be.  Before a later layer the signs go back through the operators as if
    these were linear; what does not matter is zero.

    Args:
        model: the network.
        layer: number of its operator, a `Conv`.
    """
    conv = model.operators[layer]
    if not isinstance(conv, Conv):
        raise UsageError(
            f"operator {layer} is a {type(conv).__name__}; expected a Conv, of those that layers_to_follow lists"
        )
    source = model.values[model.input]
    found = []
    low, high = sum_bounds(conv.weight)
    for sign, filter in ((1.0, int(high.argmax())), (-1.0, int(low.argmin()))):
        wish: Wish = np.zeros(model.values[conv.target].shape)
        rows, columns = _apart(conv, wish.shape[1:])
        wish[filter, rows, columns] = sign
        back = _to_input(model, layer, _convolved_back(conv, wish, model.values[conv.source].shape))
        found.append(np.where(back > 0, 255, np.where(back < 0, 0, source.zero)))
    return np.stack(found).astype(np.uint8)


def _apart(conv: Conv, sides: Sequence[int]) -> list[slice]:
    """Rows and columns of the result whose windows share nothing, the middle among them."""
    gaps = [
        -(-((kernel - 1) * dilation + 1) // stride)
        for kernel, dilation, stride in zip(conv.weight.shape[2:], conv.dilations, conv.strides, strict=True)
    ]
    return [slice(side // 2 % gap, None, gap) for side, gap in zip(sides, gaps, strict=True)]


def _to_input(model: IntegerModel, layer: int, wish: Wish) -> Wish:
    wishes = {name: np.zeros(value.shape) for name, value in model.values.items()}
    wishes[sources_of(model.operators[layer])[0]] += wish
    for operator in reversed(model.operators[:layer]):
        shapes = [model.values[name].shape for name in sources_of(operator)]
        for name, part in zip(sources_of(operator), _back(operator, wishes[operator.target], shapes), strict=True):
            wishes[name] += part
    return wishes[model.input]


def _back(operator: Operator, wish: Wish, shapes: Sequence[tuple[int, int, int]]) -> list[Wish]:
    """What an operator's sources should be for a wish of its target."""
    if isinstance(operator, Conv):
        return [_convolved_back(operator, wish * operator.requantize.multipliers[:, None, None], shapes[0])]
    if isinstance(operator, MaxPool | AveragePool):
        return [
            _scattered(lambda *_: wish, shapes[0], kernel=operator.kernel, strides=operator.strides, pads=operator.pads)
        ]
    if isinstance(operator, Add | Multiply):
        by = (
            operator.requantize.multipliers[:2]
            if isinstance(operator, Add)
            else np.sign(operator.requantize.multipliers[[0, 0]])
        )
        second = wish if shapes[1] == shapes[0] else wish.sum(axis=(1, 2), keepdims=True)
        return [wish * by[0], second * by[1]]
    if isinstance(operator, Concat):
        return np.split(wish, np.cumsum([shape[0] for shape in shapes])[:-1])
    if isinstance(operator, Lookup):
        return [wish * np.sign(int(operator.table[255]) - int(operator.table[0]))]
    if isinstance(operator, Pad):
        places = tuple(slice(start, start + side) for start, side in zip(operator.before, shapes[0], strict=True))
        return [wish[places]]
    back: Wish = np.zeros(shapes[0])
    if isinstance(operator, Slice):
        chosen = zip(operator.starts, operator.steps, wish.shape, strict=True)
        back[tuple(slice(start, start + step * side, step) for start, step, side in chosen)] = wish
    elif isinstance(operator, Gather):
        np.add.at(back, list(operator.order), wish)
    else:
        back = wish
    return [back]


def _convolved_back(conv: Conv, wish: Wish, shape: tuple[int, int, int]) -> Wish:
    filters, channels, *kernel = conv.weight.shape
    weight = conv.weight.reshape(conv.groups, filters // conv.groups, channels, *kernel).astype(np.float64)
    parts = wish.reshape(conv.groups, -1, wish.shape[1] * wish.shape[2])

    def at(row: int, column: int) -> Wish:
        return (weight[..., row, column].transpose(0, 2, 1) @ parts).reshape(-1, *wish.shape[1:])

    return _scattered(
        at, shape, kernel=(kernel[0], kernel[1]), strides=conv.strides, pads=conv.pads, dilations=conv.dilations
    )


def _scattered(
    part: Callable[[int, int], Wish],
    shape: tuple[int, int, int],
    *,
    kernel: tuple[int, int],
    strides: tuple[int, int],
    pads: tuple[int, int, int, int],
    dilations: tuple[int, int] = (1, 1),
) -> Wish:
    """The sum of what each place of a kernel wants of the numbers that it reads."""
    channels, high, wide = shape
    back: npt.NDArray[Any] = np.zeros((channels, high + pads[0] + pads[2], wide + pads[1] + pads[3]))
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            wanted = part(row, column)
            top, left = row * dilations[0], column * dilations[1]
            rows = slice(top, top + strides[0] * wanted.shape[1], strides[0])
            back[:, rows, left : left + strides[1] * wanted.shape[2] : strides[1]] += wanted
    return np.asarray(back[:, pads[0] : pads[0] + high, pads[1] : pads[1] + wide])
