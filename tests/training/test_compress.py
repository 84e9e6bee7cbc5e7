"""compress, from the Python door: the user's network stays, the rows are true, and the file is the result."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.nn.utils import parametrize

import sepnet
from sepnet.core.choices import Tried
from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import NetworkError, RecipeError, SepnetError, UsageError, WeightsError
from sepnet.core.observer import Callbacks
from sepnet.core.packed_model import PackedModel
from sepnet.core.recipe import Recipe, Rest, Rule, Stage
from sepnet.core.score import Score
from sepnet.steps.compress import compress as compress_step
from sepnet.training.fit import score

RECIPE = Recipe(
    "prune, then share and quantize",
    (
        Rule(({"scheme": "prune", "sparsity": 0.8, "schedule": "cubic"}, {"scheme": "share", "bits": 3}), ("fc1",)),
        Rule(({"scheme": "pattern", "scale": "filter"},), ("conv",)),
    ),
    Rest(({"scheme": "linear", "bits": 8, "per": "filter"},), ({"scheme": "linear", "bits": 8},)),
    (Stage("pruned", ("prune", "pattern"), 2), Stage("shared", ("share",), 1), Stage("last", ("linear",), 1)),
    {"lr": 0.01, "batch": 16, "distill": 0.2},
    name="test",
)


@pytest.fixture(scope="module")
def packed(trained: nn.Module, data: Dataset) -> sepnet.PackedModel:
    """The small problem, compressed for real."""
    return sepnet.compress(trained, RECIPE, data, seed=3)


def test_the_users_module_is_untouched(data: Dataset, trained: nn.Module, quick_export: None) -> None:
    model = copy.deepcopy(trained).train()
    model.bn.eval()  # type: ignore[operator, union-attr]
    calls: list[int] = []
    model.fc1.register_forward_hook(lambda *_: calls.append(1))  # type: ignore[operator, union-attr]
    kept = {
        name: (tensor, tensor.clone(), tensor._version) for name, tensor in model.state_dict(keep_vars=True).items()
    }
    modes = [module.training for module in model.modules()]
    grads = [parameter.grad for parameter in model.parameters()]
    attributes = [sorted(vars(module)) for module in model.modules()]
    torch.manual_seed(42)
    sepnet.compress(model, RECIPE, data)
    for name, tensor in model.state_dict(keep_vars=True).items():
        same, before, version = kept[name]
        assert tensor is same and torch.equal(tensor, before) and tensor._version == version
    assert [module.training for module in model.modules()] == modes
    assert [parameter.grad for parameter in model.parameters()] == grads == [None] * len(grads)
    assert [sorted(vars(module)) for module in model.modules()] == attributes
    assert not any(parametrize.is_parametrized(module) for module in model.modules())
    assert len(model.fc1._forward_hooks) == 1  # type: ignore[union-attr]


def test_rows_tell_the_way(packed: sepnet.PackedModel, trained: nn.Module, data: Dataset) -> None:
    rows = packed.rows
    assert [row.stage for row in rows] == ["float", "pruned", "shared", "last", "packed"]
    sizes = [row.bytes for row in rows]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 5
    assert sizes[-1] == packed.bytes == len(packed.to_bytes())
    params = sum(parameter.numel() for parameter in trained.parameters())
    assert packed.header.params == params
    for row in rows:
        assert row.ratio == pytest.approx(4 * params / row.bytes) and 0.25 <= row.top1 <= 1 and row.ms > 0
    pruned = round(0.8 * trained.fc1.weight.numel()) / params  # type: ignore[operator, union-attr]
    assert rows[0].kept == pytest.approx(1.0, abs=0.01) and rows[1].kept == pytest.approx(1 - pruned, abs=0.01)
    assert rows[0].top1 == score(trained, data, data.test).top1
    assert rows[-1].top1 > 0.8
    assert "inf" not in repr(rows) and "nan" not in repr(rows)


def test_what_is_reported_is_what_the_file_does(packed: sepnet.PackedModel, data: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "net.sepnet"
    packed.write(path)
    again = sepnet.read(path)
    found = again.evaluate(data)
    assert isinstance(found, Score) and found == packed.evaluate(data)
    assert (found.n, found.top1) == (60, packed.rows[-1].top1)
    assert path.stat().st_size == again.bytes == packed.rows[-1].bytes and again.rows == ()
    assert again.ratio == packed.rows[-1].ratio


def test_run_unpack_and_info_agree(
    packed: sepnet.PackedModel, trained: nn.Module, data: Dataset, tmp_path: Path
) -> None:
    batch = data.batch(data.test.images)
    logits = packed.run(batch)
    assert logits.shape == (60, 4) and logits.dtype == np.float32
    assert np.allclose(packed.run(batch[:1]), logits[:1], atol=1e-5)
    packed.unpack(tmp_path / "w.safetensors")
    model = copy.deepcopy(trained)
    model.load_state_dict(load_file(tmp_path / "w.safetensors"), strict=True)
    with torch.no_grad():
        assert np.allclose(model.eval()(torch.from_numpy(batch)).numpy(), logits, rtol=1e-3, atol=1e-3)
    assert set(packed.state_dict()) == set(trained.state_dict())
    report = packed.info()
    assert report.bytes == packed.bytes and report.params == packed.header.params
    parts = report.fixed_bytes + report.header_bytes + report.graph_bytes + sum(t.bytes for t in report.tensors)
    assert parts == report.bytes
    schemes = {tensor.name: tensor.scheme for tensor in report.tensors}
    assert schemes["fc1.weight"] == "prune + share" and schemes["conv.weight"] == "pattern"
    assert next(t.kept for t in report.tensors if t.name == "fc1.weight") == 4096 - round(0.8 * 4096)
    assert report.made["recipe"] == "test" and report.made["seed"] == 3 and report.made["digest"] == RECIPE.digest()
    assert json.loads(json.dumps(report.made)) == report.made


def test_a_seed_gives_the_same_file(data: Dataset, trained: nn.Module, quick_export: None) -> None:
    files = []
    for seed in (0, 0, 1):
        torch.manual_seed(99 + len(files))
        files.append(sepnet.compress(trained, RECIPE, data, seed=seed, epochs=3))
    assert files[0].to_bytes() == files[1].to_bytes()
    assert files[0].payloads != files[2].payloads, "the header holds the seed, so look at the weights"


def test_the_score_is_of_the_file_read_back(
    data: Dataset, trained: nn.Module, monkeypatch: pytest.MonkeyPatch, quick_export: None
) -> None:
    """The bytes are made to hold another network: its score is told, and its size."""
    stranger = copy.deepcopy(trained)
    with torch.no_grad():
        stranger.fc2.weight.neg_()  # type: ignore[operator, union-attr]
    other = sepnet.compress(stranger, Recipe("t", rest=Rest(({"scheme": "linear", "bits": 4},))), data)
    written = other.to_bytes()
    monkeypatch.setattr(PackedModel, "to_bytes", lambda *_, **__: written)
    row = sepnet.compress(trained, Recipe("t", rest=Rest(({"scheme": "linear"},))), data).rows[-1]
    assert (row.top1, row.bytes) == (other.rows[-1].top1, len(written)) and row.top1 < 0.5


def test_best_tries_codecs_that_read_slowly(data: Dataset, trained: nn.Module, quick_export: None) -> None:
    recipe = Recipe("t", rest=Rest(({"scheme": "linear", "bits": 4},)))
    plain, best = (sepnet.compress(trained, recipe, data, best=best) for best in (False, True))
    assert "mx1" not in {tensor.codec for tensor in plain.info().tensors}
    assert "mx1" in {tensor.codec for tensor in best.info().tensors} and best.bytes < plain.bytes


def test_without_epochs_everything_is_applied_at_once(data: Dataset, trained: nn.Module, quick_export: None) -> None:
    made = sepnet.compress(trained, RECIPE, data, epochs=0)
    fc1 = next(tensor for tensor in made.info().tensors if tensor.name == "fc1.weight")
    assert fc1.scheme == "prune + share" and fc1.kept == 4096 - round(0.8 * 4096)
    stageless = sepnet.compress(trained, msgspec.structs.replace(RECIPE, stage=()), data)
    assert [row.stage for row in stageless.rows] == ["float", "packed"]
    assert {t.name: t.kept for t in stageless.info().tensors} == {t.name: t.kept for t in made.info().tensors}


def test_rows_and_progress_are_called_back(data: Dataset, trained: nn.Module, quick_export: None) -> None:
    rows: list[Any] = []
    ticks: list[Any] = []
    made = sepnet.compress(trained, RECIPE, data, epochs=3, progress=ticks.append, on_row=rows.append)
    assert tuple(rows) == made.rows
    assert list(dict.fromkeys(tick.task for tick in ticks)) == [
        "export",
        "pruned",
        "shared",
        "last",
        "pack",
        "evaluate",
    ]
    assert all(0 <= tick.done <= tick.total for tick in ticks)


DATA_MODULE = """
import numpy as np
from sepnet import Dataset, Split

