"""A network that has no one answer for an example, or whose graph gives another: said before any training, with the layer."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hard_networks import FLOAT, packed
from torch import nn
from torch.nn import functional as F

import sepnet
from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import NetworkError
from sepnet.core.recipe import Recipe
from sepnet.packing.export import export_graph
from sepnet.steps.faithful import check_graph, check_network
from sepnet.training.calls import undisturbed

RANDOM = np.random.default_rng(0)
SPLIT = Split(RANDOM.integers(0, 256, (9, 3, 12, 12), np.uint8), RANDOM.integers(0, 4, 9))
DATA = Dataset("noise", tuple("abcd"), SPLIT, SPLIT, (0.4,) * 3, (0.3,) * 3)
Change = Callable[[torch.Tensor], torch.Tensor]


class Part(nn.Module):
    """A layer of a function."""

    def __init__(self, change: Change) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.change(x)


class Net(nn.Module):
    """A convolution, something in a layer or in the network's own forward, a classifier."""

    def __init__(self, part: nn.Module, own: Change = lambda x: x) -> None:
        super().__init__()
        self.conv, self.part, self.own, self.fc = nn.Conv2d(3, 8, 3), part, own, nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(self.own(self.part(torch.relu(self.conv(x)))).mean((2, 3)))


def drop(x: torch.Tensor) -> torch.Tensor:
    return F.dropout(x, 0.5)


@pytest.mark.parametrize(
    ("net", "where"),
    [
        (Net(Part(drop)), r"in layer 'part' \(Part\): two runs"),
        (Net(nn.Identity(), drop), r"in the network's own forward \(Net\) before layer 'fc' \(Linear\): two"),
        (Net(Part(lambda x: x + 1e-3 * torch.randn_like(x))), r"in layer 'part' \(Part\)"),
        (Net(Part(lambda x: x * float(np.random.rand()))), r"in layer 'part' \(Part\)"),
        (Net(Part(lambda x: x * random.random())), r"in layer 'part' \(Part\)"),
        (Net(nn.Sequential(nn.ReLU(), Part(drop))), r"in layer 'part\.1' \(Part\)"),
    ],
)
def test_random_numbers_in_evaluation_are_refused_with_the_layer(net: nn.Module, where: str) -> None:
    with pytest.raises(NetworkError, match="computes with random numbers, .* in evaluation, too, " + where):
        check_network(net, DATA, pytest.fail)


@pytest.mark.parametrize(
    ("net", "where"),
    [
        (Net(nn.BatchNorm2d(8, track_running_stats=False)), r"in layer 'part' \(BatchNorm2d\): one"),
        (Net(Part(lambda x: x.cumsum(0))), r"in layer 'part' \(Part\)"),
        (Net(nn.Identity(), lambda x: x - x[:1]), r"in the network's own forward \(Net\) before layer 'fc'"),
    ],
)
def test_outputs_that_depend_on_the_batch_are_said_once(net: nn.Module, where: str) -> None:
    said: list[str] = []
    check_network(net, DATA, said.append)
    (text,) = said
    assert text.startswith("the outputs of an example depend on the others of its batch, ")
    assert re.search(where, text), text


@pytest.mark.parametrize(
    "net",
    [
        Net(nn.Dropout(0.5)),
        Net(nn.BatchNorm2d(8)),
        nn.Sequential(Net(nn.Identity()), Part(torch.squeeze)),
        Net(Part(lambda x: x.flatten(0, 1).softmax(-1).unflatten(0, (-1, 8)))),
        Net(Part(lambda x: x.mul_(2).sub_(1))),
    ],
)
def test_other_networks_pass_in_silence_and_untouched(net: nn.Module) -> None:
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    numbers = torch.random.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    check_network(net, DATA, pytest.fail)
    assert net.training and all(parameter.grad is None for parameter in net.parameters())
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), numbers[0]) and random.getstate() == numbers[1]
    assert np.array_equal(np.random.get_state()[1], numbers[2])


def test_random_numbers_go_on_as_if_none_had_been_drawn() -> None:
    def draw() -> list[float]:
        return [torch.rand(()).item(), random.random(), float(np.random.rand())]

    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    wanted = draw()
    torch.manual_seed(1), random.seed(1), np.random.seed(1)
    with undisturbed():
        draw()
    assert draw() == wanted


def compare(net: nn.Module, said: list[str]) -> None:
    """The network beside its own graph."""
    check_graph(net, packed((net, export_graph(net, (3, 12, 12)), (3, 12, 12)), FLOAT, ("dense",)), DATA, said.append)


@pytest.mark.parametrize(
    ("net", "where"),
    [
        (Net(nn.AvgPool2d(2, divisor_override=3)), r"in layer 'part' \(AvgPool2d\): outputs of"),
        (
            Net(nn.Identity(), lambda x: F.avg_pool2d(x, 2, divisor_override=3)),
            r"in the network's own forward \(Net\) before layer 'fc'",
        ),
    ],
)
def test_a_graph_with_another_divisor_is_refused_with_the_layer(net: nn.Module, where: str) -> None:
    with pytest.raises(NetworkError, match=f"computes something else, {where}"):
        compare(net, [])


def test_a_graph_that_is_a_little_off_is_said() -> None:
    torch.manual_seed(0)
    net = Net(nn.Identity(), lambda x: x + 0.02 * F.avg_pool2d(x, 1, divisor_override=2))
    said: list[str] = []
    compare(net, said)
    assert len(said) == 1 and "computes something else, in the network's own forward" in said[0]


def test_a_graph_that_is_right_passes_in_silence() -> None:
    said: list[str] = []
    compare(nn.Sequential(Net(nn.BatchNorm2d(8)), Part(torch.squeeze)), said)
    assert not said


def test_complex_numbers_are_refused_by_name() -> None:
    net = Net(nn.Identity())
    net.register_buffer("turns", torch.ones(3, dtype=torch.complex64))
    with pytest.raises(NetworkError, match=r"'turns' holds numbers of type complex64, .* expected real ones"):
        export_graph(net, (3, 12, 12))


def test_compress_says_it_before_it_trains() -> None:
    with pytest.raises(NetworkError, match="random"):
        sepnet.compress(Net(Part(drop)), Recipe("t"), DATA)
    with pytest.raises(NetworkError, match="'part'"):
        sepnet.compress(Net(nn.AvgPool2d(2, divisor_override=3)), Recipe("t"), DATA)
    with pytest.warns(UserWarning, match="depend on the others of its batch, in layer 'part'"):
        sepnet.compress(Net(nn.BatchNorm2d(8, track_running_stats=False)), Recipe("t"), DATA)
