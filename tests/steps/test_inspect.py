"""Counting parameters and multiply-accumulates: by hand, on hard networks, and without touching them."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import sepnet.steps.inspect as step
from sepnet.core.errors import NetworkError
from sepnet.core.network import NetworkReport
from sepnet.networks import build
from sepnet.steps.inspect import inspect


def rows(report: NetworkReport) -> dict[str, tuple[Any, ...]]:
    return {r.name: (r.kind, r.weight_shape, r.params, r.macs) for r in report.layers}


def macs_of(layer: nn.Module, *shape: int) -> int:
    return inspect(layer, shape).macs


def test_lenet300() -> None:
    report = inspect(build("lenet300"), (1, 28, 28), "lenet300")
    assert (report.name, report.input_shape, report.params, report.bytes) == (
        "lenet300",
        (1, 28, 28),
        266_610,
        1_066_440,
    )
    assert report.macs == 784 * 300 + 300 * 100 + 100 * 10 == 266_200


def test_lenet5() -> None:
    report = inspect(build("lenet5"), (1, 28, 28))
    assert report.name == "LeNet5"
    assert rows(report) == {
        "conv1": ("conv kxk", (20, 1, 5, 5), 520, 24 * 24 * 20 * 25),
        "conv2": ("conv kxk", (50, 20, 5, 5), 25_050, 8 * 8 * 50 * 20 * 25),
        "fc1": ("fc", (500, 800), 400_500, 400_000),
        "fc2": ("fc", (10, 500), 5_010, 5_000),
    }
    assert (report.params, report.macs) == (431_080, 2_293_000)


def test_mixed_cnn() -> None:
    report = inspect(build("mixed_cnn"), (1, 28, 28))
    found = rows(report)
    assert found["stem"] == ("conv kxk", (16, 1, 3, 3), 144, 14 * 14 * 16 * 9)
    assert found["depthwise"] == ("depthwise", (32, 1, 3, 3), 288, 7 * 7 * 32 * 9)
    assert found["mix"] == ("conv 1x1", (64, 64, 1, 1), 4096, 7 * 7 * 64 * 64)
    assert found["pre_bn"] == ("norm", (64,), 128, 0)
    assert (report.params, report.macs) == (20_602, 971_232)
    totals = {t.kind: (t.layers, t.params) for t in report.by_kind()}
    assert totals["norm"] == (7, 544)
    assert sum(p for _, p in totals.values()) == report.params


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.Conv1d(4, 6, 3, dilation=2), (4, 20), 6 * 16 * 4 * 3),
        (nn.Conv2d(4, 8, 3, groups=2, stride=2, padding=1), (4, 9, 9), 8 * 25 * 2 * 9),
        (nn.Conv2d(4, 8, (1, 3)), (4, 9, 9), 8 * 9 * 7 * 4 * 3),
        (nn.Conv3d(2, 3, 2), (2, 4, 5, 6), 3 * 3 * 4 * 5 * 2 * 8),
        (nn.ConvTranspose1d(4, 6, 3, stride=2), (4, 5), 4 * 5 * 6 * 3),
        (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 5, 7), 4 * 35 * 3 * 9),
        (nn.ConvTranspose3d(1, 2, 2), (1, 3, 3, 3), 27 * 2 * 8),
        (nn.Linear(5, 7), (5,), 35),
        (nn.Linear(5, 7), (3, 4, 5), 12 * 35),
        (nn.BatchNorm2d(3), (3, 4, 4), 0),
        (nn.PReLU(), (3,), 0),
    ],
)
def test_macs_by_hand(layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    assert macs_of(layer, *shape) == macs


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (nn.Conv2d(4, 4, 3), "conv kxk"),
        (nn.Conv2d(1, 4, 3, groups=1), "conv kxk"),
        (nn.Conv2d(4, 8, 3, groups=4), "depthwise"),
        (nn.Conv2d(4, 4, 1, groups=4), "conv 1x1"),
        (nn.Conv2d(4, 4, (1, 3)), "conv kxk"),
        (nn.ConvTranspose2d(4, 4, 2), "conv kxk"),
        (nn.Linear(2, 2), "fc"),
        (nn.LayerNorm(4), "norm"),
        (nn.GroupNorm(2, 4), "norm"),
        (nn.InstanceNorm2d(4, affine=True), "norm"),
        (nn.RMSNorm(4), "norm"),
        (nn.Embedding(4, 2), "other"),
        (nn.LSTM(2, 2), "other"),
    ],
)
def test_kinds(layer: nn.Module, kind: str) -> None:
    assert step.kind_of(layer) == kind


class Odd(nn.Module):
    """Its own parameter, a layer used twice, one never used, and two that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.twice = nn.Linear(3, 3)
        self.never = nn.Linear(9, 9)
        self.tied = nn.Linear(3, 3, bias=False)
        self.tied.weight = self.twice.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.tied(self.twice(input=self.twice(x * self.scale)))


def test_shared_repeated_unused_and_own() -> None:
    assert rows(inspect(Odd(), (3,))) == {
        "": ("other", (), 3, 0),
        "twice": ("fc", (3, 3), 12, 18),
        "never": ("fc", (9, 9), 90, 0),
        "tied": ("fc", (3, 3), 0, 9),
    }


def test_no_parameters() -> None:
    report = inspect(nn.Sequential(nn.Flatten(), nn.ReLU()), (2, 3))
    assert (report.layers, report.params, report.macs, report.by_kind()) == ((), 0, 0, ())
    assert inspect(nn.Identity(), ()).layers == ()