def stripes(images=64, data_dir=None):
    random = np.random.default_rng(0)
    labels = np.arange(images) % 4
    pixels = random.integers(0, 60, (images, 1, 8, 8)).astype(np.uint8)
    for image, label in zip(pixels, labels):
        image[0, label * 2 : label * 2 + 2] += 150
    split = Split(pixels, labels.astype(np.int64))
    return Dataset("mine", ("a", "b", "c", "d"), split, split, (0.5,), (0.3,))
"""


def test_data_by_name_and_recipe_by_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: nn.Module, quick_export: None
) -> None:
    (tmp_path / "my_stripes.py").write_text(DATA_MODULE)
    (tmp_path / "mine.toml").write_text('title = "t"\n[rest]\nweights = [{ scheme = "linear", bits = 8 }]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    made = sepnet.compress(trained, "mine.toml", "my_stripes:stripes?images=80")
    assert made.header.made["recipe"] == "mine" and made.header.classes == ("a", "b", "c", "d")
    assert made.evaluate("my_stripes:stripes?images=80").n == 80


def test_a_codec_by_name(data: Dataset, trained: nn.Module, quick_export: None) -> None:
    rule = Rule(({"scheme": "linear", "bits": 4},), ("fc1",), codec="dense_huffman")
    made = sepnet.compress(trained, Recipe("t", (rule,)), data)
    assert next(t.codec for t in made.info().tensors if t.name == "fc1.weight").startswith("dense_huffman")


@pytest.mark.parametrize("codec", ["hufman", "dense:3", "relative_index:x", ""])
def test_a_wrong_codec_is_found_before_training(data: Dataset, trained: nn.Module, codec: str) -> None:
    rule = Rule(({"scheme": "linear", "bits": 4},), ("fc1",), codec=codec)
    with pytest.raises(RecipeError, match="recipe mine: rule 1: "):
        sepnet.compress(trained, Recipe("t", (rule,), name="mine"), data)


def broken(model: nn.Module, name: str, value: float) -> nn.Module:
    model = copy.deepcopy(model)
    model.state_dict()[name].view(-1)[0] = value
    return model


def other_classes(data: Dataset, count: int) -> Dataset:
    return Dataset("other", tuple(map(str, range(count))), data.train, data.test, data.mean, data.std)


def test_what_cannot_work_is_said_at_once(data: Dataset, trained: nn.Module, quick_export: None) -> None:
    with pytest.raises(WeightsError, match=r"fc1.weight holds 1 NaN or Inf"):
        sepnet.compress(broken(trained, "fc1.weight", np.nan), RECIPE, data)
    with pytest.raises(NetworkError, match="4 outputs, other has 7 classes"):
        sepnet.compress(trained, RECIPE, other_classes(data, 7))
    wide = np.zeros((8, 1, 9, 9), np.uint8)
    split = Split(wide, np.arange(8) % 4)
    with pytest.raises(NetworkError, match=r"shape \(1, 9, 9\) does not fit"):
        sepnet.compress(trained, RECIPE, Dataset("wide", data.classes, split, split, (0.5,), (0.3,)))
    with pytest.raises(RecipeError, match="matches no layer"):
        sepnet.compress(trained, "lenet300-mnist", data)
    with pytest.raises(UsageError, match="epochs = -1"):
        sepnet.compress(trained, RECIPE, data, epochs=-1)
    wrong = msgspec.structs.replace(RECIPE, stage=(Stage("s", ("share",), 1),))
    with pytest.raises(RecipeError, match="'share' before 'prune'"):
        sepnet.compress(trained, wrong, data)


def test_divergence_gives_advice(data: Dataset, trained: nn.Module, quick_export: None) -> None:
    hot = msgspec.structs.replace(RECIPE, train={"lr": 1e6, "batch": 8}, stage=(Stage("hot", ("prune",), 20),))
    with pytest.raises(NetworkError, match=r"stage 'hot', epoch .* a smaller lr than 1000000.0 may help"):
        sepnet.compress(trained, hot, data)


def test_a_recipe_that_does_not_compress(data: Dataset) -> None:
    tiny = nn.Sequential(nn.Flatten(), nn.Linear(64, 4))
    keep = ({"scheme": "keep", "dtype": "float32"},)
    with pytest.raises(SepnetError, match="does not compress this network"):
        sepnet.compress(tiny, Recipe("t", rest=Rest(keep, keep)), data)


class Odd(nn.Module):
    """Tied weights, a parameter of its own, a buffer, and memory laid out for images."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 16, 3, padding=1)
        self.scale = nn.Parameter(torch.full((16, 1, 1), 0.9))
        self.register_buffer("offset", torch.linspace(0, 0.1, 8))
        self.mix = nn.Linear(128, 128)
        self.back = nn.Linear(128, 128, bias=False)
        self.back.weight = self.mix.weight
        self.end = nn.Linear(128, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x + self.offset) * self.scale).mean(3).flatten(1)
        return self.end(torch.relu(self.back(torch.relu(self.mix(x)))))  # type: ignore[no-any-return]


