"""Channels removed: all that goes together is found, nothing else changes, targets are met, and it packs and composes."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import sepnet
from sepnet.core.errors import MissingExtraError, RecipeError
from sepnet.core.header import InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.core.plan import make_plan
from sepnet.core.recipe import Recipe, Rest
from sepnet.core.rewrite import RewriteRow
from sepnet.networks import build
from sepnet.packing.export import export_graph
from sepnet.packing.pack import PackInput, pack
from sepnet.packing.restore import state_dict
from sepnet.rewrites import dependencies
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import ParametrizedNetwork, sites

pytest.importorskip("torch_pruning", reason="needs the extra channels")
Shape = tuple[int, ...]


class Grouped(nn.Module):
    """Convolutions in 2 and in 3 groups after each other, PReLU of every channel, a flattened map, a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.act = nn.PReLU(12)
        self.two = nn.Conv2d(12, 24, 3, padding=1, groups=2)
        self.bn = nn.BatchNorm2d(24)
        self.three = nn.Conv2d(24, 12, 1, groups=3, bias=False)
        self.fc1 = nn.Linear(12 * 16, 10)
        self.fc2 = nn.Linear(10, 4).requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.two(self.act(self.stem(x)))))
        x = nn.functional.max_pool2d(torch.relu(self.three(x)), 2)
        return self.fc2(torch.relu(self.fc1(torch.flatten(x, 1))))  # type: ignore[no-any-return]


