"""A torch network to an ONNX graph without its weights, batch normalization folded where it can be."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import MissingExtraError, NetworkError
from sepnet.packing.fold import drop_defaults, find_norms, fold, graphs, reads, rename, simplify
from sepnet.packing.graph import ExportedGraph

__all__ = ["export_graph"]

OPSET = 18


def export_graph(model: nn.Module, input_shape: Sequence[int]) -> ExportedGraph:
    """Trace `model` (a copy, in evaluation mode) on a batch of two examples of `input_shape`; the batch size stays free.

    Raises `NetworkError` with the exporter's reason when `torch.onnx.export` does not take the network.
    """
    try:
        import onnxscript.optimizer  # noqa: F401 (torch's exporter needs it too)
    except ImportError as error:
        raise MissingExtraError("packing a torch network", "onnxscript", "torch") from error
    still = copy.deepcopy(model).eval().cpu()
    proto = _export(_Whole(still).eval(), tuple(input_shape))
    state = still.state_dict(keep_vars=True)
    names, tied = set(state), _tied(state)
    _call(proto.graph, {f"whole.{name}": tied.get(name, name) for name in state})
    _lift_weights(proto, names)
    proto = _optimize(proto)
    _check_standard(proto)
    simplify(proto)
    norms = tuple(fold(proto, norm) for norm in find_norms(proto, names))
    simplify(proto)
    drop_defaults(proto)
    used = _finish(proto, names)
    return ExportedGraph(proto.SerializeToString(), used, norms, tied)


class _Whole(nn.Module):
    """The network as a part, so that each name in its state dict has a dot in it, as no value of the graph has."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.whole = model

    def forward(self, x: torch.Tensor) -> Any:
        return self.whole(x)


def _tied(state: Mapping[str, torch.Tensor]) -> dict[str, str]:
    """Second name -> first name of entries that are one tensor."""
    first: dict[int, str] = {}
    return {name: old for name, tensor in state.items() if (old := first.setdefault(id(tensor), name)) != name}


def _export(model: nn.Module, shape: tuple[int, ...]) -> Any:
    example = torch.zeros(2, *shape)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (example,),
                dynamo=True,
                optimize=False,
                verbose=False,
                opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            )
    except Exception as error:  # the exporter raises many kinds of its own
        reason = " ".join(str(error.__cause__ or error).split())[:400]
        if "data-dependent" in reason.lower():
            raise NetworkError(
                f"the network's forward takes a decision by the values of its input (an if, a while, an .item()), which a graph cannot hold; expected tensor operations such as torch.where: {reason}"
            ) from error
        raise NetworkError(
            f"torch.onnx.export does not take this network with input shape {list(shape)}: {type(error).__name__}: {reason}"
        ) from error
    assert program is not None
    return program.model_proto


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter prints and warns a lot; what matters arrives as an exception."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _lift_weights(proto: Any, names: set[str]) -> None:
    """Turn the weights into graph inputs, so that no optimization can look at their values.

    A packed file gives a graph float32 and int64; what the network has in another type is cast to it where it is used.
    """
    import onnx

    weights = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.name in names}
    rest = [tensor for tensor in proto.graph.initializer if tensor.name not in names]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(rest)
    for name, tensor in weights.items():
        floats = (onnx.TensorProto.DOUBLE, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
        given = (
            onnx.TensorProto.FLOAT if tensor.data_type in (*floats, onnx.TensorProto.FLOAT) else onnx.TensorProto.INT64
        )
        if tensor.data_type != given:
            rename(proto.graph, {name: f"{name}:cast"})
            cast = onnx.helper.make_node("Cast", [name], [f"{name}:cast"], to=tensor.data_type)
            proto.graph.node.insert(0, cast)
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, given, list(tensor.dims)))


def _check_standard(proto: Any) -> None:
    """Raise `NetworkError` for operators that only one runtime knows."""
    nodes = [node for graph in graphs(proto.graph) for node in graph.node]
    strange = {f"{node.domain}.{node.op_type}" for node in nodes if node.domain not in ("", "ai.onnx")}
    if strange:
        raise NetworkError(f"the network needs operators that are not standard ONNX: {', '.join(sorted(strange))}")


def _optimize(proto: Any) -> Any:
    import onnxscript.optimizer

    with _quiet():
        return onnxscript.optimizer.optimize(proto, onnx_shape_inference=True)


def _finish(proto: Any, names: set[str]) -> frozenset[str]:
    """Drop the lifted inputs and everything that only people read; give values short names."""
    inputs = [value for value in proto.graph.input if value.name not in names]
    used = frozenset(names & reads(proto.graph).keys())
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    _call(proto.graph, {name: name for name in names})
    for graph in graphs(proto.graph):
        for field in ("value_info", "metadata_props"):
            del getattr(graph, field)[:]
        for node in graph.node:
            node.name = node.doc_string = ""
            del node.metadata_props[:]
        for value in (*graph.input, *graph.output):
            del value.metadata_props[:]
            for side in value.type.tensor_type.shape.dim:
                if side.dim_param:
                    side.dim_param = "n"
        graph.name, graph.doc_string = "n", ""
    proto.doc_string = proto.producer_name = proto.producer_version = ""
    del proto.metadata_props[:]
    return used


def _call(graph: Any, weights: Mapping[str, str]) -> None:
    """Give the weights the names they shall have, and all other values short ones."""
    short, taken = dict(weights), set(weights.values())

    def call(name: str, word: str) -> None:
        while word in taken:
            word += "_"
        short.setdefault(name, word)

    for values, word in ((graph.input, "input"), (graph.output, "output")):
        for at, value in enumerate(value for value in values if value.name not in weights):
            call(value.name, f"{word}{at or ''}")
    for part in graphs(graph):
        for value in (*part.input, *part.initializer):
            call(value.name, f"k{len(short) - len(weights)}")
        for node in part.node:
            for name in filter(None, node.output):
                call(name, f"v{len(short) - len(weights)}")
    rename(graph, short)
