"""Networks that are hard to pack right, one difficulty or a few a class."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from sepnet.core.header import InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.core.plan import make_plan
from sepnet.core.recipe import Recipe, Rest, Rule
from sepnet.core.scheme import make_scheme
from sepnet.networks import build
from sepnet.packing.export import export_graph
from sepnet.packing.graph import ExportedGraph
from sepnet.packing.pack import PackInput, pack
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import ParametrizedNetwork, sites

IMAGE, WIDE = (1, 12, 12), (3, 10, 8)


class NormAfterLinear(nn.Module):
    """Fully connected, batch normalization, twice; the second layer has no bias."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.bn1 = nn.Linear(144, 20), nn.BatchNorm1d(20)
        self.fc2, self.bn2 = nn.Linear(20, 6, bias=False), nn.BatchNorm1d(6, eps=1e-3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.bn2(self.fc2(torch.relu(self.bn1(self.fc1(x.reshape(x.shape[0], -1))))))


class NormTwice(nn.Module):
    """One batch normalization after two convolutions; and one that a second path names as well."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 5, 3, padding=1)
        self.bn = nn.BatchNorm2d(5)
        self.c, self.first = nn.Conv2d(5, 4, 1), nn.BatchNorm2d(4)
        self.second = self.first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.b(torch.relu(self.bn(self.a(x))))))
        return self.second(self.c(x)).mean(dim=(2, 3))


class ConvTwice(nn.Module):
    """A convolution called twice before one norm, and one whose output is looked at before its norm too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.same, self.same_bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.seen, self.seen_bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = torch.relu(self.same_bn(self.same(torch.relu(self.same(x)))))
        y = self.seen(x)
        return (y + self.seen_bn(y)).mean(dim=(2, 3))


class NormsWithout(nn.Module):
    """Norms without weights, without running statistics, without either; norms that are no batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.plain = nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6, affine=False)
        self.b, self.untracked = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6, track_running_stats=False)
        self.c, self.bare = nn.Conv2d(6, 6, 1), nn.BatchNorm2d(6, affine=False, track_running_stats=False)
        self.groups, self.instance = nn.GroupNorm(3, 6), nn.InstanceNorm2d(6, affine=True)
        self.layer, self.fc = nn.LayerNorm(6), nn.Linear(6, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.plain(self.a(x)))
        x = self.bare(self.c(torch.relu(self.untracked(self.b(x)))))
        return self.fc(self.layer(self.instance(self.groups(x)).amax(dim=(2, 3))))


class Transposed(nn.Module):
    """Transposed, grouped, dilated, strided convolutions, each with its norm."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.down_bn = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
        self.up, self.up_bn = nn.ConvTranspose2d(8, 4, 2, stride=2), nn.BatchNorm2d(4)
        self.groups, self.groups_bn = nn.Conv2d(4, 8, 3, groups=2, padding=2, dilation=2), nn.BatchNorm2d(8)
        self.depth, self.depth_bn = nn.Conv2d(8, 16, (3, 1), groups=8), nn.BatchNorm2d(16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.up_bn(self.up(torch.relu(self.down_bn(self.down(x))))))
        x = torch.relu(self.depth_bn(self.depth(F.relu6(self.groups_bn(self.groups(x))))))
        return F.adaptive_avg_pool2d(x, 1).flatten(1)


class OneAndThree(nn.Module):
    """Convolutions over one and over three dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.line, self.line_bn = nn.Conv1d(3, 4, 5), nn.BatchNorm1d(4)
        self.space, self.space_bn = nn.Conv3d(1, 2, 3, padding=1, bias=False), nn.BatchNorm3d(2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        line = torch.relu(self.line_bn(self.line(x.flatten(2)))).mean(dim=2)
        space = torch.relu(self.space_bn(self.space(x.unsqueeze(1)))).amax(dim=(2, 3, 4))
        return torch.cat([line, space], dim=1)


class Buffers(nn.Module):
    """Buffers of every type that are part of the computation, and some that are not."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.5, -0.25, 0.125]).reshape(3, 1, 1))
        self.register_buffer("order", torch.tensor([2, 0, 1]))
        self.register_buffer("small", torch.tensor([1, 0, 2], dtype=torch.int32))
        self.register_buffer("mask", torch.tensor([True, False, True]))
        self.register_buffer("wide", torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64))
        self.register_buffer("unused", torch.arange(6.0))
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("hidden", torch.tensor([1.0, 3.0, 1.0]).reshape(3, 1, 1), persistent=False)
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = ((x - self.mean) * self.hidden)[:, self.order][:, self.small.long()]
        x = torch.where(self.mask.reshape(3, 1, 1), x, x * self.wide.float().reshape(3, 1, 1))
        return self.conv(x).mean(dim=(2, 3))


