"""The tensors of a packed file as values of an ONNX graph: float32, or 8-bit integers with a scale for each filter."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor, scale_per
from sepnet.exporters.onnx.builder import Builder, Way
from sepnet.exporters.onnx.stored import Codes, Halves, write, write_mask

__all__ = [
    "IntegerKind",
    "IntegerWeight",
    "Weight",
    "float_ways",
    "integer_ways",
    "integer_weight",
    "numbers_ways",
    "weight_ways",
]

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float32]
IntegerKind = Literal["int8", "uint8", "int7"]
"""int8; the same codes + 128 as uint8, zero point 128; int8 of 7 bits."""
MOST = {"int8": 127, "uint8": 127, "int7": 64}
"""Largest magnitude of a code.  Two products of 64 and a uint8 fit 16 bits: 2 * 64 * 255 < 2^15."""
LEAST_SCALE = np.float32(2.0**-60)


@dataclass(frozen=True)
class Weight:
    """A tensor that the graph reads: its numbers, and the codes they came from (None for constants that the file implies)."""

    numbers: Array
    coded: CodedTensor | None = None

    @property
    def exponent(self) -> int:
        """Of the powers of two that stored halves are multiplied with."""
        scale = self.coded.scale if self.coded else None
        return scale.exponent if scale else self.coded.value_exponent if self.coded else 0


@dataclass(frozen=True)
class IntegerWeight:
    """int8 codes and the float32 scales that they are multiplied with.

    Attributes:
        codes: int8, in the weight's shape, within the `MOST` of the kind.
        scale: > 0; of shape (), or a number for each index along the axis of filters.
        exponent: of two, by which the scales may be binary16 once divided.
        kernel_signs: codes are signs times a number a kernel.
        kind: how the file holds them.
    """

    codes: npt.NDArray[np.int8]
    scale: Floats
    exponent: int = 0
    kernel_signs: bool = False
    kind: IntegerKind = "int8"

    @property
    def zero(self) -> npt.NDArray[Any]:
        """Zero points in the shape and type in which the file holds them."""
        shifted = self.kind == "uint8"
        return np.full(self.scale.shape, 128 if shifted else 0, np.uint8 if shifted else np.int8)


def numbers_ways(numbers: Array, exponent: int = 0) -> Iterator[Way]:
    """Ways to write any float32 numbers; of other types the numbers as they are."""
    yield lambda build: build.constant(numbers)
    if numbers.dtype != np.float32:
        return
    if halves := Halves.exactly(numbers, exponent):
        yield lambda build: write(build, halves)
    elif few := Codes.of(numbers):
        yield lambda build: write(build, few)


def float_ways(weight: Weight) -> Iterator[Way]:
    """Ways to write what `restore` gives, to the bit."""
    yield from numbers_ways(weight.numbers, weight.exponent)
    coded = weight.coded
    if coded is None or coded.scale is None or coded.values not in ("integer", "sign", "codebook"):
        return
    scale = coded.scale.numbers()
    scale = scale.reshape(scale.shape + (1,) * (weight.numbers.ndim - scale.ndim))

    def scaled(build: Builder, base: str) -> str:
        return build.add("Mul", base, build.smallest(numbers_ways(scale, weight.exponent)))

    if coded.codebook is not None:
        if shared := Codes.of(coded.codebook.numbers()[coded.codes]):
            yield lambda build: scaled(build, write(build, shared))
        return
    integers = 2 * coded.codes - 1 if coded.values == "sign" else coded.codes
    if signs := Codes.of(integers.astype(np.float32)) if coded.values == "sign" else None:
        yield lambda build: scaled(build, write(build, signs))
    low, high = integers.min(initial=0), integers.max(initial=0)
    if low >= -(2**15) and high < 2**15:
        narrow: npt.NDArray[Any] = integers.astype(np.int8 if low >= -128 and high < 128 else np.int16)
        yield lambda build: scaled(build, build.cast(build.smallest(integer_ways(narrow)), np.float32))


def integer_weight(weight: Weight, axis: int, least: Floats, kind: IntegerKind = "int8") -> IntegerWeight:
    """Codes of a weight: those of the file where they fit, with their scales; else 8 (or 7) bits a filter anew.

    Args:
        weight: float32.
        axis: of the filters.
        least: the least scale of each filter, or of all, with which its bias still fits 32 bits.
        kind: "int7" has codes of 7 bits.
    """
    coded, most = weight.coded, MOST[kind]
    found = _exact(coded, most) if coded is not None else None
    if found is None or (found[1].ndim and axis != 0):
        found = _anew(weight.numbers, axis, most)
    codes, scale = found
    floor = np.maximum(least.max() if scale.ndim == 0 else least, LEAST_SCALE)
    raised = np.maximum(scale, floor).astype(np.float32)
    if np.abs(codes).max(initial=0) > 1:  # signs stay signs: what they add is little beside such a bias
        sides = [1] * codes.ndim
        sides[axis] = -1
        codes = np.round(codes * (scale / raised).reshape(sides if scale.ndim else ())).astype(np.int8)
    signs = coded is not None and coded.values == "sign" and scale_per(coded.scale) == "kernel" and axis == 0
    return IntegerWeight(codes, raised, weight.exponent, signs, kind)


def _exact(coded: CodedTensor, most: int) -> tuple[npt.NDArray[np.int8], Floats] | None:
    """Codes that are the file's own, negative scales made positive; of a codebook its numbers, all of one step."""
    scale = np.float32(1) if coded.scale is None else coded.scale.numbers()
    scale = np.asarray(scale, np.float32)
    if scale.ndim > 1 or coded.values not in ("integer", "sign", "codebook"):
        return None
    if coded.codebook is not None:
        numbers = coded.codebook.numbers()
        step = np.float32(max(float(np.abs(numbers).max(initial=0)), 1e-30) / most)
        integers = np.round(numbers / step).astype(np.int64)[coded.codes]
        scale = scale * step
    else:
        integers = 2 * coded.codes - 1 if coded.values == "sign" else coded.codes
    flip = np.where(scale < 0, -1, 1)
    integers = integers * flip.reshape(scale.shape + (1,) * (integers.ndim - scale.ndim))
    if np.abs(integers).max(initial=0) > most:
        return None
    return integers.astype(np.int8), np.abs(scale)