class Inception(nn.Module):
    """Three branches side by side, two of them summed with a wider layer after that, then split again."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 4, 1), nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 4, 5, padding=2)
        self.both = nn.Conv2d(14, 14, 1, bias=False)
        self.bn = nn.BatchNorm2d(14)
        self.left, self.right = nn.Conv2d(8, 5, 1), nn.Conv2d(6, 5, 1)
        self.fc = nn.Linear(5, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.cat([torch.relu(self.a(x)), torch.relu(self.b(x)), torch.relu(self.c(x))], 1)
        x = torch.relu(x + self.bn(self.both(x)))
        return self.fc((self.left(x[:, :8]) + self.right(x[:, 8:])).mean((2, 3)))  # type: ignore[no-any-return]


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "residual, padded": (lambda: build("resnet20_cifar"), (3, 16, 16)),
    "residual, projected": (lambda: build("resnet20_cifar?shortcut=B"), (3, 16, 16)),
    "concat, residual": (lambda: build("squeezenet1_1?bypass=simple&num_classes=7"), (3, 32, 32)),
    "all kinds": (lambda: build("mixed_cnn"), (1, 28, 28)),
    "depthwise, residual": (lambda: build("mobilenet_v2?width=0.1&num_classes=5"), (3, 32, 32)),
    "grouped, flattened": (Grouped, (3, 8, 8)),
    "fully connected": (lambda: build("lenet300"), (1, 28, 28)),
}


def network(name: str) -> tuple[nn.Module, Shape]:
    """A network with batch normalization that does something."""
    torch.manual_seed(2)
    make, shape = NETWORKS[name]
    model = make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias, 0, 0.2)
            nn.init.normal_(module.running_mean, 0, 0.2)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2)  # type: ignore[arg-type]
    return model.eval(), shape


def shrunk(model: nn.Module, shape: Shape, **options: Any) -> tuple[nn.Module, list[RewriteRow]]:
    rows: list[RewriteRow] = []
    table = {"rewrite": "channels", "layers": ["*"], **options}
    made = sepnet.rewrite(model, Recipe("t", rewrite=(table,), name="mine"), input_shape=shape, on_row=rows.append)
    return made, rows


@pytest.mark.parametrize("name", list(NETWORKS))
def test_sizes_told_are_the_sizes_there_are(name: str) -> None:
    model, shape = network(name)
    before = copy.deepcopy(model.state_dict())
    made, rows = shrunk(model, shape, macs=0.6, ranking="network")
    assert all(torch.equal(tensor, before[key]) for key, tensor in model.state_dict().items())
    old, new = inspect(model, shape), inspect(made, shape)
    whole = rows[0]
    assert (whole.layer, whole.params_before, whole.macs_before) == ("", old.params, old.macs)
    assert (whole.params_after, whole.macs_after) == (new.params, new.macs)
    assert 0.5 * old.macs < new.macs <= 0.6 * old.macs and 0 < whole.error < 1
    layers = {layer.name: layer for layer in new.layers}
    for row in rows[1:]:
        layer, module = layers[row.layer], made.get_submodule(row.layer)
        assert (row.params_after, row.macs_after, row.channels_after) == (
            layer.params,
            layer.macs,
            layer.weight_shape[0],
        )
        assert [module.weight.requires_grad] == [model.get_submodule(row.layer).weight.requires_grad]
    with torch.no_grad():
        assert made(torch.randn(3, *shape)).shape == model(torch.randn(3, *shape)).shape
    assert not made.training


def test_channels_that_nothing_reads_leave_first_and_change_nothing() -> None:
    """One unit of the stem, with its like in the other group that reads it; one of three groups, before a flattened map."""
    model: Any
    model, shape = network("grouped, flattened")
    with torch.no_grad():
        model.stem.weight[[2, 8]] = 0
        model.two.weight[:, 2] = 0
        model.three.weight[[1, 5, 9]] = 0
        model.fc1.weight.view(10, 12, 16)[:, [1, 5, 9]] = 0
    made, rows = shrunk(model, shape, layers=["stem", "three"], keep=0.8)
    assert [row.channels_after for row in rows[1:]] == [10, 24, 9, 10]
    assert torch.equal(made.stem.weight, model.stem.weight[[0, 1, 3, 4, 5, 6, 7, 9, 10, 11]])
    assert torch.equal(made.three.weight, model.three.weight[[0, 2, 3, 4, 6, 7, 8, 10, 11]])
    x = torch.randn(4, *shape)
    with torch.no_grad():
        torch.testing.assert_close(made(x), model(x))


def test_the_same_channels_every_time() -> None:
    model, shape = network("all kinds")
    first, second = (shrunk(model, shape, params=0.6, by="bn-scale", ranking="network")[0] for _ in range(2))
    state = second.state_dict()
    assert all(torch.equal(tensor, state[key]) for key, tensor in first.state_dict().items())


def test_the_channels_that_stay_are_the_most_important() -> None:
    model = nn.Sequential(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3), nn.Flatten())
    with torch.no_grad():
        for index, (size, gamma) in enumerate(zip([1, 5, 2, 6, 3, 4], [3, 1, 2, 0.5, 4, 5], strict=True)):
            model[0].weight[index] = size
            model[3].weight[:, index] = size
            model[1].weight[index] = gamma  # type: ignore[operator]
    for by, kept in (("magnitude", [1, 3, 5]), ("bn-scale", [0, 4, 5])):
        made, rows = shrunk(model, (1, 6, 6), keep=0.5, by=by)
        assert torch.equal(made[0].weight, model[0].weight[kept])
        assert torch.equal(made[3].weight, model[3].weight[:, kept])
        assert torch.equal(made[1].running_mean, model[1].running_mean[kept])  # type: ignore[operator, index]
        assert [row.layer for row in rows] == ["", "0", "3"] and rows[1].channels_after == 3
    lost = sum(size**2 for size in (1, 2, 3)) / sum(size**2 for size in range(1, 7))
    assert shrunk(model, (1, 6, 6), keep=0.5)[1][1].error == pytest.approx(lost)


@pytest.mark.parametrize("target", ["keep", "macs", "params"])
@pytest.mark.parametrize("ranking", ["layer", "network"])
def test_targets_are_met_by_a_step(target: str, ranking: str) -> None:
    model, shape = network("concat, residual" if target == "params" else "all kinds")
    for share in (0.8, 0.5):
        _, rows = shrunk(model, shape, **{target: share}, ranking=ranking)
        whole = rows[0]
        told = {"macs": (whole.macs_before, whole.macs_after), "params": (whole.params_before, whole.params_after)}
        if target in told:
            before, after = told[target]
            assert before and after and share - 0.06 < after / before <= share
        else:
            assert all(row.channels_after >= 1 for row in rows if row.channels_after is not None)


def test_round_to_and_groups() -> None:
    model, shape = network("grouped, flattened")
    made, _ = shrunk(model, shape, keep=0.7)
    assert made.stem.out_channels % 2 == 0 and made.two.out_channels % 6 == 0 and made.three.out_channels % 3 == 0
    assert made.fc1.in_features == 16 * made.three.out_channels
    model, shape = network("residual, projected")
    made, rows = shrunk(model, shape, macs=0.6, round_to=8)
    assert all(row.channels_after % 8 == 0 for row in rows[1:] if row.layer != "fc" and row.channels_after)


def test_named_layers_alone_shrink() -> None:
    model, shape = network("residual, padded")
    made, rows = shrunk(model, shape, layers=["layer*.conv1"], keep=0.5)
    fewer = {row.layer for row in rows[1:] if row.channels_after != row.channels_before}
    assert fewer == {f"layer{stage}.{block}.conv1" for stage in (1, 2, 3) for block in (0, 1, 2)}
    assert made.conv1.out_channels == 16
    _, rows = shrunk(model, shape, layers=["layer2", "layer3.0.conv1"], keep=0.5)
    assert {row.layer[:6] for row in rows[1:]} == {"layer2", "layer3"}


class Shuffled(nn.Module):
    """What the graph cannot know: channels that change places."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 6, 3), nn.Conv2d(6, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.a(x)
        return self.b(x.unflatten(1, (2, 3)).transpose(1, 2).flatten(1, 2)).mean((2, 3))  # type: ignore[no-any-return]


