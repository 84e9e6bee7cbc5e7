"""The header of a packed file, as docs/format.md describes it."""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from sepnet.core.coded_tensor import LARGEST_EXPONENT, LEAST_EXPONENT

__all__ = ["Header", "InputSpec", "NormEntry", "TensorEntry", "ZeroEntry", "state_names"]

Count = Annotated[int, msgspec.Meta(ge=0, lt=1 << 62)]
Exponent = Annotated[int, msgspec.Meta(ge=LEAST_EXPONENT, le=LARGEST_EXPONENT)]
Whole = Annotated[int, msgspec.Meta(gt=-1 << 62, lt=1 << 62)]
Shape = tuple[Count, ...]


class InputSpec(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the graph wants to see: shape of one example, and the normalization of its pixels."""

    shape: Shape
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


class TensorEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tensor's line in the header."""

    name: str
    shape: Shape
    schemes: tuple[str, ...]
    values: str
    codec: str
    bytes: tuple[Count, Count]
    bits: Count = 0
    scale: str = "none"
    scale_exponent: Exponent = 0
    value_exponent: Exponent = 0
    codebook: Count = 0
    dtype: str = ""

    @property
    def elements(self) -> int:
        """Numbers in the tensor."""
        return math.prod(self.shape)


class NormEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A batch normalization: folded away, or left in the graph as scale and shift."""

    name: str
    eps: float = 1e-5
    folded: bool = True
    tracked: bool = True
    bias: str = ""


class ZeroEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A state-dict entry that the outputs do not depend on."""

    name: str
    shape: Shape
    dtype: str = "float32"


class Header(msgspec.Struct, frozen=True, omit_defaults=True):
    """The header of a packed file."""

    network: str
    params: Count
    tensors: tuple[TensorEntry, ...]
    input: InputSpec | None = None
    classes: tuple[str, ...] = ()
    norms: tuple[NormEntry, ...] = ()
    zeros: tuple[ZeroEntry, ...] = ()
    aliases: dict[str, str] = {}
    made: dict[str, str | Whole | float] = {}


def state_names(header: Header) -> list[str]:
    """Every state-dict key of the network, in no particular order, norm constants included."""
    names = [entry.name for entry in header.tensors] + [entry.name for entry in header.zeros] + list(header.aliases)
    for norm in header.norms:
        names += [f"{norm.name}.running_mean", f"{norm.name}.running_var"]
        names += [f"{norm.name}.num_batches_tracked"] if norm.tracked else []
        names += [f"{norm.name}.weight"] if norm.folded else []
        names += [norm.bias] if norm.bias else []
    return names
