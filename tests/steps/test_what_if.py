"""What-if estimates against the files that compress really writes, and the talk's own arithmetic."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import sepnet
from sepnet import Dataset, Split
from sepnet.core.errors import UsageError, WeightsError
from sepnet.core.estimate import TYPICAL, WhatIf
from sepnet.core.header import InputSpec
from sepnet.core.network import LayerReport, NetworkReport
from sepnet.core.plan import make_plan
from sepnet.core.recipe import Recipe
from sepnet.networks import build
from sepnet.packing import estimate
from sepnet.packing.estimate import take_sample
from sepnet.packing.export import export_graph
from sepnet.packing.graph import ExportedGraph
from sepnet.packing.pack import PackInput, pack
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.steps.talk_accounting import talk_accounting
from sepnet.steps.what_if import what_if
from sepnet.training.parametrized import ParametrizedNetwork, sites
from sepnet.training.weights import load_into

METHODS = ("prune", "linear 8 bits", "linear 4 bits", "prune + linear", "pattern, filter scale")
TRAINED = "weights/cifar10_resnet20.safetensors"


def counted(spec: str) -> NetworkReport:
    with torch.device("meta"):
        model = build(spec)
    return inspect(model, model.input_shape, spec)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few weights a layer, for tests that look at counts."""
    monkeypatch.setattr(estimate, "TYPICAL_WEIGHTS", 2000)
    monkeypatch.setattr(estimate, "_LEAST_WEIGHTS", 100)


@dataclass(frozen=True)
class Subject:
    """A network, what is estimated of it, and its graph, exported once."""

    model: torch.nn.Module
    report: NetworkReport
    graph: ExportedGraph
    packed: dict[str, int] = field(default_factory=dict)

    @cached_property
    def guess(self) -> WhatIf:
        """From its weights."""
        return what_if(self.report, {name: tensor.numpy() for name, tensor in self.model.state_dict().items()})

    def packed_bytes(self, recipe: Recipe) -> int:
        """What `compress` writes with a recipe without stages: its last step, without the scoring."""
        if recipe.title in self.packed:
            return self.packed[recipe.title]
        network = ParametrizedNetwork(self.model, make_plan(recipe, sites(self.model, self.report), SCHEMES))
        network.start_rest()
        network.advance(list(SCHEMES), 1.0)
        shape = self.report.input_shape
        made = {"sepnet": "0.1.0", "recipe": "what-if", "digest": "01234567", "seed": 0}
        about = PackInput(
            self.report.name, self.report.params, InputSpec(shape, (0.5,) * shape[0], (0.25,) * shape[0]), (), made
        )
        self.packed[recipe.title] = pack(
            about, self.graph, network.state(), network.coded(), code=network.code_anew
        ).bytes
        return self.packed[recipe.title]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module", params=["lenet5", "mixed_cnn", "resnet20_cifar", "resnet20_cifar trained"])
def subject(request: pytest.FixtureRequest) -> Subject:
    spec, _, is_trained = request.param.partition(" ")
    return trained(spec, TRAINED, request.param) if is_trained else subject_of(spec)


def subject_of(spec: str, weights: Path | None = None, name: str = "") -> Subject:
    torch.manual_seed(0)
    model = build(spec).eval()
    if weights is not None:
        load_into(model, weights)
    report = inspect(model, model.input_shape, name or spec)
    return Subject(model, report, export_graph(model, model.input_shape))


def trained(spec: str, weights: str, name: str = "") -> Subject:
    path = Path(os.environ.get("SEPNET_DATA", ".")) / weights
    if not path.is_file():
        pytest.skip(f"$SEPNET_DATA/{weights} is not there")
    return subject_of(spec, path, name)


@pytest.mark.parametrize("method", METHODS)
def test_estimate_is_within_2_percent_of_the_file(subject: Subject, method: str) -> None:
    row = subject.guess.row(method)
    assert row.bytes == pytest.approx(subject.packed_bytes(row.recipe), rel=0.02)


def test_estimate_of_one_kind_is_within_2_percent_of_the_file(subject: Subject) -> None:
    if subject.report.name != "mixed_cnn":
        pytest.skip("the one with all kinds of layers is enough")
    kinds = [row for row in subject.guess.rows if row.rules and row.scope != "network"]
    for row in kinds:
        assert row.bytes == pytest.approx(subject.packed_bytes(row.recipe), rel=0.02), row.scope