class Unused(nn.Module):
    """An auxiliary head that only training uses, and parameters that nothing uses."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6)
        self.head = nn.Linear(6, 4)
        self.aux = nn.Sequential(nn.Conv2d(6, 6, 3), nn.BatchNorm2d(6), nn.Flatten(), nn.Linear(6 * 24, 4))
        self.spare = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.conv(x)))
        logits = self.head(x.mean(dim=(2, 3)))
        return logits + self.aux(x) if self.training else logits


class Tied(nn.Module):
    """Two layers share a weight, one of them before a norm; a layer and an embedding share a weight; a module has two names."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.bn1, self.fc2 = nn.Linear(30, 30), nn.BatchNorm1d(30), nn.Linear(30, 30)
        self.fc2.weight = self.fc1.weight
        self.out, self.words = nn.Linear(30, 8, bias=False), nn.Embedding(8, 30)
        self.out.weight = self.words.weight
        self.start = nn.Linear(240, 30)
        self.again = self.start

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.again(x.flatten(1)))
        x = torch.relu(self.fc2(torch.relu(self.bn1(self.fc1(x)))))
        place = (x[:, 0] > 0).long() + 3
        return self.out(x + self.words(place))


class TiedAside(nn.Module):
    """A folded layer and its norm that have second names, which the outputs do not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.main = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.copy = self.main
        self.aside = nn.Conv2d(3, 4, 3)
        self.aside.weight = self.main[0].weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.copy(x)).mean(dim=(2, 3))


class Squeeze(nn.Module):
    """Squeeze and excitation, hard-swish, dropout, one relu for all, views, a negative and a zero gamma."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn, self.relu = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU()
        self.squeeze, self.excite = nn.Linear(8, 4), nn.Linear(4, 8)
        self.mix, self.mix_bn = nn.Conv2d(8, 8, 1, bias=False), nn.BatchNorm2d(8)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(32, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn(self.conv(x)))
        gate = torch.sigmoid(self.excite(self.relu(self.squeeze(x.mean(dim=(2, 3))))))
        x = F.hardswish(self.mix_bn(self.mix(x * gate.view(-1, 8, 1, 1))))
        x = F.adaptive_max_pool2d(self.relu(x), 2)
        return self.fc(self.drop(x.reshape(-1, 32)))


class Frozen(nn.Module):
    """A norm whose four tensors are buffers, and one whose variance is looked at elsewhere too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.frozen = nn.Module()
        for name in ("weight", "bias", "running_mean", "running_var"):
            self.frozen.register_buffer(name, torch.rand(4) + 0.5)
        self.bn = nn.BatchNorm2d(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        f = self.frozen
        x = F.batch_norm(self.conv(x), f.running_mean, f.running_var, f.weight, f.bias)
        return self.bn(self.out(torch.relu(x))).mean(dim=(2, 3)) + self.bn.running_var


class Names(nn.Module):
    """Parameters of the network itself, called like values of a graph."""

    def __init__(self) -> None:
        super().__init__()
        for name in ("x", "mul", "add", "input", "output", "v0", "v1", "v2", "k0", "k1", "relu", "val_0"):
            setattr(self, name, nn.Parameter(torch.rand(3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.mean(dim=(2, 3)) * self.mul + self.add
        x = torch.relu(x * self.x * self.input * self.output + self.v0)
        return x * self.v1 + self.v2 * self.k0 + self.k1 * self.relu + self.val_0


class Branch(nn.Module):
    """A graph inside the graph, with its own weights in both arms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.yes, self.no = nn.Linear(144, 8), nn.Linear(8, 4), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x.flatten(1)))
        return torch.cond(x.sum() > 3, lambda h: self.yes(h), lambda h: self.no(h).neg(), (x,))


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "norm after linear": (NormAfterLinear, IMAGE),
    "norm twice": (NormTwice, WIDE),
    "conv twice": (ConvTwice, WIDE),
    "norms without": (NormsWithout, WIDE),
    "transposed": (Transposed, WIDE),
    "one and three": (OneAndThree, WIDE),
    "buffers": (Buffers, WIDE),
    "unused": (Unused, WIDE),
    "tied": (Tied, WIDE),
    "tied aside": (TiedAside, WIDE),
    "squeeze": (Squeeze, WIDE),
    "frozen": (Frozen, WIDE),
    "names": (Names, WIDE),
}

