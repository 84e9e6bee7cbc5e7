"""A graph in ONNX Runtime whose inner values can be looked at."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.errors import NetworkError
from sepnet.core.ports import described, fitted
from sepnet.graphs.wire import with_outputs
from sepnet.runtimes.session import Session

__all__ = ["Probe"]

Array = npt.NDArray[np.float32]


class Probe:
    """A serialized ONNX model, or the path of one.

    Args:
        model: the model with its weights.
        values: names of inner values that are wanted besides the first output; only of a serialized model.
        threads: None leaves the choice to the runtime.
        floats_only: leave out those of `values` that are not float32; `values` tells which are left.
        optimized: False computes node by node, pairs of QuantizeLinear and DequantizeLinear in floats, so that the numbers
            do not depend on the integer kernels of the processor.

    Raises `NetworkError` when ONNX Runtime does not take it.
    """

    def __init__(
        self,
        model: bytes | str | os.PathLike[str],
        values: Sequence[str] = (),
        *,
        threads: int | None = None,
        floats_only: bool = False,
        optimized: bool = True,
    ) -> None:
        source = with_outputs(model, values) if isinstance(model, bytes) else os.fspath(model)
        self.session = Session(source, threads=threads, optimized=optimized)
        outputs = self.session.outputs
        floats = {port.name for port in outputs if port.type == "float32"}
        self.values = tuple(name for name in values if name in floats or not floats_only)
        inner = set(values)
        self._outputs = [port.name for port in outputs if port.name not in inner]

    def run(self, batch: Array) -> list[Array]:
        """The first output, and the values that were asked for, in that order; of a network of one input of floats.

        Raises `NetworkError` where the network takes something else.
        """
        if [port.of_floats for port in self.session.inputs] != [True]:
            raise NetworkError(
                f"the network takes {described(self.session.inputs)}; expected one input of floats to run it on images"
            )
        found = self.session.run(fitted(batch, self.session.inputs), [*self._outputs[:1], *self.values])
        return [np.asarray(value, np.float32) for value in found.values()]

    def answers(self, feed: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """All outputs and the values that were asked for, by their names, for an array for each input."""
        return self.session.run(fitted(feed, self.session.inputs), [*self._outputs, *self.values])
