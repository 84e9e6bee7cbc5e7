"""The graph that is taken from a network: what is folded, what it refers to, and networks it cannot be taken from."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from hard_networks import Branch, traced
from torch import nn

from sepnet.core.coded_tensor import CodedTensor, float_codes
from sepnet.core.errors import NetworkError, RecipeError, SepnetError, WeightsError
from sepnet.core.header import InputSpec
from sepnet.graphs.wire import names_used
from sepnet.packing.export import export_graph
from sepnet.packing.pack import PackInput, encode_tensor, pack


def test_norms_are_folded_where_nothing_else_looks() -> None:
    transposed = {norm.name: norm.weight for norm in traced("transposed")[1].norms}
    assert transposed == {
        "down_bn": "down.weight",
        "up_bn": "",
        "groups_bn": "groups.weight",
        "depth_bn": "depth.weight",
    }
    linear = traced("norm after linear")[1]
    assert [(norm.name, norm.eps, norm.bias) for norm in linear.norms] == [("bn1", 1e-5, "fc1.bias"), ("bn2", 1e-3, "")]
    assert {norm.name for norm in traced("frozen")[1].norms} == {"frozen"}


def test_the_graph_holds_no_weights_and_no_texts() -> None:
    model, first, shape = traced("squeeze")
    assert first.data == export_graph(model, shape).data
    proto = onnx.load_from_string(first.data)
    assert sum(np.prod(tensor.dims) for tensor in proto.graph.initializer) < 20
    assert [value.name for value in proto.graph.input] == ["input"]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "n"
    assert not any(node.name or node.doc_string or node.metadata_props for node in proto.graph.node)
    assert not proto.graph.value_info and not proto.metadata_props and not proto.producer_name
    assert names_used(first.data) & set(model.state_dict()) == first.used


def test_a_graph_inside_the_graph_keeps_its_weights() -> None:
    model = Branch()
    graph = export_graph(model, (1, 12, 12))
    assert graph.used == set(model.state_dict()) == names_used(graph.data) & set(model.state_dict())


class Depends(nn.Module):
    """Branches on a value."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x) if x.sum() > 0 else -self.fc(x)


class OneBatch(nn.Module):
    """Works for two examples only."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(2, 4) * torch.arange(8.0).reshape(2, 4)


UNFIT = r"torch\.onnx\.export does not take this network with input shape \[4\]"


@pytest.mark.parametrize(
    "make, message",
    [(Depends, "takes a decision by the values of its input"), (OneBatch, UNFIT), (lambda: nn.Linear(9, 2), UNFIT)],
)
def test_networks_that_cannot_be_traced(make: type[nn.Module], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        export_graph(make(), (4,))


def test_codes_that_no_codec_can_write() -> None:
    large = CodedTensor("large", np.array([1, 2**40]), "int64")
    with pytest.raises(NetworkError, match="buffer 'large' holds integers that 32 bits cannot"):
        encode_tensor(large)
    numbers = np.random.default_rng(0).normal(size=6000)
    with pytest.raises(RecipeError, match="codec 'dense_huffman' cannot write 'weight'"):
        encode_tensor(float_codes("weight", numbers, "float32", ("keep",), codec="dense_huffman"))
    with pytest.raises(SepnetError, match=r"unknown codec 'zip'.*choices: "):
        encode_tensor(float_codes("weight", numbers, "float32", ("keep",), codec="zip"))


def test_a_negative_variance() -> None:
    model, graph, shape = traced("norm after linear")
    state = {name: tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    state["bn2.running_var"][1] = -0.5
    coded = [float_codes(name, state[name], "float32", ("keep",)) for name, _ in model.named_parameters()]
    with pytest.raises(WeightsError, match=r"bn2\.running_var holds a negative variance"):
        pack(
            PackInput("test", 1, InputSpec(shape)),
            graph,
            state,
            coded,
            code=lambda name, numbers: float_codes(name, numbers, "float32", ("keep",)),
        )
