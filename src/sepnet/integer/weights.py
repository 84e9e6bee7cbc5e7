"""The integer weights of a layer, taken from its codes wherever they are integers already."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor

__all__ = ["integers_of", "quantized"]

Integers = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float64]
LARGEST = 127


def integers_of(tensor: CodedTensor) -> tuple[Integers, Floats]:
    """int8 weights and a scale for each filter, whose product is the weight.

    Codes of integers and signs with one scale a tensor or filter are taken as they are, the product is exact.  All other
    weights are quantized: to the nearest of 255 steps a filter, of shared values a tensor.

    >>> integers_of(CodedTensor("w", np.array([[0, 1]]), "sign"))
    (array([[-1,  1]], dtype=int8), array([1.]))
    """
    filters = tensor.shape[0]
    direct = tensor.values in ("integer", "sign") and (tensor.scale is None or tensor.scale.bits.ndim < 2)
    codes = 2 * tensor.codes - 1 if tensor.values == "sign" else tensor.codes
    if direct and int(np.abs(codes).max(initial=0)) <= LARGEST:
        scale = np.float32(1.0) if tensor.scale is None else tensor.scale.numbers()
        return codes.astype(np.int8), np.broadcast_to(np.asarray(scale, np.float64), (filters,)).copy()
    shared = tensor.values == "codebook" and (tensor.scale is None or tensor.scale.bits.ndim < 1)
    return quantized(tensor.restore(), whole=shared)


def quantized(weight: npt.NDArray[np.generic], whole: bool = False) -> tuple[Integers, Floats]:
    """Floats to the nearest of 255 steps: the largest magnitude of a filter, or of the `whole` weight, becomes 127.

    >>> quantized(np.float32([[1.0, -0.5], [0.0, 0.0]]))
    (array([[127, -64],
           [  0,   0]], dtype=int8), array([0.00787402, 0.        ]))
    """
    rows = np.asarray(weight, np.float64).reshape(weight.shape[0], -1)
    largest = np.abs(rows).max(axis=1, initial=0.0)
    scale = (np.full_like(largest, largest.max(initial=0.0)) if whole else largest) / LARGEST
    steps = np.divide(rows, scale[:, None], out=np.zeros_like(rows), where=scale[:, None] > 0)
    return np.rint(steps).astype(np.int8).reshape(weight.shape), scale