def test_a_network_with_tied_weights_and_parameters_of_its_own(data: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Odd().to(memory_format=torch.channels_last)
    rules = (
        Rule(({"scheme": "prune", "sparsity": 0.5}, {"scheme": "linear", "bits": 6}), ("conv", "end")),
        Rule(({"scheme": "keep"},), ("mix",)),
    )
    recipe = Recipe("t", rules, stage=(Stage("s", ("prune",), 2), Stage("q", ("linear",), 1)), train={"batch": 16})
    made = sepnet.compress(model, recipe, data)
    made.unpack(tmp_path / "w.safetensors")
    again = Odd()
    again.load_state_dict(load_file(tmp_path / "w.safetensors"), strict=True)
    assert torch.equal(again.mix.weight, again.back.weight)
    batch = data.batch(data.test.images)
    with torch.no_grad():
        assert np.allclose(again.eval()(torch.from_numpy(batch)).numpy(), made.run(batch), atol=1e-4)
    with pytest.raises(RecipeError, match=r"tied to back.weight"):
        sepnet.compress(model, Recipe("t", rest=Rest(({"scheme": "linear"},))), data)


def test_open_choices_are_settled_on_held_out_training_images(
    data: Dataset, trained: nn.Module, quick_export: None
) -> None:
    table = {"scheme": "pattern", "scale": "global", "offset": {"try": [1e-6, 0.1]}}
    recipe = Recipe("t", name="r", rule=(Rule((table,), kinds=("conv kxk",)),), holdout=24)
    tried: list[Tried] = []
    report = sepnet.inspect(trained, (1, 8, 8), "net")
    done = compress_step(trained, recipe, data, report, observer=Callbacks(choice=tried.append))
    assert [choice.value for choice in tried] == [0.1] and set(tried[0].top1) == {"1e-06", "0.1"}
    assert all(top1 * 24 == pytest.approx(round(top1 * 24)) for top1 in tried[0].top1.values())
    assert tried[0].top1["0.1"] > tried[0].top1["1e-06"]
    assert done.packed.header.made["digest"] == recipe.digest()


def test_another_teacher_changes_the_result_and_must_fit(data: Dataset, trained: nn.Module, quick_export: None) -> None:
    report = sepnet.inspect(trained, (1, 8, 8), "net")
    stranger = copy.deepcopy(trained)
    with torch.no_grad():
        stranger.fc2.weight.neg_()  # type: ignore[operator, union-attr]
    own, same, other = (
        compress_step(trained, RECIPE, data, report, epochs=3, teacher=teacher).packed.to_bytes()
        for teacher in (None, trained, stranger)
    )
    assert own == same != other
    with pytest.raises(NetworkError, match="outputs"):
        compress_step(trained, RECIPE, data, report, teacher=nn.Sequential(nn.Flatten(), nn.Linear(64, 7)))


def test_a_price_makes_the_file_smaller(trained: nn.Module, data: Dataset, quick_export: None) -> None:
    sizes = []
    for price in (0.0, 20.0):
        chain = ({"scheme": "prune", "sparsity": 0.5}, {"scheme": "rate", "price": price, "bits": 4})
        recipe = Recipe(
            "rate",
            (Rule(chain, ("fc1",)), Rule(({"scheme": "rate", "price": price},), ("conv", "stem", "fc2"))),
            Rest((), ({"scheme": "rate", "price": price, "bits": 8},)),
            (Stage("pruned", ("prune",), 1), Stage("rate", ("rate",), 3)),
            {"lr": 0.02, "batch": 16},
            name="test",
        )
        packed = sepnet.compress(trained, recipe, data)
        assert packed.rows[-1].top1 > 0.9
        sizes.append(sum(sum(entry.bytes) for entry in packed.header.tensors))
    assert sizes[1] < 0.8 * sizes[0]
