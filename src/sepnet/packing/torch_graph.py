"""The graph of a packed file as a torch function, without the network's class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import onnx
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from sepnet.core.errors import FormatError
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.nodes import settings
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.packing.restore import onnx_model
from sepnet.packing.torch_operators import OPERATORS, Operator, Options

__all__ = ["TorchGraph", "check_operators"]


class _Step(NamedTuple):
    operator: str
    function: Operator
    options: Options
    inputs: tuple[str, ...]
    output: str


class TorchGraph:
    """Calls a torch function for each node of the graph.

    Raises `FormatError`, see `check_operators`.
    """

    def __init__(self, model: PackedModel) -> None:
        graph = onnx.load_from_string(onnx_model(model)).graph
        check_operators(model)
        self._constants: dict[str, Any] = {
            tensor.name: torch.tensor(onnx.numpy_helper.to_array(tensor)) for tensor in graph.initializer
        }
        self._constants[""] = None
        self._steps = [
            _Step(node.op_type, OPERATORS[node.op_type], _options(node), tuple(node.input), node.output[0])
            for node in graph.node
        ]
        self._input, self._output = graph.input[0].name, graph.output[0].name

    def __call__(self, batch: torch.Tensor) -> torch.Tensor:
        values = {**self._constants, self._input: batch}
        for step in self._steps:
            values[step.output] = step.function(step.options, *(values[name] for name in step.inputs))
        output: torch.Tensor = values[self._output]
        return output

    def traced(self, shape: Sequence[int]) -> torch.fx.GraphModule:
        """The same for a batch of that shape, of ATen operators alone: what follows from shape and constants is a constant."""
        example = torch.zeros(*shape)
        module = make_fx(self._fixed(example), pre_dispatch=True)(example)
        module.graph.eliminate_dead_code()
        return torch.fx.GraphModule(module, module.graph).eval()  # with the constants that are still read

    def _fixed(self, example: torch.Tensor) -> TorchGraph:
        fixed = object.__new__(TorchGraph)
        fixed._constants, fixed._steps = dict(self._constants), []
        fixed._input, fixed._output = self._input, self._output
        values = {**self._constants, self._input: example}
        for step in self._steps:
            values[step.output] = step.function(step.options, *(values[name] for name in step.inputs))
            if step.operator == "Shape" or fixed._constants.keys() >= set(step.inputs):
                fixed._constants[step.output] = values[step.output]
            else:
                fixed._steps.append(step)
        return fixed


def check_operators(model: PackedModel) -> None:
    """Raise `FormatError` naming the first operator of the graph that has no torch function, and where it is."""
    weights, layer = {entry.name for entry in model.header.tensors} | model.header.aliases.keys(), ""
    for node in OnnxGraph.decode(model.graph).nodes if model.graph else ():
        if node.op not in OPERATORS:
            where = f" after layer {layer!r}" if layer else ""
            raise FormatError(
                f"operator {node.op} (value {', '.join(node.outputs)!r}{where}) has no torch function here; expected one of "
                + ", ".join(OPERATORS)
            )
        layer = next((name for name in node.inputs if name in weights), layer)


def _options(node: onnx.NodeProto) -> Options:
    options = settings(node)
    if isinstance(options.get("value"), onnx.TensorProto):
        options["value"] = torch.tensor(onnx.numpy_helper.to_array(options["value"]))
    return options