CHAINS = (
    [{"scheme": "prune", "sparsity": 0.6}, {"scheme": "linear", "bits": 4}],
    [{"scheme": "pattern", "scale": "kernel"}],
    [{"scheme": "linear", "bits": 6, "per": "filter"}],
    [{"scheme": "share", "bits": 3}],
    [{"scheme": "pattern", "scale": "filter", "train": "straight-through"}],
    [{"scheme": "prune", "sparsity": 0.5}, {"scheme": "share", "bits": 2}],
    [{"scheme": "pattern", "scale": "layer"}],
    [{"scheme": "prune", "sparsity": 0.7}],
    [{"scheme": "keep", "dtype": "float32"}],
)

Ready = tuple[nn.Module, ExportedGraph, tuple[int, ...]]
"""A network, its graph, the shape of an input."""


FLOAT = Recipe(
    "floats", rest=Rest(({"scheme": "keep", "dtype": "float32"},), ({"scheme": "keep", "dtype": "float32"},))
)
"""Every number kept as it is."""


@functools.cache
def traced(name: str) -> Ready:
    """A network of this page or of the catalogue, with random weights and statistics; traced once."""
    torch.manual_seed(0)
    make, shape = NETWORKS.get(name, (lambda: build(name), (1, 28, 28)))
    model = make()
    shake(model)
    return model, export_graph(model, shape), shape


def packed(ready: Ready, recipe: Recipe, codecs: tuple[str, ...]) -> PackedModel:
    """The file, read back from its bytes."""
    model, graph, shape = ready
    report = inspect(model, shape)
    network = ParametrizedNetwork(model, make_plan(recipe, sites(model, report), SCHEMES))
    network.start_rest()
    network.advance(list(SCHEMES), 1.0)
    about = PackInput("test", report.params, InputSpec(shape))
    made = pack(about, graph, network.state(), network.coded(), code=network.code_anew, codecs=codecs)
    return PackedModel.from_bytes(made.to_bytes())


def shake(model: nn.Module) -> None:
    """Weights, gammas and statistics as a trained network might have them: some negative, one zero."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.affine:
                module.weight[0], module.weight[1] = -0.7, 0.0
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats:
                module.running_mean.normal_()
                module.running_var.uniform_(0.05, 4.0)
                module.num_batches_tracked.fill_(17)


def mixed_recipe(model: nn.Module, shape: tuple[int, ...]) -> Recipe:
    """Another chain for every weight, as far as it can have it; 8 bits for biases and norms."""
    chains = itertools.cycle(CHAINS)
    rules = []
    for site in sites(model, inspect(model, shape)):
        if len(site.shape) >= 2 and site.kind != "norm" and not site.tied:
            for chain in itertools.islice(chains, len(CHAINS)):
                if not any(make_scheme(table, SCHEMES, "").refuse(site) for table in chain):
                    rules.append(Rule(tuple(chain), layers=(site.layer,)))
                    break
    untied = all(not site.tied for site in sites(model, inspect(model, shape)))
    biases = ({"scheme": "linear", "bits": 8},) if untied else ({"scheme": "keep"},)
    return Recipe("mixed", rule=tuple(rules), rest=Rest(biases=biases))
