"""Inputs that drive sums to their ends: what programs are tried on besides images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import UsageError
from sepnet.integer.model import IntegerModel
from sepnet.integer.operator import Wish

__all__ = ["following", "layers_to_follow"]


def layers_to_follow(model: IntegerModel, most: int) -> list[int]:
    """Numbers of at most so many layers: the first, the last, and those of the largest sums."""
    reach = {
        at: max(int(np.abs(end).max()) for end in operator.bounds)
        for at, operator in enumerate(model.operators)
        if operator.bounds is not None
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
        layer: number of its operator, one with weights.
    """
    operator = model.operators[layer]
    if operator.bounds is None:
        raise UsageError(
            f"operator {layer} is a {type(operator).__name__}; expected a Conv, of those that layers_to_follow lists"
        )
    source = model.values[model.input]
    found = []
    low, high = operator.bounds
    ends = model.values[operator.sources[0]], model.values[operator.target]
    for sign, filter in ((1.0, int(high.argmax())), (-1.0, int(low.argmin()))):
        back = _to_input(model, layer, operator.followed(filter, sign, *ends))
        found.append(np.where(back > 0, 255, np.where(back < 0, 0, source.zero)))
    return np.stack(found).astype(np.uint8)


def _to_input(model: IntegerModel, layer: int, wish: Wish) -> Wish:
    wishes = {name: np.zeros(value.shape) for name, value in model.values.items()}
    wishes[model.operators[layer].sources[0]] += wish
    for operator in reversed(model.operators[:layer]):
        shapes = [model.values[name].shape for name in operator.sources]
        for name, part in zip(operator.sources, operator.back(wishes[operator.target], shapes), strict=True):
            wishes[name] += part
    return wishes[model.input]
