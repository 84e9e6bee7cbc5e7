"""Packed file to .pte, by ExecuTorch's exporter for XNNPACK; int8 by its quantizer and torchao."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import torch

from sepnet.converters.program import Program, require_converter, trace
from sepnet.converters.quiet import quiet
from sepnet.core.errors import NetworkError, brief
from sepnet.core.packed_model import PackedModel
from sepnet.core.parts import batch_in_parts

__all__ = ["PteFile", "convert", "require"]

Floats = npt.NDArray[np.float32]


def require(what: str, model: PackedModel) -> None:
    """See `sepnet.converters.program.require_converter`."""
    require_converter(what, model, "executorch.exir", "executorch")


def convert(model: PackedModel, batches: Iterable[Floats] | None = None) -> bytes:
    """A .pte file with the weights inside, for one example (or as many as the graph is fixed to), layout as packed.

    Args:
        model: the packed file.
        batches: None gives float32 weights; images give int8 weights, a scale a filter, and int8 activations that span what
            they show.  It takes and gives float32.

    Raises `FormatError` and `NetworkError`, see `sepnet.converters.program.trace`; `NetworkError` when the converter refuses.
    """
    program = trace(model)
    try:
        with quiet():
            return _converted(program, batches)
    except Exception as error:  # the converter raises almost anything
        raise NetworkError(f"ExecuTorch refuses the network: {brief(error)}") from error


def _converted(program: Program, batches: Iterable[Floats] | None) -> bytes:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.exir import to_edge_transform_and_lower

    exported = torch.export.export(program.module, program.example)
    if batches is not None:
        exported = torch.export.export(_quantized(exported.module(), program, batches), program.example)
    lowered = to_edge_transform_and_lower(exported, partitioner=[XnnpackPartitioner()])
    return bytes(lowered.to_executorch().buffer)


def _quantized(module: torch.nn.Module, program: Program, batches: Iterable[Floats]) -> torch.nn.Module:
    from executorch.backends.xnnpack.quantizer import xnnpack_quantizer
    from torchao.quantization.pt2e import quantize_pt2e

    config = xnnpack_quantizer.get_symmetric_quantization_config(is_per_channel=True)
    watching = quantize_pt2e.prepare_pt2e(module, xnnpack_quantizer.XNNPACKQuantizer().set_global(config))
    with torch.no_grad():
        for batch in batches:
            for part in torch.split(torch.from_numpy(batch), program.shape[0]):
                watching(part)
    made: torch.nn.Module = quantize_pt2e.convert_pt2e(watching)
    return made


class PteFile:
    """The bytes of a .pte file for `size` examples at once, ready to run.  `NetworkError` when ExecuTorch does not take them."""

    def __init__(self, data: bytes, size: int = 1) -> None:
        from executorch.runtime import Runtime

        self._size = size
        try:
            with quiet():
                self._program = Runtime.get().load_program(data)  # a method does not keep its program alive
                self._method = self._program.load_method("forward")
        except RuntimeError as error:
            raise NetworkError(f"ExecuTorch refuses the file: {brief(error)}") from error

    def run(self, batch: Floats) -> Floats:
        """Outputs of any number of examples.  `NetworkError` when no kernel takes an operator."""
        try:
            return batch_in_parts(self._once, np.ascontiguousarray(batch, np.float32), self._size)
        except RuntimeError as error:
            reason = brief(error)
            raise NetworkError(
                f"ExecuTorch cannot run the file on input of shape {[*batch.shape]}: {reason}"
            ) from error

    def _once(self, batch: Floats) -> Floats:
        found: Floats = self._method.execute((torch.from_numpy(batch),))[0].numpy()
        return found
