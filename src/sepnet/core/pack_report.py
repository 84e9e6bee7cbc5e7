"""What packing leaves to be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.output_row import OutputRow
from sepnet.core.packed_model import PackedModel

__all__ = ["Agreement", "KeptRow", "Measured", "PackReport", "PackRow", "PassRow", "Spoiled", "relative_error"]


@dataclass(frozen=True)
class Agreement:
    """On `images` images: the mean Kullback-Leibler divergence in nats, and the share whose most probable class changed."""

    images: int
    divergence: float
    changed: float


@dataclass(frozen=True)
class Measured:
    """Beside the float network, on `examples` examples, called `noun`.

    Attributes:
        rows: a row an output.
        agreement: of a classifier.
        quantized_by: whether there were so few that the same were quantized by.
    """

    examples: int
    noun: str
    rows: tuple[OutputRow, ...]
    agreement: Agreement | None
    quantized_by: bool


@dataclass(frozen=True)
class PackRow:
    """One tensor.

    Attributes:
        name, shape: as in the file.
        scheme: what was done to it.
        bytes_before: as it came; `bytes`: its codes, scales and checksum in the packed file.
        bits: 8 * bytes over its numbers.
        error: root mean square of what it lost, over the root mean square of its numbers; None when
            it lost nothing.
        alone: of a layer's weight, the signal to noise of each output in dB while this layer alone is rounded, with its bias,
            and all others are floats; None where an output stays as it was.  Empty where that was not measured.
    """

    name: str
    shape: tuple[int, ...]
    scheme: str
    bytes_before: int
    bytes: int
    bits: float
    error: float | None
    alone: Mapping[str, float | None] = field(default_factory=dict)

    @property
    def alone_db(self) -> float | None:
        """The least of `alone`, None where no output changes or nothing was measured."""
        return min((snr for snr in self.alone.values() if snr is not None), default=None)


@dataclass(frozen=True)
class Spoiled:
    """A tensor that was kept in 16 bits, since fewer leave `output` at `snr_db` dB with all other tensors as they were."""

    name: str
    output: str
    snr_db: float


@dataclass(frozen=True)
class KeptRow:
    """Weights that are not quantized, for one reason.

    Attributes:
        why: the reason: what reads them, or where they lie.
        tensors, numbers: how many tensors, and the numbers in them together.
    """

    why: str
    tensors: int
    numbers: int


@dataclass(frozen=True)
class PassRow:
    """One pass from the graph of the file that came to that of the packed file.

    Attributes:
        name: of the pass.
        changed: what it changed, in words; "" for nothing.
    """

    name: str
    changed: str


def relative_error(given: npt.NDArray[Any], found: npt.NDArray[Any]) -> float:
    """Root mean square of the difference over the root mean square of what was given.

    >>> relative_error(np.array([3.0, 4.0]), np.array([3.0, 3.0]))
    0.2
    """
    exact = given.astype(np.float64)
    return float(np.sqrt(np.square(found - exact).sum() / max(1e-30, float(np.square(exact).sum()))))


@dataclass(frozen=True)
class PackReport:
    """What `pack` leaves.

    Attributes:
        packed: the packed model.
        rows: a row a tensor.
        bytes_before: size of the file that came, with those that hold its weights.
        checked: examples on which the outputs of the packed bytes were compared with those of the file that came.
        difference: the largest difference of the first output; `largest` is the largest of it.  None when nothing could be run.
        measured: beside the float network, on examples; None where there were none.
        outputs: a row an output, on random inputs.
        reason: why outputs were not compared, "" if all were.
        spoiled: tensors that were kept in 16 bits because fewer spoil an output.
        advice: what could be done about an output that is not near, "" if nothing need be.
        quantized: how many weights of layers have codes of few bits.
        kept: the other weights, biases of layers left out, which have 8 bits.
        passes: what was done to the graph, in order; () of a file that brings none.
        fixed: examples that the graph is fixed to, 0 when that is free.
    """

    packed: PackedModel
    rows: tuple[PackRow, ...]
    bytes_before: int
    checked: int = 0
    difference: float | None = None
    largest: float | None = None
    measured: Measured | None = None
    outputs: tuple[OutputRow, ...] = ()
    reason: str = ""
    spoiled: tuple[Spoiled, ...] = ()
    advice: str = ""
    passes: tuple[PassRow, ...] = ()
    quantized: int = 0
    kept: tuple[KeptRow, ...] = ()
    fixed: int = 0

    @property
    def agreement(self) -> Agreement | None:
        """With the float network, of a classifier that was calibrated."""
        return self.measured.agreement if self.measured else None
