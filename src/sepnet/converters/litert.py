"""Packed file to .tflite, by litert-torch; int8 by its quantizer, ai-edge-quantizer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.converters.program import quiet, trace
from sepnet.core.errors import MissingExtraError, NetworkError
from sepnet.core.packed_model import PackedModel

__all__ = ["quantized", "require", "tflite"]


def require(what: str) -> None:
    """Raise `MissingExtraError` in the name of `what` unless the converter is there."""
    try:
        with quiet():
            import litert_torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(what, str(error.name), "litert") from error


def tflite(model: PackedModel) -> bytes:
    """A .tflite file with float32 weights inside, for one example (or as many as the graph is fixed to), layout as packed.

    Raises `FormatError` and `NetworkError`, see `sepnet.converters.program.trace`; `NetworkError` when the converter refuses.
    """
    import litert_torch

    program = trace(model)
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "made.tflite"
            litert_torch.convert(program.module, program.example).export(str(path))
            return path.read_bytes()
    except Exception as error:  # the converter raises almost anything
        raise NetworkError(f"litert-torch refuses the network: {' '.join(str(error).split())[:300]}") from error


def quantized(made: bytes, batches: Iterable[npt.NDArray[np.float32]]) -> bytes:
    """The file with int8 weights, a scale a filter, and int8 activations that span what the batches show; float32 in and out."""
    from ai_edge_quantizer import algorithm_manager, qtyping, quantizer, recipe

    def examples() -> Iterable[dict[str, Any]]:
        return ({"args_0": image[None]} for batch in batches for image in batch)

    try:
        with quiet():
            job = quantizer.Quantizer(bytearray(made), recipe.static_wi8_ai8())
            for end in (qtyping.TFLOperationName.INPUT, qtyping.TFLOperationName.OUTPUT):
                job.update_quantization_recipe(".*", end, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE)
            result = job.quantize(job.calibrate({"serving_default": examples()}, num_threads=1))
    except Exception as error:  # the same
        raise NetworkError(f"ai-edge-quantizer refuses the network: {' '.join(str(error).split())[:300]}") from error
    return bytes(result.quantized_model)
