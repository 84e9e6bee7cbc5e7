"""A compressed weight: integer codes and the rule that turns them back into numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from sepnet.core.codec import IntArray
from sepnet.core.errors import FormatError

__all__ = [
    "LARGEST_EXPONENT",
    "LEAST_EXPONENT",
    "VALUES",
    "CodedTensor",
    "Granularity",
    "Half",
    "ScalePer",
    "Values",
    "float_codes",
    "scale_per",
    "scale_shape",
]

Values = Literal["integer", "sign", "codebook", "float16", "float32", "int64"]
VALUES: tuple[str, ...] = get_args(Values)
Granularity = Literal["global", "layer", "filter", "kernel"]
ScalePer = Literal["none", "tensor", "filter", "kernel"]

FloatArray = npt.NDArray[np.float32]
LEAST_EXPONENT, LARGEST_EXPONENT = -149, 127
"""Of a `Half`: two to these powers are the least and the largest powers of two that float32 has."""
_LARGEST_HALF = 65504.0
_LEAST_NORMAL_HALF = 2.0**-14


@dataclass(frozen=True)
class Half:
    """Numbers as they are stored: IEEE binary16 times one power of two.

    The exponent is 0 whenever the largest magnitude fits the normal range of binary16, so most tensors need none.

    >>> Half.of(np.float32([1.0, -0.5])).exponent
    0
    >>> Half.of(np.float32([3e6])).numbers().tolist()
    [3000320.0]
    """

    bits: npt.NDArray[np.float16]
    exponent: int = 0

    @classmethod
    def of(cls, numbers: npt.NDArray[np.floating]) -> Half:
        """The nearest storable numbers."""
        largest = float(np.max(np.abs(numbers), initial=0.0))
        exponent = 0
        if largest > _LARGEST_HALF or 0.0 < largest < 256 * _LEAST_NORMAL_HALF:
            exponent = math.frexp(largest)[1] - 1
        return cls(np.ldexp(np.asarray(numbers, np.float64), -exponent).astype(np.float16), exponent)

    def numbers(self) -> FloatArray:
        """float32 values, `bits * 2**exponent`."""
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ldexp(self.bits.astype(np.float32), self.exponent).astype(np.float32)


def scale_shape(per: ScalePer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the scales of a weight: a prefix of the weight's own shape.

    >>> scale_shape("tensor", (8, 4, 3, 3)), scale_shape("filter", (8, 4, 3, 3)), scale_shape("kernel", (8, 4, 3, 3))
    ((), (8,), (8, 4))
    """
    return shape[: {"none": 0, "tensor": 0, "filter": 1, "kernel": 2}[per]]


def scale_per(scale: Half | None) -> ScalePer:
    """The granularity of given scales."""
    if scale is None:
        return "none"
    return ("tensor", "filter", "kernel")[scale.bits.ndim]


@dataclass(frozen=True)
class CodedTensor:
    """Codes and their dequantizer.

    Attributes:
        name: state-dict key.
        codes: int64, the weight's shape; 0 stands for a pruned weight wherever weights were pruned.
        values: what a code means, see docs/format.md.
        schemes: the chain that made it.
        scale: multiplier for the tensor (shape ()), a filter (shape[:1]) or a kernel (shape[:2]); None is 1.
        codebook: the numbers that codes index, for values "codebook".
        value_exponent: power of two of float16 values.
        codec: a codec's name, or "auto" for the smallest.
        dtype: the type that the numbers had and a state dict shall have, "" for what `restore` gives; see docs/format.md.

    >>> CodedTensor("w", np.array([[-3, 0, 2]]), "integer", ("linear",), Half.of(np.float32(0.5))).restore().tolist()
    [[-1.5, 0.0, 1.0]]
    """

    name: str
    codes: IntArray
    values: Values
    schemes: tuple[str, ...] = ("keep",)
    scale: Half | None = None
    codebook: Half | None = None
    value_exponent: int = 0
    codec: str = "auto"
    dtype: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return tuple(int(side) for side in self.codes.shape)

    @property
    def bits(self) -> int:
        """Bits of a code as its scheme makes it (docs/numbers.md): of integers the width of two's complement that holds them all."""
        if self.values == "float16":
            return 16
        if self.values == "float32":
            return 32
        if self.values == "sign":
            return 1
        if self.codebook is not None:
            return max(1, (self.codebook.bits.size - 1).bit_length())
        low, high = int(self.codes.min(initial=0)), int(self.codes.max(initial=0))
        return max(1, 1 + max(high, -low).bit_length())

    @property
    def kept(self) -> int:
        """Numbers that are not zero once restored."""
        return int(np.count_nonzero(self.restore()))

    def restore(self) -> npt.NDArray[np.float32] | npt.NDArray[np.int64]:
        """The weight: float32 (int64 for values "int64"), in its shape."""
        if self.values == "int64":
            return self.codes
        base = self._base()
        if self.scale is None:
            return base
        scale = self.scale.numbers()
        with np.errstate(over="ignore", invalid="ignore"):
            return base * scale.reshape(scale.shape + (1,) * (base.ndim - scale.ndim))

    def _base(self) -> FloatArray:
        if self.values == "integer":
            return self.codes.astype(np.float32)
        if self.values == "sign":
            return (2 * self.codes - 1).astype(np.float32)
        if self.values == "codebook":
            if self.codebook is None:
                raise FormatError(f"tensor {self.name!r}: found no codebook; values 'codebook' need one")
            return self.codebook.numbers()[self.codes]
        if self.values == "float16":
            halves = self.codes.astype(np.uint16).view(np.float16)
            return Half(halves, self.value_exponent).numbers()
        return self.codes.astype(np.uint32).view(np.float32)


def float_codes(
    name: str, numbers: npt.NDArray[Any], dtype: str, schemes: tuple[str, ...], *, codec: str = "auto"
) -> CodedTensor:
    """A coded tensor that keeps floats; minus zero becomes zero, so that code 0 is the only zero.

    >>> float_codes("w", np.float32([1.0, -0.0]), "float32", ("keep",)).restore().tolist()
    [1.0, 0.0]
    """
    plain = np.asarray(numbers, np.float32) + np.float32(0.0)
    if dtype == "float32":
        return CodedTensor(name, plain.view(np.uint32).astype(np.int64), "float32", schemes, codec=codec)
    half = Half.of(plain)
    bits = (half.bits + np.float16(0.0)).view(np.uint16).astype(np.int64)
    return CodedTensor(name, bits, "float16", schemes, value_exponent=half.exponent, codec=codec)
