"""verify: whether a packed file can be read, all of it."""

from __future__ import annotations

from dataclasses import dataclass

from sepnet.core.chunks import Damage
from sepnet.core.errors import FormatError
from sepnet.core.limits import Limits
from sepnet.core.packed_model import PackedModel
from sepnet.packing.salvage import readable
from sepnet.runtimes import REFERENCE, RUNTIMES

__all__ = ["Verification", "verify"]


@dataclass(frozen=True)
class Verification:
    """What reading a whole file showed.

    Attributes:
        tensors: how many the file holds; `read` of them decode.
        graph: "fine", "none" for weights alone, "damaged", or "unchecked" when a tensor it needs cannot be read.
        damage: everything that is not as it should be; empty when all is well.
    """

    tensors: int
    read: int
    graph: str
    damage: tuple[Damage, ...]


def verify(data: bytes, limits: Limits = Limits()) -> Verification:
    """Compare every checksum, decode every tensor, and give graph and weights to ONNX Runtime.

    Raises `FormatError` when fixed part, header or graph are damaged, so that nothing can be read.
    """
    model, damage = PackedModel.salvage(data, limits)
    found, lost = readable(model, damage)
    graph = "unchecked" if len(found.header.tensors) < len(model.header.tensors) else "fine" if model.graph else "none"
    if graph == "fine":
        try:
            RUNTIMES[REFERENCE](found)
        except FormatError as error:
            graph, lost = "damaged", (*lost, Damage("", str(error)))
    return Verification(len(model.header.tensors), len(found.header.tensors), graph, lost)
