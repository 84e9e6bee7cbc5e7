"""What an integer model computes, in numpy: the definition that every other engine equals bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError
from sepnet.integer.model import IntegerModel
from sepnet.integer.operator import Integers
from sepnet.integer.value import Value

__all__ = ["answers", "dequantize", "laid", "quantize", "run", "run_all", "run_floats"]

Numbers = npt.NDArray[np.int16] | npt.NDArray[np.uint8]


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


def run_all(model: IntegerModel, q: npt.NDArray[np.uint8]) -> list[Numbers]:
    """The q (n, channels, height, width) of every output for the input's."""
    if q.shape[1:] != model.values[model.input].shape or q.dtype != np.uint8:
        wanted = ["n", *model.values[model.input].shape]
        raise DataError(f"the network takes uint8 of shape {wanted}; found {q.dtype} {list(q.shape)}")
    last = {name: at for at, each in enumerate(model.operators) for name in each.sources}
    last |= dict.fromkeys(model.kept, -1)
    maps: dict[str, Integers] = {model.input: q.astype(np.int64)}
    for at, operator in enumerate(model.operators):
        sources = [model.values[name] for name in operator.sources]
        given = [maps[name] for name in operator.sources]
        made = operator.run(given, sources, model.values[operator.target])
        maps[operator.target] = made if given else np.broadcast_to(made, (len(q), *made.shape[1:]))
        for name in set(operator.sources):
            if last[name] == at:
                del maps[name]
    ends = [(maps[each.value], model.values[each.value].wide) for each in model.outputs]
    return [numbers.astype(np.int16) if wide else numbers.astype(np.uint8) for numbers, wide in ends]


def run(model: IntegerModel, q: npt.NDArray[np.uint8]) -> Numbers:
    """The q of the first output."""
    return run_all(model, q)[0]


def laid(model: IntegerModel, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Inputs as the network takes them as maps (n, channels, height, width).  Raises `DataError` for other shapes."""
    sides = model.view.sides
    if batch.shape[1:] != sides[1:]:
        raise DataError(f"the network cannot run on input of shape {list(batch.shape)}; expected {['n', *sides[1:]]}")
    return np.asarray(model.view.put(batch, model.values[model.input].shape), np.float32)


def answers(model: IntegerModel, found: Sequence[Numbers]) -> dict[str, npt.NDArray[np.float32]]:
    """The outputs by name, of their numbers q."""
    return {
        each.name: np.asarray(each.view.taken(dequantize(model.values[each.value], q)), np.float32)
        for each, q in zip(model.outputs, found, strict=True)
    }


def run_floats(model: IntegerModel, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
    """Every output by name for inputs as the network takes them."""
    return answers(model, run_all(model, quantize(model.values[model.input], laid(model, batch))))
