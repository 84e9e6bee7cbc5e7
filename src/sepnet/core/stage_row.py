"""The stage row noun: one line of the table that `compress` prints."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["StageRow"]


@dataclass(frozen=True)
class StageRow:
    """One line of the table: the network as it stands after a stage.

    Attributes:
        stage: "float", "rewritten" where the recipe rewrites, the recipe's stages, "packed".
        kept: fraction of the parameters that are not zero.
        bytes: size of the file that holds this stage (safetensors for "float", a packed file for the others).
        ratio: bytes of the original parameters at float32, over `bytes`.
        top1: on the test split; a fraction.
        ms: median milliseconds for one image at batch size 1 on one thread of ONNX Runtime.
    """

    stage: str
    kept: float
    bytes: int
    ratio: float
    top1: float
    ms: float
