"""Runtimes: what runs a packed model.  One line a variant."""

from sepnet.core.registry import Shelf
from sepnet.core.runtime import Runtime

__all__ = ["REFERENCE", "RUNTIMES"]

RUNTIMES: Shelf[type[Runtime]] = Shelf(
    "runtime",
    {
        "onnxruntime": "sepnet.runtimes.onnxruntime:OnnxRuntime",
        "torch": "sepnet.runtimes.torch:TorchRuntime",
        "openvino": "sepnet.runtimes.openvino:OpenVino",
        "litert": "sepnet.runtimes.litert:LiteRt",
        "integer": "sepnet.runtimes.integer:Integer",
        "c99": "sepnet.runtimes.c99:C99Runtime",
    },
)

REFERENCE = "onnxruntime"
"""The default; what it computes is what a packed file means."""
