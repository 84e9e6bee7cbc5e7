"""A graph in ONNX Runtime: any inputs, any outputs, and any number of examples where the graph is fixed to some."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from sepnet.core.errors import DataError, NetworkError, brief
from sepnet.core.parts import in_parts
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
        exact: whether pairs of QuantizeLinear and DequantizeLinear are computed as they stand, not in integer kernels,
            whose sums saturate on some processors.

    Attributes:
        inputs, outputs: what it takes and gives.

    Raises `NetworkError` when ONNX Runtime does not take it.
    """

    def __init__(
        self,
        source: bytes | str | os.PathLike[str],
        *,
        threads: int | None = None,
        optimized: bool = True,
        exact: bool = False,
    ) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = _SILENT
        if not optimized:
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if exact:
            options.add_session_config_entry("session.disable_quant_qdq", "1")
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

        Where inputs that are fixed to so many examples are given another number, these are run in parts, the last one filled
        up, and the other inputs passed whole each time.

        Raises:
            DataError: arrays whose shapes do not fit, or whose examples cannot be put together again.
            NetworkError: ONNX Runtime fails on arrays that fit.
        """
        wanted = [port.name for port in self.outputs] if names is None else list(names)
        several, size = self._several(feed)
        if not several:
            return dict(zip(wanted, self._once(feed, wanted), strict=True))
        held = wanted if names is None else wanted[:1]

        def run(part: Mapping[str, Array]) -> list[Array]:
            found = self._once(part, wanted)
            for name, value in zip(held, found, strict=False):
                if value.shape[:1] != (size,):
                    many = "one example" if size == 1 else f"{size} examples"
                    raise DataError(
                        f"the network is fixed to {many}, and its output {name} of shape {list(value.shape)} is not of {'one' if size == 1 else size}; expected {many} at a time"
                    )
            return found

        return dict(zip(wanted, in_parts(run, feed, several, size), strict=True))

    def _several(self, feed: Mapping[str, Array]) -> tuple[list[str], int]:
        """Names of inputs that are fixed to so many examples, all to as many, and were given another number."""
        found, sizes = {}, set()
        for port in self.inputs:
            shape = feed[port.name].shape
            if port.fits(shape):
                continue
            if not port.fixed or not shape or not shape[0] or not port.fits((port.fixed, *shape[1:])):
                where = "" if len(self.inputs) == 1 else f" for {port.name}"
                raise DataError(
                    f"the network cannot run on input of shape {list(shape)}{where}; expected {_expected(port)}"
                )
            found[port.name] = shape[0]
            sizes.add(port.fixed)
        if len(set(found.values())) > 1 or len(sizes) > 1:
            counts = ", ".join(f"{count} of {name}" for name, count in found.items())
            raise DataError(f"found {counts}; expected as many examples of each input")
        return list(found), max(sizes, default=0)

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
    return ["n", *sides[1:]] if sides and (port.fixed or sides[0] == "?") else sides


def _port(value: Any) -> Port:
    kind = str(value.type).removeprefix("tensor(").removesuffix(")")
    shape = tuple(side if isinstance(side, str) or (side or 0) > 0 else None for side in value.shape)
    return Port(value.name, shape or None, _NAMES.get(kind, kind))  # a scalar looks like one of unknown shape
