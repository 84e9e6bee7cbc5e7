"""Codes of a weight that cost few bits and change what the layer gives by little.

The error of a layer with weight W (filters, n), codes C, step s and inputs x of covariance H is

    D = sum over filters of (w - s c) H (w - s c)^T,

its cost R the bits of the codes under their own empirical distribution.  Codes are chosen column by column to minimize
D + slope * R, each column after the error of the ones before it was taken up by those still open (optimal brain surgeon:
Hassibi and Stork 1993; GPTQ: Frantar et al. 2023; with a rate term: CERWU, Conzelmann and Bamler 2025), and then revised
column by column with all others fixed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Coded", "Curvature", "Flat", "choose_codes"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.floating]
Codes = npt.NDArray[np.int64]
BLOCK = 128
DAMPING = 1e-4
MOST = 1 << 15


@dataclass(frozen=True)
class Flat:
    """H where nothing is known of what goes in: the identity, for one group."""

    stiffness: Doubles = field(default_factory=lambda: np.ones(1))

    def times(self, rows: Floats) -> Floats:
        """rows H."""
        return rows


class Curvature:
    """The matrices H of the groups of a layer, made ready.

    Args:
        covariances: (groups, n, n).

    Attributes:
        matrix: each H with `DAMPING` of its mean diagonal added, or more if it takes more to be positive definite, (groups, n, n).
            A group whose inputs were always zero has the least mean diagonal of the others.
        factor: upper triangular U with U^T U = H^-1, (groups, n, n).
        stiffness: geometric mean of 1 / U_jj^2: what an error of 1 in a weight costs once the others have made up for it,
            (groups,).
    """

    def __init__(self, covariances: Floats) -> None:
        means = np.trace(covariances, axis1=1, axis2=2).astype(np.float64) / max(1, covariances.shape[-1])
        least = float(means[means > 0].min(initial=np.inf))
        self.matrix = np.empty(covariances.shape, np.float32)
        self.factor = np.empty(covariances.shape, np.float32)
        for at, covariance in enumerate(covariances):
            fill = 1.0 if least == np.inf else least
            self.matrix[at], self.factor[at] = _ready(covariance, float(means[at]), fill)
        corners = np.diagonal(self.factor, axis1=1, axis2=2)
        self.stiffness = np.exp(-2 * np.log(corners).mean(axis=1)).astype(np.float64)

    def times(self, rows: Floats) -> Floats:
        """rows H, of rows (groups, filters of a group, n)."""
        return rows @ self.matrix


def _ready(covariance: Floats, mean: float, fill: float) -> tuple[Floats, Floats]:
    """H, and U with U^T U = H^-1."""
    size, damping = len(covariance), DAMPING
    while True:
        damped = np.array(covariance, np.float64)
        damped[np.diag_indices(size)] += damping * mean if mean > 0 else fill
        try:
            # of the reversed matrix, so that H = R R^T with R upper triangular, and U = R^-1
            root = np.linalg.cholesky(damped[::-1, ::-1])[::-1, ::-1]
            break
        except np.linalg.LinAlgError:  # fewer rows than columns, or moments that were rounded
            damping *= 10
    return damped.astype(np.float32), np.triu(np.linalg.inv(root)).astype(np.float32)


@dataclass(frozen=True)
class Coded:
    """Codes (groups, filters of a group, n), and the bits that they take."""

    codes: Codes
    bits: float


class _Rate:
    """Bits of codes: minus the logarithm of how often each occurs, a little smoothed."""

    def __init__(self, codes: Codes, largest: int) -> None:
        self.largest = largest
        counts = np.bincount(codes.ravel() + largest, minlength=2 * largest + 1).astype(np.float64)
        ladder = np.abs(np.arange(-largest, largest + 1))
        counts += 0.02 * np.exp(-ladder / 2) + 1e-3
        self.bits = -np.log2(counts / counts.sum())

    def of(self, codes: Codes) -> Doubles:
        """Bits of each."""
        return np.asarray(self.bits[codes + self.largest])


def choose_codes(
    weight: Floats,
    curvature: Curvature | Flat,
    steps: Floats,
    slope: float,
    *,
    largest: int | None = None,
    sweeps: int = 2,
) -> Coded:
    """Codes of a weight.

    Args:
        weight: (groups, filters of a group, n).
        curvature: of what goes in.
        steps: one a filter, (groups, filters of a group); 0 where a filter is all zero.
        slope: how much of D one bit is worth; 0 looks at D alone.
        largest: codes lie in -largest..largest; None: no limit but `MOST`.
        sweeps: how often all columns are revised.

    >>> H = Curvature(np.array([[[1.0, 0.9], [0.9, 1.0]]]))
    >>> choose_codes(np.array([[[0.4, 0.4]]]), H, np.array([[1.0]]), 0.0).codes.tolist()
    [[[0, 1]]]
    """
    exact = np.asarray(weight, np.float32)
    step = np.where(steps > 0, steps, 1.0).astype(np.float32)
    top = int(np.rint(np.abs(exact) / step[..., None]).max(initial=0.0)) + 1
    bound = min(top, MOST) if largest is None else largest
    codes = np.clip(np.rint(exact / step[..., None]), -bound, bound).astype(np.int64)
    rate = _Rate(codes, bound)
    if isinstance(curvature, Flat):
        for _ in range(sweeps):
            codes = _choose(exact, np.float64(1.0), step[..., None], slope, rate=rate)
            rate = _Rate(codes, bound)
        return Coded(codes, float(rate.of(codes).sum()))
    for _ in range(2 if slope > 0 else 1):
        _compensate(exact, curvature.factor, step=step, slope=slope, rate=rate, codes=codes)
        rate = _Rate(codes, bound)
    for _ in range(sweeps):
        _revise(exact, curvature.matrix, step=step, slope=slope, rate=rate, codes=codes)
        rate = _Rate(codes, bound)
    return Coded(codes, float(rate.of(codes).sum()))


def _choose(wanted: Floats, stiff: Any, step: Floats, slope: float, *, rate: _Rate) -> Codes:
    """The codes of one column of all groups: of the nearest ones and zero, the cheapest."""
    near = np.rint(wanted / step).astype(np.int64)
    most = rate.largest
    if slope <= 0:
        return np.asarray(np.clip(near, -most, most))
    sign = np.sign(near)
    tried = np.clip(np.stack([near, near - 1, near + 1, near - 2 * sign, np.zeros_like(near)]), -most, most)
    cost = stiff * np.square(tried * step - wanted) + slope * rate.of(tried)
    return np.asarray(np.take_along_axis(tried, cost.argmin(axis=0)[None], axis=0)[0])


def _compensate(exact: Floats, factor: Floats, *, step: Floats, slope: float, rate: _Rate, codes: Codes) -> None:
    """One pass from the first column to the last; columns that are still open take up the error so far."""
    left = np.array(exact, np.float32)
    size = left.shape[2]
    for start in range(0, size, BLOCK):
        end = min(size, start + BLOCK)
        errors = np.zeros((*left.shape[:2], end - start), np.float32)
        for at in range(start, end):
            unit = factor[:, at, at, None]
            codes[..., at] = _choose(left[..., at], 1 / unit.astype(np.float64) ** 2, step, slope, rate=rate)
            errors[..., at - start] = (left[..., at] - codes[..., at] * step) / unit
            left[..., at:end] -= errors[..., at - start, None] * factor[:, None, at, at:end]
        left[..., end:] -= errors @ factor[:, start:end, end:]


def _revise(exact: Floats, matrix: Floats, *, step: Floats, slope: float, rate: _Rate, codes: Codes) -> None:
    """Choose every column anew, given all the others."""
    off = exact - codes * step[..., None]
    size = off.shape[2]
    for start in range(0, size, BLOCK):
        end = min(size, start + BLOCK)
        pull = off @ matrix[..., start:end]
        inner = matrix[:, start:end, start:end]
        for at in range(end - start):
            column = start + at
            stiff = inner[:, at, at, None].astype(np.float64)
            old = codes[..., column]
            new = _choose(old * step + pull[..., at] / stiff, stiff, step, slope, rate=rate)
            moved = ((new - old) * step).astype(np.float32)
            if moved.any():
                pull -= moved[..., None] * inner[:, None, at]
                codes[..., column] = new
        off[..., start:end] = exact[..., start:end] - codes[..., start:end] * step[..., None]
