"""A torch network to an ONNX graph without its weights, batch normalization folded where it can be."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import MissingExtraError, NetworkError
from sepnet.packing.fold import drop_defaults, find_norms, fold, simplify
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
    proto = _export(still, tuple(input_shape))
    state = still.state_dict(keep_vars=True)
    _lift_weights(proto, set(state))
    proto = _optimize(proto)
    simplify(proto)
    norms = find_norms(proto, set(state))
    norms = tuple(fold(proto, norm) for norm in norms)
    simplify(proto)
    drop_defaults(proto)
    used = _finish(proto, set(state))
    return ExportedGraph(proto.SerializeToString(), used, norms)


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
    """Turn the weights into graph inputs, so that no optimization can look at their values."""
    import onnx

    weights = [tensor for tensor in proto.graph.initializer if tensor.name in names]
    rest = [tensor for tensor in proto.graph.initializer if tensor.name not in names]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(rest)
    for tensor in weights:
        proto.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))


def _optimize(proto: Any) -> Any:
    import onnxscript.optimizer

    with _quiet():
        return onnxscript.optimizer.optimize(proto, onnx_shape_inference=True)


def _finish(proto: Any, names: set[str]) -> frozenset[str]:
    """Drop the lifted inputs and everything that only people read; give values short names."""
    inputs = [value for value in proto.graph.input if value.name not in names]
    used = frozenset(name for node in proto.graph.node for name in node.input if name in names)
    del proto.graph.input[:]
    proto.graph.input.extend(inputs)
    short: dict[str, str] = {}
    for at, value in enumerate(inputs):
        short[value.name] = "input" if at == 0 else f"input{at}"
    for at, value in enumerate(proto.graph.output):
        short[value.name] = "output" if at == 0 else f"output{at}"
    for tensor in proto.graph.initializer:
        short.setdefault(tensor.name, f"k{len(short)}")
    for node in proto.graph.node:
        node.name = node.doc_string = ""
        del node.metadata_props[:]
        for name in node.output:
            if name:
                short.setdefault(name, f"v{len(short)}")
    _rename(proto.graph, short)
    for field in ("value_info", "metadata_props"):
        del getattr(proto.graph, field)[:]
    for value in (*proto.graph.input, *proto.graph.output):
        del value.metadata_props[:]
        for side in value.type.tensor_type.shape.dim:
            if side.dim_param:
                side.dim_param = "n"
    proto.graph.name, proto.graph.doc_string, proto.doc_string = "n", "", ""
    proto.producer_name = proto.producer_version = ""
    del proto.metadata_props[:]
    return used


def _rename(graph: Any, short: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = short.get(value.name, value.name)
    for node in graph.node:
        for names in (node.input, node.output):
            renamed = [short.get(name, name) for name in names]
            del names[:]
            names.extend(renamed)
        for attribute in node.attribute:
            for inner in ([attribute.g] if attribute.HasField("g") else []) + list(attribute.graphs):
                _rename(inner, short)
