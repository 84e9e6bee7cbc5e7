"""unpack: a packed model to a state dict that the user's own class loads."""

from __future__ import annotations

from pathlib import Path

from sepnet.core.packed_model import PackedModel
from sepnet.exporters.safetensors import Safetensors

__all__ = ["unpack"]


def unpack(model: PackedModel, path: Path) -> None:
    """Write `path` as safetensors, float32, strict keys, same outputs."""
    Safetensors().export(model, path)
