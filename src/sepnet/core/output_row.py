"""How near an output is to what it should be, on its own scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import NetworkError

__all__ = ["LEAST_SNR", "OutputRow", "output_row"]

LEAST_SNR = 15.0
"""Signal to noise in dB below which an output is ruined."""
CONSTANT = 1e-10
"""Numbers whose variance is at most this part of their mean square are one number, but for rounding."""


@dataclass(frozen=True)
class OutputRow:
    """An output of two forms of a network.

    Attributes:
        name: of the output.
        snr_db: signal to noise, 10 log10(variance of the first / mean squared difference), where the first is one number
            over and over its square in place of the variance; None where they are equal, or are no floats.
        difference, largest: the largest difference, and the largest number of the first, in magnitude; None where there are
            no finite floats.
        changed: of integers and booleans, the share that differs; else None.
    """

    name: str
    snr_db: float | None = None
    difference: float | None = None
    largest: float | None = None
    changed: float | None = None


def output_row(name: str, wanted: npt.NDArray[Any], found: npt.NDArray[Any]) -> OutputRow:
    """Compare; what is not finite in `wanted` does not count, and what is not finite in `found` counts as 0.

    Raises `NetworkError` where shapes differ.

    >>> output_row("y", np.float32([0.0, 2.0]), np.float32([0.0, 2.1])).snr_db.__round__(2)
    23.01
    >>> output_row("loss", np.float32(2.0), np.float32(2.1)).snr_db.__round__(2)
    26.02
    >>> output_row("n", np.array([1, 2]), np.array([1, 3])).changed
    0.5
    """
    if wanted.shape != found.shape:
        raise NetworkError(f"output {name} is of shape {list(found.shape)}; expected {list(wanted.shape)}")
    if wanted.dtype.kind != "f":
        return OutputRow(name, changed=float(np.mean(wanted != found)) if wanted.size else 0.0)
    finite = np.isfinite(wanted)
    exact = wanted[finite].astype(np.float64)
    if not exact.size:
        return OutputRow(name)
    lost = np.nan_to_num(found[finite].astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0) - exact
    noise, square = float(np.mean(lost**2)), float(np.mean(exact**2))
    variance = float(np.var(exact))
    signal = variance if variance > CONSTANT * square else square
    decibels = None if noise == 0 else float(10 * np.log10(max(signal, 1e-30) / noise))
    return OutputRow(name, decibels, float(np.abs(lost).max()), float(np.abs(exact).max()))
