"""A network's graph as it goes into a packed file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["ExportedGraph", "Norm"]


@dataclass(frozen=True)
class Norm:
    """A batch normalization of the graph.

    Attributes:
        name: module path, the common prefix of its four tensors.
        eps: its epsilon.
        weight: state-dict key of the weight it was folded into, "" when it was left.
        bias: state-dict key of that layer's own bias, "" when it has none.
    """

    name: str
    eps: float
    weight: str = ""
    bias: str = ""


@dataclass(frozen=True)
class ExportedGraph:
    """An ONNX graph that names weights it does not hold.

    Attributes:
        data: serialized ModelProto.
        used: state-dict keys that the graph refers to, of tied ones the first.
        norms: its batch normalizations, folded or left.
        tied: second name -> first name of state-dict entries that are one tensor.
    """

    data: bytes
    used: frozenset[str]
    norms: tuple[Norm, ...]
    tied: Mapping[str, str] = field(default_factory=dict)
