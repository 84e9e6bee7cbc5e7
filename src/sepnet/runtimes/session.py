"""A graph in ONNX Runtime: any inputs, any outputs, and one example at a time where the graph is fixed to one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from sepnet.core.errors import DataError, NetworkError, brief
from sepnet.core.ports import Port

__all__ = ["Session"]

Array = npt.NDArray[Any]
_SILENT = 4
_NAMES = {"float": "float32", "double": "float64"}


class Session:
    """A serialized ONNX model, or the path of one, on the CPU.

    Args:
        source: the model with its weights.
        threads: None leaves the choice to the runtime.
        optimized: whether ONNX Runtime may fuse nodes.

    Attributes:
        inputs, outputs: what it takes and gives.

    Raises `NetworkError` when ONNX Runtime does not take it.
    """

    def __init__(
        self, source: bytes | str | os.PathLike[str], *, threads: int | None = None, optimized: bool = True
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _SILENT
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if threads is not None:
            options.intra_op_num_threads = threads
        try:
            self._session = onnxruntime.InferenceSession(
                source if isinstance(source, bytes) else os.fspath(source),
                options,
                providers=["CPUExecutionProvider"],
                enable_fallback=0,
            )
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            raise NetworkError(f"ONNX Runtime refuses the network: {brief(error)}") from error
        self.inputs = tuple(map(_port, self._session.get_inputs()))
        self.outputs = tuple(map(_port, self._session.get_outputs()))

    def run(self, feed: Mapping[str, Array], names: Sequence[str] | None = None) -> dict[str, Array]:
        """The outputs of these names, all by default; after the first name there may be those of inner values.

        Where inputs fixed to one example are given several, these are run one after the other, and the others passed whole
        each time.

        Raises:
            DataError: arrays whose shapes do not fit, or whose examples cannot be put together again.
            NetworkError: ONNX Runtime fails on arrays that fit.
        """
        wanted = [port.name for port in self.outputs] if names is None else list(names)
        several = self._several(feed)
        if not several:
            return dict(zip(wanted, self._once(feed, wanted), strict=True))
        rows = []
        for at in range(len(feed[several[0]])):
            one = {name: array[at : at + 1] if name in several else array for name, array in feed.items()}
            rows.append(self._once(one, wanted))
        for name, part in zip(wanted if names is None else wanted[:1], rows[0], strict=False):
            if part.shape[:1] != (1,):
                raise DataError(
                    f"the network is fixed to one example, and its output {name} of shape {list(part.shape)} is not of one; expected one example at a time"
                )
        columns = zip(wanted, zip(*rows, strict=True), strict=True)
        return {name: np.concatenate([np.atleast_1d(part) for part in parts]) for name, parts in columns}

    def _several(self, feed: Mapping[str, Array]) -> list[str]:
        """Names of inputs that are fixed to one example and were given more."""
        found = {}
        for port in self.inputs:
            shape = feed[port.name].shape
            if port.fits(shape):
                continue
            if not port.of_one_example or not shape or not shape[0] or not port.fits((1, *shape[1:])):
                where = "" if len(self.inputs) == 1 else f" for {port.name}"
                raise DataError(
                    f"the network cannot run on input of shape {list(shape)}{where}; expected {_expected(port)}"
                )
            found[port.name] = shape[0]
        if len(set(found.values())) > 1:
            counts = ", ".join(f"{count} of {name}" for name, count in found.items())
            raise DataError(f"found {counts}; expected as many examples of each input")
        return list(found)

    def _once(self, feed: Mapping[str, Array], wanted: Sequence[str]) -> list[Array]:
        try:
            return [np.asarray(value) for value in self._session.run(list(wanted), dict(feed))]
        except Exception as error:  # onnxruntime's exceptions share no base but Exception
            shapes = ", ".join(str(list(array.shape)) for array in feed.values())
            raise NetworkError(
                f"ONNX Runtime cannot run the network on input of shape {shapes}: {brief(error)}"
            ) from error


def _expected(port: Port) -> list[int | str]:
    sides = ["?" if side is None else side for side in port.shape or ()]
    return ["n", *sides[1:]] if sides and (port.of_one_example or sides[0] == "?") else sides


def _port(value: Any) -> Port:
    kind = str(value.type).removeprefix("tensor(").removesuffix(")")
    shape = tuple(side if isinstance(side, str) or (side or 0) > 0 else None for side in value.shape)
    return Port(value.name, shape or None, _NAMES.get(kind, kind))  # a scalar looks like one of unknown shape
