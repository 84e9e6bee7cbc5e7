"""A packed file as a torch program for a fixed batch, as converters take it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module

import numpy as np
import torch

from sepnet.converters.quiet import quiet
from sepnet.core.errors import MissingExtraError, NetworkError, brief
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.packing.torch_graph import TorchGraph, check_operators

__all__ = ["Program", "require_converter", "trace"]

TOLERANCE = 1e-3
"""Of the largest output: far above the rounding of sums, below what another batch does to statistics over it."""


@dataclass(frozen=True)
class Program:
    """`module` takes float32 of `shape`, whose first number is the batch, and is of ATen operators alone."""

    module: torch.fx.GraphModule
    shape: tuple[int, ...]

    @property
    def example(self) -> tuple[torch.Tensor]:
        """What converters trace it with."""
        return (torch.zeros(self.shape),)


def require_converter(what: str, model: PackedModel, module: str, extra: str) -> None:
    """Raise `MissingExtraError` in the name of `what` unless the converter is there; before that, as importing it takes
    long, `FormatError` for operators that have no torch function.
    """
    check_operators(model)
    try:
        with quiet():
            import_module(module)
    except ImportError as error:
        raise MissingExtraError(what, str(error.name), extra) from error


def trace(model: PackedModel) -> Program:
    """For a batch of one example, or of as many as the graph is fixed to.

    Raises:
        FormatError: no graph, or one with operators that have no torch function.
        NetworkError: no known input shape, what depends on its values, or outputs that depend on what else is in a batch.
    """
    graph, wanted = OnnxGraph.decode(model.graph), model.header.input
    sides = tuple(wanted.shape) if wanted else graph.input_shape[1:]
    batch = graph.batch
    if not sides or not all(sides):
        raise NetworkError(
            f"the file does not say what shape its input has (found {[*sides]}); a converter must know it"
        )
    function, shape = TorchGraph(model), (batch or 1, *(int(side or 0) for side in sides))
    try:
        if not batch:
            _check_alone(function, shape)
        return Program(function.traced(shape), shape)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        reason = brief(error)
        raise NetworkError(f"the graph cannot be traced in torch for input of shape {[*shape]}: {reason}") from error


def _check_alone(function: TorchGraph, shape: tuple[int, ...]) -> None:
    random = np.random.default_rng(0)
    two = torch.from_numpy(random.standard_normal((2, *shape[1:])).astype(np.float32))
    together, alone = function(two), torch.cat([function(two[:1]), function(two[1:])])
    if together.shape != alone.shape or (together - alone).abs().max() > TOLERANCE * together.abs().max():
        raise NetworkError(
            "the outputs of an example depend on the others of its batch (batch normalization without running statistics does "
            "that); a file for one example at a time cannot compute them"
        )
