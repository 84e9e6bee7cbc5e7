"""Exporters: a packed model in somebody else's format.  One line a variant."""

from sepnet.core.exporter import Exporter
from sepnet.core.registry import Shelf

__all__ = ["EXPORTERS"]

EXPORTERS: Shelf[type[Exporter]] = Shelf(
    "format",
    {
        "c99": "sepnet.exporters.c99:C99",
        "executorch": "sepnet.exporters.executorch:ExecuTorch",
        "onnx": "sepnet.exporters.onnx.export:Onnx",
        "safetensors": "sepnet.exporters.safetensors:Safetensors",
        "tflite": "sepnet.exporters.tflite:Tflite",
    },
)
