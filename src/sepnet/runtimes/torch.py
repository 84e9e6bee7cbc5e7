"""PyTorch in eager mode on the graph of a packed file, without the network's class."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import DataError, MissingExtraError, brief
from sepnet.core.packed_model import PackedModel
from sepnet.core.parts import batch_in_parts
from sepnet.core.runtime import Runtime
from sepnet.graphs.ports import one_float_input

try:
    import torch

    from sepnet.packing.torch_graph import TorchGraph
except ImportError as error:
    raise MissingExtraError("the runtime torch", str(error.name), "torch") from error

__all__ = ["TorchRuntime"]


class TorchRuntime(Runtime):
    """Calls a torch function for each node of the graph.

    `threads` is torch's number of threads of the whole process.  Raises `FormatError` naming the operators that it lacks.
    """

    name: ClassVar[str] = "torch"
    gains: ClassVar[str] = "fewer channels or layers; not by pruned weights, few bits or sign patterns"

    def __init__(self, model: PackedModel, threads: int | None = None) -> None:
        self.inputs, self.outputs = one_float_input(model, self.name)
        self._graph = TorchGraph(model)
        if threads is not None:
            torch.set_num_threads(threads)

    def first(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return batch_in_parts(self._once, batch, self.inputs[0].fixed)

    def _once(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        try:
            outputs = self._graph(torch.from_numpy(np.ascontiguousarray(batch, np.float32)))
        except (RuntimeError, IndexError, ValueError, TypeError) as error:
            reason = brief(error)
            raise DataError(f"the network cannot run on input of shape {list(batch.shape)}: {reason}") from error
        return np.asarray(outputs, np.float32)
