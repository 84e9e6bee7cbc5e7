"""Packed file to .tflite, by litert-torch; int8 by its quantizer, ai-edge-quantizer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sepnet.converters.program import Program, require_converter, trace
from sepnet.converters.quiet import quiet
from sepnet.core.errors import NetworkError, brief
from sepnet.core.packed_model import PackedModel

__all__ = ["convert", "require"]

Floats = npt.NDArray[np.float32]


def require(what: str, model: PackedModel) -> None:
    """See `sepnet.converters.program.require_converter`."""
    require_converter(what, model, "litert_torch", "litert")


def convert(model: PackedModel, batches: Iterable[Floats] | None = None) -> bytes:
    """A .tflite file with the weights inside, for one example (or as many as the graph is fixed to), layout as packed.

    Args:
        model: the packed file.
        batches: None gives float32 weights; images give int8 weights, a scale a filter, and int8 activations that span what
            they show.  It takes and gives float32.

    Raises `FormatError` and `NetworkError`, see `sepnet.converters.program.trace`; `NetworkError` when the converter refuses.
    """
    program = trace(model)
    try:
        with quiet():
            made = _converted(program)
            if batches is None:
                return made
            size = program.shape[0]
            return _quantized(
                made, [{"args_0": batch[at : at + size]} for batch in batches for at in range(0, len(batch), size)]
            )
    except Exception as error:  # the converter raises almost anything
        raise NetworkError(f"litert-torch refuses the network: {brief(error)}") from error


def _converted(program: Program) -> bytes:
    import litert_torch

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.tflite"
        litert_torch.convert(program.module, program.example).export(str(path))
        return path.read_bytes()


def _quantized(made: bytes, given: Sequence[Mapping[str, Floats]]) -> bytes:
    """Ranges are those of all examples; by default the quantizer would take a moving average, which clips much."""
    from ai_edge_quantizer import algorithm_manager, calibrator, qtyping, quantizer, recipe, recipe_manager
    from ai_edge_quantizer.utils import qsv_utils

    rules, ends = recipe_manager.RecipeManager(), qtyping.TFLOperationName
    rules.load_quantization_recipe(recipe.static_wi8_ai8())
    for end in (ends.INPUT, ends.OUTPUT):
        rules.add_quantization_config(".*", end, algorithm_key=algorithm_manager.AlgorithmName.NO_QUANTIZE)
    watching = calibrator.Calibrator(made, num_threads=1, qsv_update_func=qsv_utils.min_max_update)
    watching.calibrate({"serving_default": given}, rules)
    job = quantizer.Quantizer(bytearray(made), rules.get_quantization_recipe())
    return bytes(job.quantize(watching.get_model_qsvs()).quantized_model)
