"""What the rounding of single tensors does to the outputs of a network: one of them rounded, all others as they were."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.output_row import OutputRow
from sepnet.core.progress import Progress, Tick, silent
from sepnet.graphs.wire import with_weights
from sepnet.packing.onnx_source import OnnxSource
from sepnet.quantizing.linear import code_kept
from sepnet.runtimes.session import Session
from sepnet.runtimes.side_by_side import Trial

__all__ = ["Rounded", "effects"]

Floats = npt.NDArray[np.float32]


class Rounded:
    """A float network in which any tensors may be rounded.

    Args:
        source: the network.
        coded: what tensors are rounded to.
    """

    def __init__(self, source: OnnxSource, coded: Sequence[CodedTensor]) -> None:
        self._graph = source.graph.data
        self.floats = {name: array for name, array in source.state.items() if name in source.graph.used}
        self.coded = {tensor.name: tensor for tensor in coded if tensor.name in self.floats}

    def session(self, names: Collection[str]) -> Session:
        """The network with these tensors rounded, the others as they were."""
        return self._with({name: np.asarray(self.coded[name].restore(), np.float32) for name in names})

    def in_sixteen_bits(self) -> Session:
        """The network with all tensors in binary16."""
        halves = {name: code_kept(name, array) for name, array in self.floats.items()}
        return self._with({name: np.asarray(half.restore(), np.float32) for name, half in halves.items()})

    def _with(self, changed: Mapping[str, Floats]) -> Session:
        return Session(with_weights(self._graph, {**self.floats, **changed}), exact=True)


def effects(
    rounded: Rounded,
    layers: Mapping[str, Collection[str]],
    trial: Trial,
    *,
    progress: Progress = silent,
    seconds: float | None = None,
    patience: float | None = None,
) -> dict[str, tuple[OutputRow, ...]]:
    """A row an output for each layer, all its tensors rounded; a run for each.

    Args:
        rounded: the network.
        layers: names of tensors, by what to call them.
        trial: inputs, and what the float network gives for them.
        progress: callback.
        seconds: after so many no other layer is begun; those left out are not in the result.
        patience: nothing is in the result if all layers take more seconds than this, as those so far let expect.
    """
    start = time.monotonic()
    found: dict[str, tuple[OutputRow, ...]] = {}
    for at, (name, tensors) in enumerate(layers.items()):
        spent = time.monotonic() - start
        if seconds is not None and spent > seconds:
            break
        if patience is not None and at and spent * len(layers) / at > patience:
            return {}
        progress(Tick("round layers one by one", at, len(layers)))
        found[name] = trial.rows(rounded.session(tensors))
    return found
