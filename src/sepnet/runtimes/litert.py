"""LiteRT, formerly TensorFlow Lite, on the CPU by XNNPACK, in float32."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from sepnet.converters.quiet import quiet
from sepnet.core.errors import DataError, FormatError, MissingExtraError, NetworkError, brief
from sepnet.core.packed_model import PackedModel
from sepnet.core.parts import batch_in_parts
from sepnet.core.runtime import Run, Runtime
from sepnet.graphs.ports import one_float_input

__all__ = ["LiteRt", "TfliteFile"]


class TfliteFile:
    """The bytes of a .tflite file with one float32 input and output, ready to run.

    Raises `NetworkError` when LiteRT does not take them, `MissingExtraError` without the package ai-edge-litert.
    """

    def __init__(self, data: bytes, threads: int | None = None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise MissingExtraError("running a .tflite file", "ai-edge-litert", "litert") from error
        try:
            with quiet():
                self._interpreter = Interpreter(model_content=data, num_threads=threads)
                self._interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise NetworkError(f"LiteRT refuses the file: {brief(error)}") from error
        (self._input,) = self._interpreter.get_input_details()
        (self._output, *_) = self._interpreter.get_output_details()

    @property
    def shape(self) -> tuple[int, ...]:
        """What it takes at once."""
        return tuple(int(side) for side in self._input["shape"])

    def run(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Outputs of any number of examples."""
        if batch.shape[1:] != self.shape[1:] or not len(batch):
            raise DataError(
                f"the network cannot run on input of shape {list(batch.shape)}; expected {['n', *self.shape[1:]]}"
            )
        return batch_in_parts(self._once, np.ascontiguousarray(batch, np.float32), self.shape[0])

    def _once(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        self._interpreter.set_tensor(self._input["index"], batch)
        self._interpreter.invoke()
        return np.array(self._interpreter.get_tensor(self._output["index"]), np.float32)


class LiteRt(Runtime):
    """Converts the packed file first, by litert-torch, as `sepnet export --to tflite` does: that takes seconds and torch.

    Images of a batch are run one after the other.
    """

    name: ClassVar[str] = "litert"
    takes: ClassVar[str] = ".tflite"
    gains: ClassVar[str] = (
        "fewer channels or layers, and int8 (export --to tflite); not by pruned weights, few bits or sign patterns"
    )

    def __init__(self, model: PackedModel, threads: int | None = None) -> None:
        self.inputs, self.outputs = one_float_input(model, self.name)
        try:
            from sepnet.converters.litert import convert, require
        except ImportError as error:
            raise MissingExtraError("the runtime litert", str(error.name), "litert") from error
        require("the runtime litert", model)
        try:
            self._file = TfliteFile(convert(model), threads)
        except NetworkError as error:
            raise FormatError(f"the runtime litert cannot be made: {error}") from error

    @classmethod
    def of_file(cls, path: Path, threads: int | None = None) -> Run:
        return TfliteFile(path.read_bytes(), threads).run

    def first(self, batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        return self._file.run(batch)