def test_estimate_is_what_compress_writes() -> None:
    torch.manual_seed(0)
    model = build("mixed_cnn")
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    row = what_if(sepnet.inspect(model, (1, 28, 28)), weights).row("prune + linear")
    images = Split(np.zeros((10, 1, 28, 28), np.uint8), np.arange(10))
    data = Dataset("none", tuple("0123456789"), images, images, (0.5,), (0.5,))
    assert row.bytes == pytest.approx(sepnet.compress(model, row.recipe, data).bytes, rel=0.02)


def test_typical_weights_are_within_10_percent_of_the_file_of_trained_ones(subject: Subject) -> None:
    """Estimated without looking at the weights that others trained on CIFAR-10."""
    if subject.report.name != "resnet20_cifar trained":
        pytest.skip("for trained weights")
    check_typical(subject)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [32, 44, 56])
def test_typical_weights_of_deeper_networks(depth: int) -> None:
    check_typical(trained(f"resnet{depth}_cifar", f"weights/cifar10_resnet{depth}.safetensors"))


def check_typical(subject: Subject) -> None:
    guess = what_if(subject.report)
    assert guess.measured_on == TYPICAL
    for method in METHODS:
        row = guess.row(method)
        assert row.bytes == pytest.approx(subject.packed_bytes(row.recipe), rel=0.1), method


def test_typical_weights_say_what_they_are() -> None:
    """Between Gauss's and Laplace's tails, each layer with its largest."""
    report = NetworkReport("net", (500,), (LayerReport("fc", "fc", (400, 500), 200_000, 200_000),))
    weight = take_sample(report).state["fc.weight"]
    spread = weight / weight.std()
    assert np.mean(spread**4) == pytest.approx(4.2, rel=0.05)
    assert np.abs(spread).max() == pytest.approx(np.log(4 * 200_000) / (np.pi / 3**0.5), rel=0.1)


def given_lenet5() -> tuple[NetworkReport, Mapping[str, np.ndarray]]:
    torch.manual_seed(0)
    model = build("lenet5")
    return inspect(model, (1, 28, 28), "lenet5"), {n: t.detach().numpy() for n, t in model.state_dict().items()}


def test_a_sample_tells_the_whole(subject: Subject, monkeypatch: pytest.MonkeyPatch) -> None:
    if subject.report.name != "lenet5":
        pytest.skip("one network is enough")
    whole, (report, weights) = subject.guess, given_lenet5()
    monkeypatch.setattr(estimate, "GIVEN_WEIGHTS", 50_000)
    sampled = what_if(report, weights)
    assert whole.coded == whole.weights == 430_500 and sampled.coded < 100_000
    for row in whole.rows:
        assert sampled.row(row.method, row.scope).bytes == pytest.approx(row.bytes, rel=0.06), row.method


def test_same_weights_same_estimate(quick: None) -> None:
    report, _ = given_lenet5()
    assert what_if(report) == what_if(report)


def test_weights_of_another_network_are_refused() -> None:
    report, weights = given_lenet5()
    with pytest.raises(WeightsError, match=r"shape \[500, 800\] for .*weight; expected shape"):
        what_if(report, {**weights, "conv1.weight": weights["fc1.weight"]})
    with pytest.raises(WeightsError, match="hold nothing for"):
        what_if(report, {})


def test_structures_count_what_the_papers_count(quick: None) -> None:
    vgg = what_if(counted("vgg16"))
    assert vgg.row("float16").params == 138_357_544
    assert vgg.row("no fc").params == 14_714_688 + 512 * 1000 + 1000
    assert vgg.row("no fc").macs == 15_346_630_656 + 512 * 1000
    stem = 3 * 64 * 9
    separable = sum(math_of(layer) for layer in counted("vgg16").layers[1:13])
    biases = 4224
    assert vgg.row("depthwise separable").params == 123_642_856 + stem + biases + separable
    assert (
        vgg.row("prune", "fc").params == 138_357_544 - round(0.91 * 102_760_448) - round(0.91 * 16_777_216) - 3_072_000
    )
    assert 0 < vgg.coded < 200_000 < vgg.weights == 138_344_128


def math_of(layer: LayerReport) -> int:
    filters, channels, *_ = layer.weight_shape
    return 9 * channels + channels * filters