def _anew(numbers: Floats, axis: int, most: int) -> tuple[npt.NDArray[np.int8], Floats]:
    """round(w / step) with step = max |w| / most of each filter."""
    others = tuple(at for at in range(numbers.ndim) if at != axis)
    step = np.abs(numbers).max(axis=others, initial=0, keepdims=True) / np.float32(most)
    step = np.where(step > LEAST_SCALE, step, np.float32(1)).astype(np.float32)
    return np.round(numbers / step).astype(np.int8), step.reshape(-1)


def integer_ways(numbers: npt.NDArray[np.integer[Any]]) -> Iterator[Way]:
    """Ways to write int8, uint8 or int16 numbers."""
    yield lambda build: build.constant(numbers)
    if few := Codes.of(numbers):
        yield lambda build: write(build, few)


def weight_ways(weight: IntegerWeight) -> Iterator[Way]:
    """Ways to write the codes of a weight; the first writes them as they are."""
    if weight.kind == "uint8":
        yield from integer_ways(weight.codes.view(np.uint8) ^ np.uint8(128))
        yield lambda build: _shifted(build, build.smallest(_signed_ways(weight)))
    else:
        yield from _signed_ways(weight)


def _signed_ways(weight: IntegerWeight) -> Iterator[Way]:
    yield from integer_ways(weight.codes)
    if weight.kernel_signs:
        yield lambda build: _signs_times_kernels(build, weight.codes)


def _shifted(build: Builder, codes: str) -> str:
    """int8 + 128 as uint8: so that zeros, of which places may be written, stay zeros until then."""
    wide = build.add("Add", build.cast(codes, np.int32), build.constant(np.int32(128)))
    return build.cast(wide, np.uint8)


def _signs_times_kernels(build: Builder, codes: npt.NDArray[np.int8]) -> str:
    kernels = np.abs(codes).max(axis=tuple(range(2, codes.ndim)), keepdims=True)
    ones = build.constant(np.float32(1)), build.constant(np.float32(-1))
    signs = build.add("Where", write_mask(build, codes > 0), *ones)
    return build.cast(build.add("Mul", signs, build.cast(build.constant(kernels), np.float32)), np.int8)
