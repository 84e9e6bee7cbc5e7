"""Exporters: a packed model in somebody else's format.  One line a variant."""

from sepnet.core.exporter import Exporter
from sepnet.core.registry import Shelf

__all__ = ["EXPORTERS"]

EXPORTERS: Shelf[type[Exporter]] = Shelf(
    "format",
    {
        "onnx": "sepnet.exporters.onnx.export:Onnx",
        "safetensors": "sepnet.exporters.safetensors:Safetensors",
    },
)