def test_embedding_and_several_inputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.fc = nn.Embedding(10, 4), nn.Linear(6, 2)

        def forward(self, ids: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.cat([self.words(ids).mean(1), extra], 1))

    report = inspect(Two(), [(7,), (2,)])
    assert rows(report) == {"words": ("other", (10, 4), 40, 0), "fc": ("fc", (2, 6), 14, 12)}
    assert report.input_shape == (7,)
    assert inspect(nn.Embedding(10, 4), (7,)).params == 40


class Sign(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(8, 1, 1, 1))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        return torch.sign(weight) * self.alpha


def test_parametrized_layer_is_one_row() -> None:
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU())
    parametrize.register_parametrization(model[0], "weight", Sign())
    assert rows(inspect(model, (4, 5, 5))) == {"0": ("conv kxk", (8, 4, 3, 3), 288 + 8 + 8, 9 * 8 * 36)}
    normed = parametrizations.weight_norm(nn.Linear(3, 5))
    assert rows(inspect(normed, (3,))) == {"": ("fc", (5, 3), 5 + 15 + 5, 15)}


def test_old_weight_norm_and_prune() -> None:
    """Both leave a weight that is no leaf, which deepcopy refuses."""
    pruned = nn.Sequential(nn.Linear(3, 5))
    prune.random_unstructured(pruned[0], "weight", 0.5)
    assert rows(inspect(pruned, (3,))) == {"0": ("fc", (5, 3), 20, 15)}
    with pytest.warns(FutureWarning):
        old = nn.utils.weight_norm(nn.Linear(3, 5))
    assert inspect(old, (3,)).params == 25


def test_falls_back_where_meta_cannot() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.kept = nn.Linear(3, 3), [torch.ones(3)]

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.fc(x) + self.kept[0]
            return self.fc(y) if float(y.abs().sum()) >= 0 else y

    model = Branches()
    assert inspect(model, (3,)).macs == 18
    prune.identity(model.fc, "weight")
    assert inspect(model, (3,)).macs == 18


def test_the_network_is_not_changed() -> None:
    calls: list[str] = []
    model = build("mixed_cnn")
    model.register_forward_hook(lambda *_: calls.append("after"))
    model.stem.register_forward_pre_hook(lambda *_: calls.append("before"))
    model.stem_bn.eval()
    modes = [m.training for m in model.modules()]
    before = copy.deepcopy(model.state_dict())
    ids = [id(p) for p in model.parameters()]
    seed = torch.random.get_rng_state()
    for shape in ((1, 28, 28), (9, 28, 28)):
        try:
            inspect(model, shape)
        except NetworkError:
            assert shape[0] == 9
    assert calls == []
    assert [m.training for m in model.modules()] == modes
    assert [id(p) for p in model.parameters()] == ids
    assert all(p.grad is None and p.requires_grad and p.device.type == "cpu" for p in model.parameters())
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert torch.equal(seed, torch.random.get_rng_state())
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()]
    assert sum(hooks) == 2
    model(torch.zeros(2, 1, 28, 28))
    assert calls == ["before", "after"]


def test_state_of_a_python_kind_is_not_changed() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.seen = nn.Linear(3, 3), 0
            self.register_buffer("total", torch.zeros(3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.seen += 1
            self.total += torch.rand(3, device=x.device)
            return self.fc(x)

    model = Counts()
    inspect(model, (3,))
    assert model.seen == 0 and model.total.sum() == 0


def test_compiled_network() -> None:
    report = inspect(torch.compile(nn.Sequential(nn.Linear(3, 3))), (3,))
    assert report.name == "Sequential"
    assert rows(report) == {"0": ("fc", (3, 3), 12, 9)}


def test_half_precision() -> None:
    assert inspect(nn.Linear(3, 4).to(torch.bfloat16), (3,)).macs == 12


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((1, 32, 32), r"shape \(1, 32, 32\).*layer 'fc1' \(Linear\) found \(1, 1250\), expected \(batch, ..., 800\)"),
        ((3, 28, 28), r"layer 'conv1' \(Conv2d\) found \(1, 3, 28, 28\), expected \(batch, 1, size, size\)"),
        ((28, 28, 1), "layer 'conv1'"),
        ((784,), "layer 'conv1'"),
        (((1, 28, 28), (2,)), r"expected \(batch, 1, 28, 28\)"),
        ((), "layer 'conv1'"),
        ((0, 28), "expected sizes >= 1"),
        ((-1,), "expected sizes >= 1"),
        ((True,), "expected sizes >= 1"),
        ((1.5, 2), "expected sizes >= 1"),
        ("1x28x28", "expected sizes >= 1"),
        (28, "expected sizes >= 1"),
        (None, "expected sizes >= 1"),
    ],
)
def test_inputs_that_do_not_fit(shape: Any, words: str) -> None:
    with pytest.raises(NetworkError, match=words) as caught:
        inspect(build("lenet5"), shape)
    assert "\n" not in str(caught.value)


def test_networks_that_cannot_be_inspected() -> None:
    with pytest.raises(NetworkError, match=r"found dict; expected a torch.nn.Module"):
        inspect({}, (3,))  # type: ignore[arg-type]
    with pytest.raises(NetworkError, match=r"'weight' has no shape yet"):
        inspect(nn.LazyLinear(3), (3,))

    with warnings.catch_warnings(action="ignore"):
        scripted = torch.jit.script(nn.Linear(3, 3))
    with pytest.raises(NetworkError, match=r"found a TorchScript network"):
        inspect(scripted, (3,))

    class Raises(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise KeyError("missing")

    with pytest.raises(NetworkError, match=r"KeyError: 'missing'"):
        inspect(Raises(), (3,))

    class Refuses(nn.Module):
        def __deepcopy__(self, memo: object) -> None:
            raise RuntimeError("no")

    with pytest.raises(NetworkError, match=r"cannot be copied: RuntimeError: no"):
        inspect(Refuses(), (3,))