def test_the_talks_group_convolution() -> None:
    """16 -> 32 channels, 3x3, four groups: 4,608 weights become 1,152, and a quarter of the macs is left."""
    layers = (
        LayerReport("first", "conv kxk", (16, 3, 3, 3), 432, 432 * 48 * 48),
        LayerReport("second", "conv kxk", (32, 16, 3, 3), 4608, 4608 * 48 * 48),
    )
    row = what_if(NetworkReport("talk", (3, 48, 48), layers)).row("groups x4")
    assert (row.layers, row.params, row.macs) == (("second",), 432 + 1152, (432 + 1152) * 48 * 48)


def test_what_does_not_suit_is_left_out(quick: None) -> None:
    methods = {(row.method, row.scope) for row in what_if(counted("lenet300")).rows}
    assert ("prune", "network") in methods
    assert not any(method.startswith(("pattern", "groups", "no fc", "pointwise")) for method, _ in methods)
    googlenet = what_if(counted("googlenet"))
    with pytest.raises(KeyError):
        googlenet.row("no fc")  # its fc comes after a concatenation and a global pool
    patterns = googlenet.row("pattern, filter scale")
    assert "conv1" not in patterns.layers and len(patterns.layers) == 19
    nothing = what_if(NetworkReport("nothing", (1,), ()))
    assert [row.method for row in nothing.rows] == ["float16"]


def test_layers_of_every_sort_have_rows(quick: None) -> None:
    class Sorts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(50, 16)
            self.conv = nn.Conv1d(16, 16, 3, padding=1)
            self.up = nn.ConvTranspose1d(16, 8, 2, stride=2)
            self.norm = nn.LayerNorm(8)
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.rnn = nn.LSTM(8, 8, batch_first=True)
            self.first = nn.Linear(8, 8)
            self.tied = nn.Linear(8, 8)
            self.tied.weight = self.first.weight

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            x = self.norm(self.up(self.conv(self.embedding(x).transpose(1, 2))).transpose(1, 2))
            x = self.rnn(self.attention(x, x, x)[0])[0]
            return self.tied(torch.relu(self.first(x[:, -1])))

    model = Sorts()
    report = inspect(model, (12,))
    weights = {name: tensor.detach().numpy() for name, tensor in model.state_dict().items()}
    for guess in (what_if(report), what_if(report, weights)):
        assert {"conv", "up"} <= set(guess.row("linear 8 bits").layers)
        assert "tied" not in guess.row("prune").layers
        assert guess.row("float16").bytes == pytest.approx(2 * report.params, rel=0.4)


def test_scales_cost_what_they_take(quick: None) -> None:
    guess = what_if(counted("squeezenet1_0"))
    sizes = [guess.row(f"pattern, {scale} scale").part for scale in ("layer", "filter", "kernel")]
    kernels = sum(a * b for a, b, *k in (x.weight_shape for x in counted("squeezenet1_0").layers[1:]) if k[0] > 1)
    assert sizes[0] < sizes[1] < sizes[2]
    assert sizes[2] - sizes[0] == pytest.approx(2 * kernels, rel=0.01)


def test_talk_accounting_of_googlenet() -> None:
    accounting = talk_accounting(counted("googlenet"))
    assert (accounting.weights, accounting.params, len(accounting.layers)) == (6_990_272, 6_998_552, 9)
    assert [row.numbers for row in accounting.rows] == [
        6_990_272,
        4_425_424,
        4_101_416,
        4_103_736,
        3_524_816,
        3_408_566,
    ]
    assert [row.label for row in accounting.rows if row.talk] == ["talk: 3x3 kernels at 9 bits + one float32 each"]
    words = " ".join(accounting.explanation)
    assert "6,990,272 numbers become 4,425,424" in words and "7.02x" in words and "332,288 kernels" in words


def test_talk_accounting_of_c_inception() -> None:
    """5.10 M -> 2.43 M, when every layer with k > 1 of the reconstruction counts."""
    accounting = talk_accounting(counted("c_inception"), ["*"])
    talk = next(row.numbers for row in accounting.rows if row.talk)
    assert (round(accounting.weights / 1e6, 2), round(talk / 1e6, 2)) == (5.10, 2.43)


def test_talk_accounting_needs_kernels() -> None:
    with pytest.raises(UsageError, match="the layers with k > 1 are: none"):
        talk_accounting(counted("lenet300"))
    with pytest.raises(UsageError, match="called nothing; the layers with k > 1 are: conv1"):
        talk_accounting(counted("lenet5"), ["nothing"])
