"""Exporters: a packed model in somebody else's format.  One line a variant."""

from collections.abc import Callable
from pathlib import Path

from sepnet.core.packed_model import PackedModel
from sepnet.core.registry import Shelf

__all__ = ["EXPORTERS"]

EXPORTERS: Shelf[Callable[[PackedModel, Path], None]] = Shelf(
    "exporter", {"safetensors": "sepnet.exporters.safetensors:export"}
)
