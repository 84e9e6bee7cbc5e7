"""An `.onnx` file as packing wants it: a graph without its weights, batch normalization folded, and the weights by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.errors import NetworkError, SepnetError, WeightsError
from sepnet.core.pack_report import KeptRow, PassRow
from sepnet.core.ports import Port
from sepnet.core.spec import describe
from sepnet.graphs.ports import port_of
from sepnet.networks.onnx_proto import load_proto
from sepnet.packing.graph import ExportedGraph
from sepnet.packing.passes.checks import check_ends, check_floats, check_standard
from sepnet.packing.passes.constants import lift_constants
from sepnet.packing.passes.defaults import drop_defaults
from sepnet.packing.passes.dequantize import dequantize
from sepnet.packing.passes.draft import Draft, Pass, State, apply
from sepnet.packing.passes.names import shorten
from sepnet.packing.passes.norms import fold_norms, fold_numbers, name_norms
from sepnet.packing.passes.order import sort_nodes
from sepnet.packing.passes.simplify import simplify
from sepnet.packing.passes.turn import turn_weights
from sepnet.packing.passes.weights import lift_weights, take_weights

__all__ = ["PASSES", "OnnxSource", "read_onnx"]

PASSES: tuple[Pass, ...] = (
    ("check inputs and outputs", check_ends),
    ("check for floats", check_floats),
    ("check operators", check_standard),
    ("sort nodes", sort_nodes),
    ("lift constants", lift_constants),
    ("dequantize constants", dequantize),
    ("name norms", name_norms),
    ("simplify", simplify),
    ("turn weights", turn_weights),
    ("take weights", take_weights),
    ("lift weights", lift_weights),
    ("fold norms", fold_norms),
    ("simplify", simplify),
    ("drop defaults", drop_defaults),
    ("shorten names", shorten),
    ("fold numbers", fold_numbers),
)
"""From the graph of an `.onnx` file to that of a packed file, in this order."""


@dataclass(frozen=True)
class OnnxSource:
    """A float network that came as an `.onnx` file.

    Attributes:
        graph: without the weights; what could be folded is folded.
        state: the weights as the graph computes with them, float32, filters first.
        weights: names of the tensors that layers multiply with; the rest are biases and other numbers.
        biases: names of what layers add.
        inputs: what goes in.
        params: learnable numbers.
        coded: of `weights`, those that came as integers, as a packed file holds them.
        kept: tensors that are neither weights nor biases of layers, by the reason why they stay as they are.
        passes: what each pass changed, in order.
    """

    graph: ExportedGraph
    state: State
    weights: frozenset[str]
    biases: frozenset[str]
    inputs: tuple[Port, ...]
    params: int
    kept: tuple[KeptRow, ...] = ()
    passes: tuple[PassRow, ...] = ()
    coded: Mapping[str, CodedTensor] = field(default_factory=dict)

    @property
    def graph_input(self) -> str:
        """Name of the first value that goes in."""
        return self.inputs[0].name

    @property
    def takes_images(self) -> bool:
        """Whether it takes one input of floats, so that images may be it."""
        return [port.of_floats for port in self.inputs] == [True]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Of one example of the one input of floats; () when there are others, or the file leaves sides free."""
        sides = tuple(side for side in (self.inputs[0].shape or ())[1:] if isinstance(side, int))
        return sides if self.takes_images and len(sides) + 1 == len(self.inputs[0].shape or ()) else ()

    @property
    def batch(self) -> int:
        """Examples that the file is fixed to, 0 when that is free."""
        return self.inputs[0].fixed


def read_onnx(path: str | os.PathLike[str]) -> OnnxSource:
    """Read a float network; inputs, outputs and their free sides keep their names.

    Weights of MatMul, and of Gemm where they come inputs first, are turned so that filters come first.

    Raises:
        NetworkError: no ONNX file, operators that are not standard, inputs that are no numbers, or no weights.
        WeightsError: NaN or Inf in the weights.  MissingExtraError: onnx is not installed.
    """
    proto = load_proto(path, "packing")
    try:
        return _source(proto)
    except (NetworkError, WeightsError) as error:
        raise type(error)(f"{path}: {error}") from error
    except SepnetError:
        raise
    except Exception as problem:  # a graph that breaks the rules of ONNX raises almost anything
        raise NetworkError(f"{path} is no graph that follows the rules of ONNX: {describe(problem)}") from problem


def _source(proto: Any) -> OnnxSource:
    draft = Draft(proto)
    rows = apply(draft, PASSES)
    proto.ir_version = max(proto.ir_version, 4)
    inputs = tuple(port_of(value.SerializeToString()) for value in proto.graph.input)
    graph = ExportedGraph(proto.SerializeToString(), draft.used, draft.norms)
    coded = {name: draft.codes[name].coded(name) for name in draft.weights & draft.codes.keys()}
    exact = {name: tensor for name, tensor in coded.items() if tensor is not None}
    return OnnxSource(graph, draft.state, draft.weights, draft.biases, inputs, draft.params, _kept(draft), rows, exact)


def _kept(draft: Draft) -> tuple[KeptRow, ...]:
    gone = draft.names - draft.used
    left = [each for name, each in draft.kept.items() if name not in gone | draft.biases]
    sizes = {why: [size for size, other in left if other == why] for _, why in left}
    return tuple(KeptRow(why, len(each), sum(each)) for why, each in sizes.items())
