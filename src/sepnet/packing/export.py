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

from sepnet.core.errors import MissingExtraError, NetworkError, brief
from sepnet.packing.graph import ExportedGraph
from sepnet.packing.passes.checks import check_standard
from sepnet.packing.passes.defaults import drop_defaults
from sepnet.packing.passes.draft import Draft, Pass, apply, count
from sepnet.packing.passes.names import call, shorten
from sepnet.packing.passes.norms import fold_norms
from sepnet.packing.passes.simplify import simplify
from sepnet.packing.passes.weights import lift_weights

__all__ = ["export_graph", "plain_graph"]

OPSET = 18


def export_graph(model: nn.Module, input_shape: Sequence[int]) -> ExportedGraph:
    """Trace `model` (a copy, in evaluation mode) on a batch of two examples of `input_shape`; the batch size stays free.

    Raises `NetworkError` with the exporter's reason when `torch.onnx.export` does not take the network.
    """
    try:
        import onnxscript.optimizer  # noqa: F401 (torch's exporter needs it too)
    except ImportError as error:
        raise MissingExtraError("packing a torch network", "onnxscript", "torch") from error
    still = copy.deepcopy(model).cpu()
    state = still.state_dict(keep_vars=True)
    tied = _tied(state)
    _check_real(state)
    proto = _export(_Whole(still).eval(), tuple(input_shape))
    call(proto.graph, {f"whole.{name}": tied.get(name, name) for name in state})
    draft = Draft(proto, set(state), keep_ends=False)
    apply(draft, PASSES)
    return ExportedGraph(draft.proto.SerializeToString(), draft.used, draft.norms, tied)


def plain_graph(model: nn.Module, input_shape: Sequence[int]) -> bytes:
    """The graph that `export_graph` starts from, as a ModelProto with its weights: every module's outputs are values of it."""
    data: bytes = _export(_Whole(copy.deepcopy(model)).eval(), tuple(input_shape)).SerializeToString()
    return data


def _check_real(state: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in state.items():
        if tensor.is_complex():
            raise NetworkError(
                f"{name!r} holds numbers of type {str(tensor.dtype).removeprefix('torch.')}, which a graph cannot; expected real ones: "
                "torch.view_as_real(...) with a last side of 2"
            )


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
        reason = brief(error.__cause__ or error)
        if "data-dependent" in str(error.__cause__ or error).lower():
            raise NetworkError(
                f"the network's forward takes a decision by the values of its input (an if, a while, an .item()), which a graph cannot hold; expected tensor operations such as torch.where: {reason}"
            ) from error
        raise NetworkError(
            f"torch.onnx.export does not take this network with input shape {list(shape)}: {type(error).__name__}: {reason}"
        ) from error
    if program is None:
        raise NetworkError(f"torch.onnx.export gave no graph of this network with input shape {list(shape)}")
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


def _optimize(draft: Draft) -> str:
    import onnxscript.optimizer

    before = len(draft.graph.node)
    with _quiet():
        draft.proto = onnxscript.optimizer.optimize(draft.proto, onnx_shape_inference=True)
    return count((before - len(draft.graph.node), "nodes dropped"))


PASSES: tuple[Pass, ...] = (
    ("lift weights", lift_weights),
    ("optimize", _optimize),
    ("check operators", check_standard),
    ("simplify", simplify),
    ("fold norms", fold_norms),
    ("simplify", simplify),
    ("drop defaults", drop_defaults),
    ("shorten names", shorten),
)
"""From the graph that torch exports to that of a packed file, in this order; the numbers of norms are folded when codes are known."""
