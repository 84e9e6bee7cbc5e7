"""Quantize the layers of a network by what they do with some images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

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
MOST_AT_ONCE = 4
"""Layers; the products of matrices within each use all cores by themselves."""
DISTURBANCE = 0.4
"""Width of the uniform noise that sensitivity is measured with, in root mean squares of the weight."""


@dataclass(frozen=True)
class CalibratedLayer:
    """A layer with what quantizing it needs.

    Attributes:
        layer: which one.
        weight: filters first, float32; bias: what it adds, None if nothing.
        curvatures: of the inputs of each group, and each span of its columns.
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
        curvatures = tuple(Curvature(each) for each in moments.covariances)
        return cls(layer, state[layer.weight], bias, curvatures, moments.mean)

    @property
    def rows(self) -> Floats:
        """The weight as (filters, n)."""
        return self.weight.reshape(len(self.weight), -1)

    def parts(self) -> Iterator[tuple[slice, slice, Curvature]]:
        """Filters and columns that one curvature is for, with it."""
        filters = len(self.weight) // self.layer.groups
        curvatures = iter(self.curvatures)
        for group in range(self.layer.groups):
            for span in self.layer.spans(self.rows.shape[1]):
                yield slice(group * filters, (group + 1) * filters), span, next(curvatures)

    def error(self, off: Floats) -> float:
        """D, the mean square of what `off`, (filters, n), changes in the outputs of one position, summed over filters."""
        return self.product(off, off)

    def product(self, rows: Floats, others: Floats) -> float:
        """The sum over filters of row H other."""
        return sum(
            float(((rows[of, span] @ each.matrix) * others[of, span]).sum(dtype=np.float64))
            for of, span, each in self.parts()
        )

    def shift(self, off: Floats) -> Floats:
        """What `off`, (filters, n), adds to the mean output of each filter."""
        parts = off.reshape(self.layer.groups, -1, off.shape[-1])
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
    return _quantize(layer, filter_steps(layer.rows, largest), 0.0, largest)


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
    rows = layer.rows
    steps = np.broadcast_to(half.numbers(), (len(rows),))
    codes, bits = np.empty(rows.shape, np.int64), 0.0
    for of, span, curvature in layer.parts():
        part = choose_codes(rows[of, span], curvature, steps[of], slope, largest=largest)
        codes[of, span] = part.codes
        bits += part.bits
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
    return QuantizedLayer(weight, bias, layer.error(off), bits)


def quantize_all(
    layers: Sequence[CalibratedLayer],
    quantize: Callable[[int, CalibratedLayer], QuantizedLayer],
    done: Callable[[int], None] = lambda _: None,
) -> list[QuantizedLayer]:
    """`quantize` of every layer and its number, several at a time, in the order of the layers."""
    with ThreadPoolExecutor(min(MOST_AT_ONCE, os.cpu_count() or 1)) as pool:
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
    rows = layer.rows
    width = DISTURBANCE * float(np.sqrt(np.mean(np.square(rows, dtype=np.float64))))
    noise = np.random.default_rng(seed).uniform(-width / 2, width / 2, rows.shape).astype(np.float32)
    tensors = {layer.layer.weight: (rows + noise).reshape(layer.weight.shape)}
    if layer.bias is not None:
        tensors[layer.layer.bias] = layer.bias - layer.shift(noise).reshape(layer.bias.shape)
    return tensors, layer.error(noise)