class Normed(nn.Sequential):
    """Statistics over channels, a parameter of its own, a tied weight, and an end."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(1, 6, 3), nn.GroupNorm(2, 6), nn.Conv2d(6, 6, 3), nn.Conv2d(6, 6, 3))
        self[3].weight = self[2].weight
        self.scale = nn.Parameter(torch.ones(6, 1, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (super().forward(x) * self.scale).mean((2, 3))  # type: ignore[no-any-return]


class Halves(nn.Sequential):
    """Halves that change places."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two = self[0](x).chunk(2, 1)
        return self[1](torch.cat([two, one], 1)).flatten(1)  # type: ignore[no-any-return]


class Viewed(nn.Sequential):
    """A size that is written down."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self[1](self[0](x).view(-1, 256))  # type: ignore[no-any-return]


class Listed(nn.Sequential):
    """No tensor in the end."""

    def forward(self, x: torch.Tensor) -> Any:
        return [super().forward(x)]


@pytest.mark.parametrize(
    ("model", "table", "words"),
    [
        (
            Shuffled(),
            {"keep": 0.5},
            "channels of 'a' do more than Torch-Pruning's dependency graph knows: without 3 of 6",
        ),
        (
            Normed(),
            {"keep": 0.5},
            "no channels can leave: those of '0': they meet '1', a GroupNorm, which cannot shrink",
        ),
        (Listed(nn.Conv2d(1, 2, 1)), {"keep": 0.5}, "the network gives a list; expected one tensor"),
        (nn.Sequential(nn.Conv2d(3, 4, 1)), {"keep": 0.5}, "(2, 1, 8, 8)"),
        (Halves(nn.Conv2d(1, 8, 1), nn.Conv2d(8, 4, 1)), {"keep": 0.5}, "gives '0' more than it has"),
        (Viewed(nn.Conv2d(1, 4, 1), nn.Linear(256, 4)), {"keep": 0.5}, "without 2 of 4 it does not run any more"),
        (nn.Sequential(nn.Conv2d(1, 4, 1)), {"keep": 0.5}, "those of '0': they are the network's outputs"),
        (
            nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)),
            {"keep": 0.5, "by": "bn-scale"},
            "no batch normalization",
        ),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)), {"macs": 0.1}, "macs = 0.1 cannot be met: 0.250 stays"),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)), {"keep": 0.5, "layers": ["x"]}, "matches no layer"),
        (nn.Sequential(nn.Conv2d(1, 4, 1), nn.Conv2d(4, 4, 1)), {"macs": 1.5}, "macs = 1.5; expected above 0, below 1"),
        (nn.Sequential(nn.Conv2d(1, 4, 1)), {"macs": 0.5, "keep": 0.5}, "exactly one of keep, macs, params"),
        (nn.Sequential(nn.Conv2d(1, 4, 1)), {"keep": 0.5, "round_to": 0}, "round_to = 0"),
        (nn.Sequential(nn.Conv2d(1, 4, 1)), {"keep": 0.5, "by": "taylor"}, "by"),
    ],
)
def test_what_cannot_be(model: nn.Module, table: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        shrunk(model, (1, 8, 8), **table)
    assert words in str(caught.value) and str(caught.value).startswith("recipe mine: rewrite 1: ")
    assert "\n" not in str(caught.value)


def test_without_torch_pruning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(MissingExtraError, match=r"'channels' needs torch-pruning.*sepnet\[channels\]"):
        shrunk(build("lenet300"), (1, 28, 28), keep=0.5)


def test_coupled_layers_that_are_not_named_hold_it() -> None:
    model, shape = network("residual, projected")
    with pytest.raises(RecipeError, match=r"those of 'conv1': '.*' makes the same channels and is not named"):
        shrunk(model, shape, layers=["conv1"], keep=0.5)
    with pytest.raises(RecipeError, match="runs the network; expected data or an input shape"):
        sepnet.rewrite(model, Recipe("t", rewrite=({"rewrite": "channels", "layers": ["*"], "keep": 0.5},)))


def test_concat_sum_and_slices() -> None:
    torch.manual_seed(0)
    model = Inception().eval()
    found = {group.layer: group for group in dependencies.coupled_channels(model, torch.randn(1, 3, 8, 8))}
    assert found["fc"].fixed == "they are the network's outputs"
    assert {"a", "b", "c"} <= set(found) and set(found["b"].makers) >= {"b", "both", "bn"}
    assert found["b"].sides[1].places != found["a"].sides[1].places


FLOAT = ({"scheme": "keep", "dtype": "float32"},)


SLOW = ["residual, padded", "residual, projected", "concat, residual", "grouped, flattened", "depthwise, residual"]
PACKED = ["all kinds", *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)]


@pytest.mark.parametrize("name", PACKED)
def test_a_shrunk_network_packs_and_runs_without_its_class(name: str) -> None:
    model, shape = network(name)
    made, _ = shrunk(model, shape, macs=0.5)
    report = inspect(made, shape)
    under = ParametrizedNetwork(
        made, make_plan(Recipe("floats", rest=Rest(FLOAT, FLOAT)), sites(made, report), SCHEMES)
    )
    under.start_rest()
    about = PackInput("test", report.params, InputSpec(shape))
    packed = pack(
        about, export_graph(made, shape), under.state(), under.coded(), code=under.code_anew, codecs=("dense",)
    )
    file = PackedModel.from_bytes(packed.to_bytes())
    x = torch.randn(3, *shape)
    with torch.no_grad():
        wanted = made(x).numpy()
        room = 1e-4 * np.abs(wanted).max()
        np.testing.assert_allclose(OnnxRuntime(file).run(x.numpy()), wanted, rtol=0, atol=room)
        fresh, _ = shrunk(model, shape, macs=0.5)
        fresh.load_state_dict({key: torch.from_numpy(np.array(array)) for key, array in state_dict(file).items()})
        np.testing.assert_allclose(fresh(x).numpy(), wanted, rtol=0, atol=room)
