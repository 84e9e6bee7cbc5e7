"""Quantize the layers of a network by what they do with some images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.quantizing.layers import Layer
from sepnet.quantizing.linear import code_other, filter_steps, largest_code
from sepnet.quantizing.moments import Moments
from sepnet.quantizing.rate_distortion import Curvature, choose_codes

__all__ = ["CalibratedLayer", "QuantizedLayer", "cheapest", "disturbed", "in_bits", "quantize_all"]

Floats = npt.NDArray[np.float32]
STEP_RATIO = 2.0
"""Steps in parts of the one at which, at a high rate, one more bit is worth the slope."""
MOST_STRETCH = 1.25
"""So much larger a step may become after its codes were chosen."""
DISTURBANCE = 0.4
"""Width of the uniform noise that sensitivity is measured with, in root mean squares of the weight."""


@dataclass(frozen=True)
class CalibratedLayer:
    """A layer with what quantizing it needs.

    Attributes:
        layer: which one.
        weight: filters first, float32; bias: what it adds, None if nothing.
        curvatures: of the inputs of each group.
        mean: of the inputs, (groups, n).
    """

    layer: Layer
    weight: Floats
    bias: Floats | None
    curvatures: tuple[Curvature, ...]
    mean: npt.NDArray[np.float64]

    @classmethod
    def of(cls, layer: Layer, state: Mapping[str, Floats], moments: Moments) -> CalibratedLayer:
        """From the weights of the network and the moments of the layer's inputs."""
        bias = state[layer.bias] if layer.bias else None
        curvatures = tuple(Curvature(each) for each in moments.covariance)
        return cls(layer, state[layer.weight], bias, curvatures, moments.mean)

    @property
    def parts(self) -> list[Floats]:
        """The weight of each group as (filters, n)."""
        rows = self.weight.reshape(len(self.weight), -1)
        return list(rows.reshape(len(self.curvatures), -1, rows.shape[1]))

    def error(self, off: Floats) -> float:
        """D, the mean square of what `off`, (filters, n), changes in the outputs of one position, summed over filters."""
        return self.product(off, off)

    def product(self, rows: Floats, others: npt.NDArray[Any]) -> float:
        """The sum over filters of row H other."""
        shape = (len(self.curvatures), -1, rows.shape[-1])
        pairs = zip(rows.reshape(shape), others.reshape(shape), self.curvatures, strict=True)
        return sum(float(((row @ each.matrix) * other).sum(dtype=np.float64)) for row, other, each in pairs)

    def shift(self, off: Floats) -> Floats:
        """What `off`, (filters, n), adds to the mean output of each filter."""
        parts = off.reshape(len(self.curvatures), -1, off.shape[-1])
        return np.concatenate([part @ middle for part, middle in zip(parts, self.mean, strict=True)]).astype(np.float32)


@dataclass(frozen=True)
class QuantizedLayer:
    """Codes of a layer's weight and its bias corrected for the mean of the error; D and the bits of the codes."""

    weight: CodedTensor
    bias: CodedTensor | None
    error: float
    bits: float

    @property
    def tensors(self) -> list[CodedTensor]:
        """One or two."""
        return [self.weight] if self.bias is None else [self.weight, self.bias]


def in_bits(layer: CalibratedLayer, bits: int) -> QuantizedLayer:
    """`bits` bits a weight, one step a filter, the error of each weight taken up by those after it."""
    largest = largest_code(bits)
    rows = layer.weight.reshape(len(layer.weight), -1)
    return _quantize(layer, filter_steps(rows, largest), 0.0, largest)


def cheapest(layer: CalibratedLayer, slope: float) -> QuantizedLayer:
    """The codes of least D + slope * bits, one step for the layer.

    At a high rate a bit more divides D by four, so that a step s with n weights of stiffness h is right when
    slope = 2 ln 2 * h s^2 / 12; the step taken is `STEP_RATIO` of it.  Cheap codes lie nearer to zero than the weights, and
    layer after layer the outputs would become smaller; so the step is then made larger, until the part of the outputs that
    goes with those of the float weights is as large as these: s = (w H w) / (w H c).
    """
    stiffness = math.exp(float(np.mean([math.log(each.stiffness) for each in layer.curvatures])))
    step = STEP_RATIO * math.sqrt(12 * slope / (2 * math.log(2) * stiffness))
    return _quantize(layer, Half.of(np.asarray(step)), slope, None)


def _quantize(layer: CalibratedLayer, half: Half, slope: float, largest: int | None) -> QuantizedLayer:
    steps = np.broadcast_to(half.numbers(), (len(layer.weight),))
    by_group = steps.reshape(len(layer.curvatures), -1)
    done = [
        choose_codes(part, each, step, slope, largest)
        for part, each, step in zip(layer.parts, layer.curvatures, by_group, strict=True)
    ]
    codes = np.concatenate([each.codes for each in done])
    rows = layer.weight.reshape(len(codes), -1)
    if slope > 0:
        step = float(half.numbers())
        along = layer.product(rows, codes * half.numbers())
        half = Half.of(np.asarray(step * min(max(1.0, layer.product(rows, rows) / max(along, 1e-30)), MOST_STRETCH)))
        steps = np.broadcast_to(half.numbers(), (len(codes),))
    off = rows - codes * steps[:, None].astype(np.float32)
    bias = None
    if layer.bias is not None:
        bias = code_other(layer.layer.bias, layer.bias + layer.shift(off).reshape(layer.bias.shape), True)
    weight = CodedTensor(layer.layer.weight, codes.reshape(layer.weight.shape), "integer", ("linear",), half)
    return QuantizedLayer(weight, bias, layer.error(off), sum(each.bits for each in done))


def quantize_all(
    layers: Sequence[CalibratedLayer],
    quantize: Callable[[int, CalibratedLayer], QuantizedLayer],
    done: Callable[[int], None] = lambda _: None,
) -> list[QuantizedLayer]:
    """`quantize` of every layer and its number, on all cores, in the order of the layers."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        futures = [pool.submit(quantize, at, layer) for at, layer in enumerate(layers)]
        try:
            found = []
            for at, future in enumerate(futures):
                found.append(future.result())
                done(at + 1)
            return found
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def disturbed(layer: CalibratedLayer, seed: int) -> tuple[dict[str, Floats], float]:
    """The layer's tensors with uniform noise in the weight, the bias corrected; and the D of it."""
    rows = layer.weight.reshape(len(layer.weight), -1)
    width = DISTURBANCE * float(np.sqrt(np.mean(np.square(rows, dtype=np.float64))))
    noise = np.random.default_rng(seed).uniform(-width / 2, width / 2, rows.shape).astype(np.float32)
    tensors = {layer.layer.weight: (rows + noise).reshape(layer.weight.shape)}
    if layer.bias is not None:
        tensors[layer.layer.bias] = layer.bias - layer.shift(noise).reshape(layer.bias.shape)
    return tensors, layer.error(noise)
