"""Rewrites from a recipe: which layers a table finds, what cannot be, and the whole way to a file."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import sepnet
from sepnet.cli import terminal
from sepnet.core.dataset import Dataset
from sepnet.core.errors import RecipeError, WeightsError
from sepnet.core.recipe import Recipe, Rest, Rule, Stage, load_recipe
from sepnet.core.rewrite import RewriteRow
from sepnet.networks import build
from sepnet.steps.info import info
from sepnet.steps.report import write_report
from sepnet.training.rewriting import rewrite_layers

LOW = {"rewrite": "low_rank", "layers": ["conv"], "rank": 4}
POOL = {"rewrite": "global_pool", "layers": ["fc1"], "positions": 16}
BESIDE = {"rewrite": "pattern_residual", "layers": ["conv.kxk"]}
RECIPE = Recipe(
    "rewrite, then signs and 8 bits",
    (Rule(({"scheme": "pattern", "train": "straight-through"},), ("conv.kxk.kxk",)),),
    Rest(({"scheme": "linear", "bits": 8, "per": "filter"},)),
    (Stage("signs", ("pattern",), 2),),
    {"lr": 0.01, "batch": 16, "distill": 0.5},
    name="test",
    rewrite=(LOW, BESIDE, POOL),
)


def recipe(*tables: dict[str, Any]) -> Recipe:
    return Recipe("t", rewrite=tables, name="mine")


def test_the_whole_way(data: Dataset, trained: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = copy.deepcopy(trained.state_dict())
    made = sepnet.compress(trained, RECIPE, data, seed=3)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())
    assert [row.stage for row in made.rows] == ["float", "rewritten", "signs", "packed"]
    assert made.rows[0].top1 > 0.95 and made.rows[-1].top1 > 0.5
    params = sum(p.numel() for p in trained.parameters())
    assert made.header.params == params and made.rows[1].bytes < 0.8 * made.rows[0].bytes
    layers = [(row.layer, row.rewrite, row.params_before, row.params_after) for row in made.rewrites]
    assert layers == [
        ("conv", "low_rank", 1152, 4 * 72 + 64),
        ("conv.kxk", "pattern_residual", 288, 288 + 32),
        ("fc1", "global_pool", 256 * 16 + 16, 16 * 16 + 16),
    ]
    errors = [row.error for row in made.rewrites]
    assert 0 < errors[0] < 1 and errors[1] == 0 and 0 < errors[2] < 1
    schemes = {tensor.name: tensor.scheme for tensor in made.info().tensors}
    assert schemes["conv.kxk.kxk.weight"] == "pattern" and schemes["conv.kxk.pointwise.weight"] == "linear"
    made.unpack(tmp_path / "w.safetensors")
    fresh = sepnet.rewrite(trained, RECIPE)
    fresh.load_state_dict(load_file(tmp_path / "w.safetensors"), strict=True)
    batch = data.batch(data.test.images)
    with torch.no_grad():
        np.testing.assert_allclose(fresh.eval()(torch.from_numpy(batch)).numpy(), made.run(batch), atol=1e-3)
    write_report(tmp_path / "r.html", RECIPE, made.rows, info(made), data="stripes", rewrites=made.rewrites)
    page = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<h2>Rewrites</h2>" in page and "pattern_residual" in page
    terminal.print_rewrites(made.rewrites)
    assert "low_rank" in capsys.readouterr().out


def test_fewer_channels_and_then_every_scheme(
    data: Dataset, trained: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str], quick_export: None
) -> None:
    """The file has the new shapes in its graph, and what it unpacks to fits the network that `sepnet.rewrite` makes."""
    pytest.importorskip("torch_pruning", reason="needs the extra channels")
    rules = (
        Rule(({"scheme": "pattern", "train": "straight-through"},), ("conv",)),
        Rule(({"scheme": "prune", "sparsity": 0.4}, {"scheme": "linear", "bits": 6}), ("fc1", "fc2")),
    )
    stages = (Stage("fine-tuned", (), 1), Stage("signs", ("pattern", "prune", "linear"), 2))
    table = {"rewrite": "channels", "layers": ["*"], "macs": 0.5}
    mine = Recipe("t", rules, Rest(), stages, {"lr": 0.02, "batch": 16}, name="mine", rewrite=(table,))
    made = sepnet.compress(trained, mine, data, seed=3)
    assert [row.stage for row in made.rows] == ["float", "rewritten", "fine-tuned", "signs", "packed"]
    whole = made.rewrites[0]
    assert (whole.layer, whole.macs_before) == ("", sepnet.inspect(trained, data.input_shape).macs)
    assert whole.macs_before and whole.macs_after and 0.4 < whole.macs_after / whole.macs_before <= 0.5
    assert made.rows[-1].top1 > 0.8
    made.write(tmp_path / "m.sepnet")
    file = sepnet.read(tmp_path / "m.sepnet")
    file.unpack(tmp_path / "w.safetensors")
    fresh = sepnet.rewrite(trained, mine, data)
    fresh.load_state_dict(load_file(tmp_path / "w.safetensors"), strict=True)
    assert fresh.get_submodule("conv").weight.shape[0] < 16
    batch = data.batch(data.test.images)
    with torch.no_grad():
        np.testing.assert_allclose(fresh.eval()(torch.from_numpy(batch)).numpy(), file.run(batch), atol=1e-3)
    terminal.print_rewrites(made.rewrites)
    shown = capsys.readouterr().out.splitlines()
    assert shown[1].split() == [
        "layer",
        "rewrite",
        "channels",
        "after",
        "params",
        "after",
        "macs",
        "after",
        "relative",
        "error",
    ]
    assert shown[2].split()[:2] == ["(network)", "channels"] and len(shown) == 2 + len(made.rewrites)


def test_a_recipe_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('title = "t"\n[[rewrite]]\nrewrite = "low_rank"\nlayers = ["conv2"]\nrank = 10\n', encoding="utf-8")
    loaded = load_recipe(path)
    assert loaded.digest() != Recipe("t").digest()
    made = sepnet.rewrite(build("lenet5"), path)
    assert made.get_submodule("conv2.kxk").weight.shape == (10, 20, 5, 5)
    with pytest.raises(RecipeError, match="would be called 'rewritten'"):
        load_recipe(Recipe("t", rewrite=(LOW,), stage=(Stage("rewritten"),)))


def rewritten(model: nn.Module, *tables: dict[str, Any]) -> tuple[RewriteRow, ...]:
    return rewrite_layers(model, recipe(*tables))[1]


def test_which_layers_a_table_finds() -> None:
    group = {"rewrite": "group", "groups": 4}
    names = [row.layer for row in rewritten(build("resnet20_cifar"), {**group, "layers": ["layer[12]*"]})]
    assert len(names) == 12 and all(name.startswith(("layer1.", "layer2.")) for name in names)
    model = build("mixed_cnn")
    ones = [row.layer for row in rewritten(model, {**group, "groups": 2, "layers": ["*"], "kinds": ["conv 1x1"]})]
    assert ones and all(model.get_submodule(name).kernel_size == (1, 1) for name in ones)
    made, rows = rewrite_layers(nn.Conv2d(4, 4, 3), recipe({"rewrite": "low_rank", "rank": 1, "layers": [""]}))
    assert isinstance(made, nn.Sequential) and [row.layer for row in rows] == [""]


class Twice(nn.Module):
    """One convolution under two names, one tied weight, and one used without its forward."""

    def __init__(self) -> None:
        super().__init__()
        self.a = self.b = nn.Conv2d(4, 4, 3, padding=1)
        self.c, self.d, self.e = (nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.d.weight = self.c.weight
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.d(self.c(self.b(self.a(x.expand(-1, 4, -1, -1)))))
        return self.fc(nn.functional.conv2d(x, self.e.weight).mean((2, 3)))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"layers": ["conv9"]}, "'conv9' matches no layer; the layers are: a (conv kxk), c (conv kxk)"),
        ({"layers": ["f*"]}, "'f*' matches no layer of kind conv kxk"),
        ({"layers": ["a"], "kinds": ["fc"]}, "'a' matches no layer of kind fc"),
        ({"layers": ["fc"]}, "cannot work on layer 'fc': found a Linear; expected a torch.nn.Conv2d"),
        ({"layers": ["a"]}, "layer 'a': it is also b"),
        ({"layers": ["c"]}, "c.weight and d.weight are one tensor"),
        ({"layers": ["e"], "rank": 99}, "layer 'e': rank = 99; expected 1 to 4"),
        ({"layers": ["e"], "rewrite": "svd"}, "unknown rewrite 'svd'"),
    ],
)
def test_what_cannot_be(table: dict[str, Any], words: str) -> None:
    with pytest.raises(RecipeError) as caught:
        sepnet.rewrite(Twice(), recipe({"rewrite": "low_rank", "rank": 2, **table}))
    assert words in str(caught.value) and str(caught.value).startswith("recipe mine: rewrite 1: ")
    assert "\n" not in str(caught.value) and caught.value.exit_code == 2


def test_a_layer_that_the_network_does_not_call(data: Dataset) -> None:
    table = {"rewrite": "low_rank", "rank": 2, "layers": ["e"]}
    with pytest.raises(RecipeError, match=r"after its rewrites the network does not run: .*weight"):
        sepnet.compress(Twice(), recipe(table), data)


def test_broken_weights() -> None:
    model = build("lenet5")
    nn.init.constant_(model.conv2.weight, float("nan"))
    with pytest.raises(WeightsError, match=r"conv2\.weight"):
        sepnet.rewrite(model, recipe({**LOW, "layers": ["conv2"]}))
