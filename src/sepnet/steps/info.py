"""info: what is inside a packed file, byte for byte."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sepnet.codecs import find
from sepnet.core.packed_model import PackedModel
from sepnet.core.patterns import PatternReport, patterns
from sepnet.packing.restore import coded_tensors

__all__ = ["FileReport", "TensorReport", "info"]


@dataclass(frozen=True)
class TensorReport:
    """One tensor of the file.

    Attributes:
        name, shape: as in the state dict.
        scheme: the chain of schemes, "prune + linear".
        bits: of a code as its scheme makes it, which the codec may store in fewer; see docs/numbers.md.
        params: numbers in the tensor; `kept` of them are not zero once restored.
        codec: its name, and the parameters it chose in brackets.
        bytes: stored bytes, checksum included; `side_bytes` of them are scales and shared values.
        patterns: of a layer whose k x k kernels are signs.
    """

    name: str
    shape: tuple[int, ...]
    scheme: str
    bits: int
    params: int
    kept: int
    codec: str
    bytes: int
    side_bytes: int
    patterns: PatternReport | None = None


@dataclass(frozen=True)
class FileReport:
    """The ledger of a packed file: `fixed_bytes + header_bytes + graph_bytes + sum of the tensors` is `bytes`.

    `params` counts the learnable numbers of the original network, `ratio` is 4 * params / bytes.
    """

    network: str
    bytes: int
    params: int
    kept: int
    ratio: float
    fixed_bytes: int
    header_bytes: int
    graph_bytes: int
    tensors: tuple[TensorReport, ...]
    made: dict[str, Any]


def info(model: PackedModel) -> FileReport:
    """Decode every tensor and account for every byte.  Raises `FormatError` naming a damaged tensor."""
    rows = []
    for entry, payload, tensor in zip(model.header.tensors, model.payloads, coded_tensors(model), strict=True):
        detail = find(entry.codec).describe(payload[entry.bytes[0] :])
        rows.append(
            TensorReport(
                entry.name,
                entry.shape,
                " + ".join(entry.schemes),
                tensor.bits,
                entry.elements,
                tensor.kept,
                f"{entry.codec} ({detail})" if detail else entry.codec,
                len(payload) + 4,
                entry.bytes[0],
                patterns(tensor, entry.bytes[1]),
            )
        )
    tensors_bytes = sum(row.bytes for row in rows)
    return FileReport(
        network=model.header.network,
        bytes=model.bytes,
        params=model.header.params,
        kept=sum(row.kept for row in rows),
        ratio=model.ratio,
        fixed_bytes=model.bytes - model.header_bytes - model.graph_bytes - tensors_bytes,
        header_bytes=model.header_bytes,
        graph_bytes=model.graph_bytes,
        tensors=tuple(rows),
        made=model.header.made,
    )
