"""What an integer model computes, in numpy: the definition that every other engine equals bit for bit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError
from sepnet.integer.model import IntegerModel
from sepnet.integer.operator import Integers
from sepnet.integer.value import Value

__all__ = ["dequantize", "quantize", "run", "run_floats"]


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
    last = {name: at for at, each in enumerate(model.operators) for name in each.sources} | {model.output: -1}
    maps: dict[str, Integers] = {model.input: q.astype(np.int64)}
    for at, operator in enumerate(model.operators):
        sources = [model.values[name] for name in operator.sources]
        given = [maps[name] for name in operator.sources]
        maps[operator.target] = operator.run(given, sources, model.values[operator.target])
        for name in set(operator.sources):
            if last[name] == at:
                del maps[name]
    out = maps[model.output]
    return out.astype(np.int16) if model.values[model.output].wide else out.astype(np.uint8)


def run_floats(model: IntegerModel, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Outputs for inputs as the network takes them: (n, classes), or (n, channels, height, width) of a map."""
    source, target = model.values[model.input], model.values[model.output]
    found = dequantize(target, run(model, quantize(source, batch)))
    return found.reshape(len(found), target.shape[0]) if target.shape[1:] == (1, 1) else found
