"""Hidden units that reach nothing are cleared, the others sorted, and the network computes what it did."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from sepnet.core.coded_tensor import CodedTensor, Half, float_codes
from sepnet.core.header import InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.packing.export import export_graph
from sepnet.packing.graph import ExportedGraph
from sepnet.packing.hidden_units import arrange, hidden_units
from sepnet.packing.pack import PackInput, pack
from sepnet.packing.restore import state_dict
from sepnet.runtimes.onnxruntime import OnnxRuntime


class Net(nn.Module):
    """Two convolutions, a map that is flattened, two fully connected layers; and a branch that is left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 6, 3)
        self.conv2 = nn.Conv2d(6, 8, 3)
        self.fc1 = nn.Linear(8 * 2 * 2, 12)
        self.fc2 = nn.Linear(12, 5)
        self.once, self.twice = nn.Linear(5, 5), nn.Linear(5, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.max_pool2d(torch.relu(self.conv1(x)), 2)
        x = torch.flatten(torch.max_pool2d(self.conv2(x), 2), 1)
        x = self.fc2(torch.tanh(self.fc1(x)))
        return self.twice(x + torch.sigmoid(self.once(x)))  # type: ignore[no-any-return]


SHAPE = (1, 14, 14)


@pytest.fixture(scope="module")
def graph() -> ExportedGraph:
    """The graph, traced once."""
    return export_graph(Net(), SHAPE)


@pytest.fixture(scope="module")
def coded() -> list[CodedTensor]:
    """Sparse integers with a scale a filter (a kernel for the second convolution); units 3 of conv2 and 5 of fc1 reach nothing."""
    random = np.random.default_rng(0)
    tensors = []
    for name, parameter in Net().named_parameters():
        shape = tuple(parameter.shape)
        if name == "fc2.bias":
            tensors.append(float_codes(name, random.normal(size=shape), "float16", ("keep",)))
            continue
        codes = random.integers(-3, 4, shape) * (random.random(shape) < 0.4)
        if len(shape) > 1:
            codes[0] = codes[:, 0] = 1  # so that all other units are alive
        if name == "fc1.weight":
            codes[:, 3 * 4 : 4 * 4] = 0
        if name == "fc2.weight":
            codes[:, 5] = 0
        each = shape[:2] if name == "conv2.weight" else shape[:1] if len(shape) > 1 else ()
        scale = Half.of(random.uniform(0.05, 0.2, each).astype(np.float32))
        tensors.append(CodedTensor(name, codes, "integer", ("linear",), scale))
    return tensors


def packed(graph: ExportedGraph, coded: list[CodedTensor]) -> PackedModel:
    """A file of them."""
    params = sum(tensor.codes.size for tensor in coded)
    state = {tensor.name: np.asarray(tensor.restore(), np.float32) for tensor in coded}
    about = PackInput("net", params, InputSpec(SHAPE))
    return pack(about, graph, state, coded, code=lambda name, numbers: float_codes(name, numbers, "float16", ("keep",)))


def outputs(model: PackedModel) -> np.ndarray:
    images = np.random.default_rng(1).normal(size=(16, *SHAPE)).astype(np.float32)
    return OnnxRuntime(model).run(images)


def test_the_layers_that_one_other_layer_reads(graph: ExportedGraph, coded: list[CodedTensor]) -> None:
    found = hidden_units(graph, {tensor.name: tensor for tensor in coded})
    assert [(group.weight, group.bias, group.reader, group.units) for group in found] == [
        ("conv1.weight", "conv1.bias", "conv2.weight", 6),
        ("conv2.weight", "conv2.bias", "fc1.weight", 8),
        ("fc1.weight", "fc1.bias", "fc2.weight", 12),
    ]


@pytest.mark.parametrize("units", ["kept", "cleared", "sorted", "dropped"])
def test_the_network_computes_what_it_did(graph: ExportedGraph, coded: list[CodedTensor], units: str) -> None:
    before = packed(graph, coded)
    after = packed(*arrange(graph, coded, units))  # type: ignore[arg-type]
    difference = float(np.abs(outputs(before) - outputs(after)).max())
    assert difference <= (0.0 if units in ("kept", "cleared") else 1e-5)
    state = state_dict(after)
    if units == "dropped":
        shapes = {name: array.shape for name, array in state.items()}
        assert shapes["conv1.weight"] == (6, 1, 3, 3) and shapes["conv2.weight"] == (7, 6, 3, 3)
        assert shapes["conv2.bias"] == (7,) and shapes["fc1.weight"] == (11, 28) and shapes["fc2.weight"] == (5, 11)
    else:
        Net().load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
    assert after.bytes <= before.bytes


def test_what_leads_nowhere_is_zero(graph: ExportedGraph, coded: list[CodedTensor]) -> None:
    tensors = {tensor.name: tensor.codes for tensor in arrange(graph, coded, "cleared")[1]}
    assert not tensors["fc1.weight"][5].any() and not tensors["fc1.bias"][5]
    assert not tensors["conv2.weight"][3].any() and not tensors["conv2.bias"][3]
    assert all(np.array_equal(tensors[t.name], t.codes) for t in coded if t.name.startswith(("fc2", "once", "twice")))


def test_clearing_goes_on_backwards(graph: ExportedGraph, coded: list[CodedTensor]) -> None:
    none = [dataclasses.replace(t, codes=t.codes * 0) if t.name == "fc2.weight" else t for t in coded]
    tensors = {tensor.name: tensor.codes for tensor in arrange(graph, none, "cleared")[1]}
    assert not any(
        tensors[f"{layer}.{part}"].any() for layer in ("conv1", "conv2", "fc1") for part in ("weight", "bias")
    )


def test_units_are_in_the_order_of_their_weights(graph: ExportedGraph, coded: list[CodedTensor]) -> None:
    tensors = {tensor.name: tensor.codes for tensor in arrange(graph, coded, "sorted")[1]}
    there = np.count_nonzero(tensors["fc1.weight"], axis=1) + np.count_nonzero(tensors["fc2.weight"], axis=0)
    assert np.all(np.diff(there) <= 0) and there[-1] == 0
    again = arrange(graph, arrange(graph, coded, "sorted")[1], "sorted")[1]
    assert all(np.array_equal(tensor.codes, tensors[tensor.name]) for tensor in again)


def test_what_reads_only_a_unit_that_is_always_zero_is_cleared(graph: ExportedGraph, coded: list[CodedTensor]) -> None:
    silent = []
    for tensor in coded:
        codes = tensor.codes.copy()
        if tensor.name.startswith(("conv1", "fc1")):
            codes[2] = 0
        silent.append(dataclasses.replace(tensor, codes=codes))
    tensors = {tensor.name: tensor.codes for tensor in arrange(graph, silent, "cleared")[1]}
    assert not tensors["conv2.weight"][:, 2].any() and not tensors["fc2.weight"][:, 2].any()
    before, after = packed(graph, silent), packed(*arrange(graph, silent, "dropped"))
    assert np.allclose(outputs(before), outputs(after), atol=1e-5)
    assert state_dict(after)["fc2.weight"].shape == (5, 10) and state_dict(after)["conv1.weight"].shape == (5, 1, 3, 3)


class Normed(nn.Module):
    """Batch normalization between two layers, and groups: neither is touched."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.bn = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4)
        self.b, self.c = nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 2, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.c(torch.relu(self.b(torch.relu(self.bn(self.a(x)))))).mean((2, 3))  # type: ignore[no-any-return]


def test_norms_and_groups_are_left_alone() -> None:
    tensors = {
        name: float_codes(name, parameter.detach().numpy(), "float32", ("keep",))
        for name, parameter in Normed().named_parameters()
    }
    assert not hidden_units(export_graph(Normed(), SHAPE), tensors)
