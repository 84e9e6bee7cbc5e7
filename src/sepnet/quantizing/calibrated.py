"""Quantize the layers of a network by what they do with some images."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.quantizing.layers import Layer
from sepnet.quantizing.linear import BIAS_BITS, code_other, filter_steps, filters_of, largest_code
from sepnet.quantizing.moments import Moments
from sepnet.quantizing.rate_distortion import Curvature, Flat, choose_codes

__all__ = ["CalibratedLayer", "QuantizedLayer", "cheapest", "disturbed", "in_bits", "quantize_all"]

Floats = npt.NDArray[np.float32]
STEP_RATIO = 2.0
"""Steps in parts of the one at which, at a high rate, one more bit is worth the slope."""
MOST_STRETCH = 1.25
"""So much larger a step may become after its codes were chosen."""
MOST_AT_ONCE = 4
"""Layers; the products of matrices within each use all cores by themselves."""
MORE_BIAS_BITS = (10, 12, 14)
STEP_BITS = 16
"""What a step takes in a packed file."""
DISTURBANCE = 0.4
"""Width of the uniform noise that sensitivity is measured with, in root mean squares of the weight."""


@dataclass(frozen=True)
class CalibratedLayer:
    """A layer with what quantizing it needs.

    Attributes:
        layer: which one.
        weight: filters first, float32; bias: what it adds, None if nothing.
        curvatures: of the inputs of all groups, one for each span of the columns; `Flat` where they could not be watched.
        mean: of the inputs, (groups, n); 0 where they could not be watched.
        macs: of one example.
    """

    layer: Layer
    weight: Floats
    bias: Floats | None
    curvatures: tuple[Curvature | Flat, ...]
    mean: npt.NDArray[np.float64]
    macs: float

    @classmethod
    def unwatched(cls, name: str, weight: Floats) -> CalibratedLayer:
        """A layer of which only the weight is known: each weight counts alike."""
        columns = math.prod(weight.shape[len(filters_of(weight.shape)) :])
        return cls(Layer(name, "", ""), weight, None, (Flat(),), np.zeros((1, columns)), weight.size)

    @classmethod
    def of(cls, layer: Layer, state: Mapping[str, Floats], moments: Moments) -> CalibratedLayer:
        """From the weights of the network and the moments of the layer's inputs."""
        bias = state[layer.bias] if layer.bias else None
        curvatures = tuple(Curvature(each) for each in moments.covariances)
        weight = state[layer.weight]
        return cls(layer, weight, bias, curvatures, moments.mean, moments.rows * weight.size)

    @property
    def filters(self) -> tuple[int, ...]:
        """The sides of the weight along which its filters lie."""
        return self.weight.shape[:1] if self.layer.input else filters_of(self.weight.shape)

    @property
    def rows(self) -> Floats:
        """The weight as (filters, n)."""
        return self.weight.reshape(math.prod(self.filters), -1)

    def grouped(self, rows: Floats) -> Floats:
        """`rows`, something for each filter, as (groups, filters of a group, ...)."""
        return rows.reshape(self.layer.groups, -1, *rows.shape[1:])

    def parts(self) -> Iterator[tuple[slice, Curvature | Flat]]:
        """Columns that one curvature is for, with it."""
        columns = self.rows.shape[1]
        spans = self.layer.spans(columns) if self.layer.input else [slice(0, columns)]
        return zip(spans, self.curvatures, strict=True)

    def error(self, off: Floats) -> float:
        """D, the mean square of what `off`, (filters, n), changes in the outputs of one position, summed over filters."""
        return float(self.products(off, off).sum())

    def products(self, rows: Floats, others: Floats) -> npt.NDArray[np.float64]:
        """row H other of each filter."""
        found = np.zeros((self.layer.groups, len(rows) // self.layer.groups))
        for span, curvature in self.parts():
            some, other = self.grouped(rows)[..., span], self.grouped(others)[..., span]
            found += (curvature.times(some) * other).sum(axis=2, dtype=np.float64)
        return found.reshape(-1)

    def shift(self, off: Floats) -> Floats:
        """What `off`, (filters, n), adds to the mean output of each filter."""
        parts = self.grouped(off)
        return np.concatenate([part @ middle for part, middle in zip(parts, self.mean, strict=True)]).astype(np.float32)

    @property
    def stiffness(self) -> npt.NDArray[np.float64]:
        """Of each group, the geometric mean over its spans."""
        return np.asarray(np.exp(np.mean([np.log(each.stiffness) for each in self.curvatures], axis=0)))


@dataclass(frozen=True)
class QuantizedLayer:
    """Codes of a layer's weight and its bias corrected for the mean of the error; D and the bits of the codes and steps."""

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
    """The codes of least D + slope * bits, with one step for the layer, or a step a filter where groups differ.

    At a high rate a bit more divides D by four, so that a step s with n weights of stiffness h is right when
    slope = 2 ln 2 * h s^2 / 12; the step taken is `STEP_RATIO` of it.  Groups have inputs of their own, above all those of
    depthwise layers, so that each has the step of its own stiffness, if that is worth the bits of the steps.
    """
    stiffness = layer.stiffness
    tried = [np.asarray(_step(float(np.exp(np.log(stiffness).mean())), slope))]
    if layer.layer.groups > 1:
        tried.append(np.repeat(_step(stiffness, slope), len(layer.rows) // layer.layer.groups))
    done = [_quantize(layer, Half.of(steps), slope, None) for steps in tried]
    return min(done, key=lambda each: each.error + slope * each.bits)


def _step(stiffness: Any, slope: float) -> Any:
    return STEP_RATIO * np.sqrt(12 * slope / (2 * math.log(2) * stiffness))


def _quantize(layer: CalibratedLayer, half: Half, slope: float, largest: int | None) -> QuantizedLayer:
    rows = layer.rows
    steps = np.broadcast_to(half.numbers(), (len(rows),))
    codes, bits = np.empty(rows.shape, np.int64), float(STEP_BITS * half.bits.size)
    for span, curvature in layer.parts():
        grouped = layer.grouped(rows)[..., span]
        part = choose_codes(grouped, curvature, layer.grouped(steps), slope, largest=largest)
        codes[:, span] = part.codes.reshape(len(rows), -1)
        bits += part.bits
    if slope > 0:
        half = _stretched(layer, codes, half)
        steps = np.broadcast_to(half.numbers(), (len(codes),))
    off = rows - codes * steps[:, None].astype(np.float32)
    bias, lost = None, 0.0
    if layer.bias is not None:
        wanted = layer.bias + layer.shift(off).reshape(layer.bias.shape)
        bias, lost, more = _cheapest_bias(layer.layer.bias, wanted, slope)
        bits += more
    if half.bits.ndim:
        half = Half(half.bits.reshape(layer.filters), half.exponent)
    weight = CodedTensor(layer.layer.weight, codes.reshape(layer.weight.shape), "integer", ("linear",), half)
    return QuantizedLayer(weight, bias, layer.error(off) + lost, bits)


def _cheapest_bias(name: str, wanted: Floats, slope: float) -> tuple[CodedTensor, float, float]:
    """A bias in `BIAS_BITS`, or more where that is worth the bits; the square of what it loses, and the bits more."""
    tried = []
    for bits in (BIAS_BITS, *MORE_BIAS_BITS) if slope > 0 else (BIAS_BITS,):
        coded = code_other(name, wanted, True, bits)
        lost = float(np.square(coded.restore() - wanted, dtype=np.float64).sum())
        tried.append((coded, lost, float((bits - BIAS_BITS) * wanted.size)))
    return min(tried, key=lambda each: each[1] + slope * each[2])


def _stretched(layer: CalibratedLayer, codes: npt.NDArray[np.int64], half: Half) -> Half:
    """The step or steps made larger, until the part of the outputs that goes with those of the float weights is as large as these.

    Cheap codes lie nearer to zero than the weights, and layer after layer the outputs would become smaller:
    s = (w H w) / (w H c), over the layer or filter by filter, and at most `MOST_STRETCH` of what it was.
    """
    rows, steps = layer.rows, half.numbers()
    with_codes = codes * np.broadcast_to(steps, (len(rows),))[:, None]
    own, along = layer.products(rows, rows), layer.products(rows, with_codes)
    ratio = own / np.maximum(along, 1e-30) if steps.ndim else own.sum() / max(along.sum(), 1e-30)
    return Half.of(np.asarray(steps.astype(np.float64) * np.clip(ratio, 1.0, MOST_STRETCH)))


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


def disturbed(layer: CalibratedLayer, seed: int, size: float = 1.0) -> tuple[dict[str, Floats], float]:
    """The layer's tensors with uniform noise in the weight, of `size` times `DISTURBANCE`, the bias corrected; and the D of it.

    Groups have noise as their inputs let them have: all of one part in the error.
    """
    rows = layer.rows
    width = size * DISTURBANCE * float(np.sqrt(np.mean(np.square(rows, dtype=np.float64))))
    noise = np.random.default_rng(seed).uniform(-width / 2, width / 2, rows.shape).astype(np.float32)
    if layer.layer.groups > 1:
        even = np.asarray(layer.grouped(noise) / np.sqrt(layer.stiffness)[:, None, None], np.float32)
        even = even.reshape(rows.shape)
        wanted = (size * DISTURBANCE) ** 2 / 12 * float(layer.products(rows, rows).sum())
        noise = (even * math.sqrt(wanted / max(layer.error(even), 1e-30))).astype(np.float32)
    tensors = {layer.layer.weight: (rows + noise).reshape(layer.weight.shape)}
    if layer.bias is not None:
        tensors[layer.layer.bias] = layer.bias - layer.shift(noise).reshape(layer.bias.shape)
    return tensors, layer.error(noise)
