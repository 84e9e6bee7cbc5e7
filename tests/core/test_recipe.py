"""Recipes: every mistake names its key, the digest is stable, and epochs stretch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sepnet.core.choices import settle
from sepnet.core.errors import RecipeError, UsageError
from sepnet.core.plan import make_plan
from sepnet.core.recipe import Recipe, Rest, Rule, Stage, load_recipe, recipe_names, with_epochs
from sepnet.core.recipe_text import recipe_text
from sepnet.core.train_options import TrainOptions, train_options
from sepnet.networks import build
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import sites

GOOD = """
title = "prune, then quantize"
description = "words"
[train]
lr = 0.05
batch = 32
[[rule]]
layers = ["fc*"]
kinds = ["fc"]
codec = "dense"
schemes = [{ scheme = "prune", sparsity = 0.9 }, { scheme = "linear", bits = 4 }]
[[stage]]
name = "a"
start = ["prune"]
epochs = 3
[[stage]]
name = "b"
start = ["linear"]
epochs = 1
train = { lr = 0.01 }
"""
PRUNE, LINEAR, SHARE = {"scheme": "prune", "sparsity": 0.5}, {"scheme": "linear"}, {"scheme": "share"}


def write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, GOOD))
    assert (recipe.name, recipe.title, recipe.description) == ("mine", "prune, then quantize", "words")
    assert recipe.rule[0] == Rule(
        ({"scheme": "prune", "sparsity": 0.9}, {"scheme": "linear", "bits": 4}), ("fc*",), ("fc",), "dense"
    )
    assert recipe.rest == Rest()
    assert recipe.options(recipe.stage[0]) == TrainOptions(lr=0.05, batch=32)
    assert recipe.options(recipe.stage[1]) == TrainOptions(lr=0.01, batch=32)
    assert load_recipe(recipe) is recipe and load_recipe(str(tmp_path / "mine.toml")) == recipe


@pytest.mark.parametrize(
    "old, new, words",
    [
        ('title = "prune, then quantize"', "", ["title"]),
        ("lr = 0.05", 'lr = "fast"', ["found lr = 'fast'; expected a number", "stage 'a'"]),
        ("lr = 0.05", "lr = 0", ["found lr = 0.0; expected a number above 0"]),
        ("lr = 0.05", "lr = nan", ["lr = nan; expected a number above 0"]),
        ("lr = 0.05", "lr = inf", ["lr = inf; expected a number above 0"]),
        ("lr = 0.05", "learning_rate = 1", ["unknown key 'learning_rate'", "choices: batch, ", "stage 'a'"]),
        ("batch = 32", "batch = 0", ["batch = 0; expected 1 or more"]),
        ("batch = 32", "batch = 1.5", ["found batch = 1.5; expected an integer"]),
        ("batch = 32", "batch = true", ["found batch = true; expected an integer"]),
        ("batch = 32", 'optimizer = "lion"', ["unknown optimizer 'lion'", "choices: adamw, sgd"]),
        ("batch = 32", "distill = 1.5", ["distill = 1.5; expected 0 to 1"]),
        ("batch = 32", "label_smoothing = 1.0", ["label_smoothing = 1.0; expected 0 to below 1"]),
        ("batch = 32", "warmup = -1", ["warmup = -1"]),
        ("batch = 32", "shift = -1", ["shift = -1"]),
        ("batch = 32", "weight_decay = nan", ["weight_decay = nan"]),
        ("train = { lr = 0.01 }", "train = { lrr = 0.01 }", ["unknown key 'lrr'; did you mean 'lr'?", "stage 'b'"]),
        ("train = { lr = 0.01 }", "lr = 0.01", ["stage 2: unknown key 'lr'", "choices: epochs, name, start, train"]),
        ("[[rule]]", "[[rules]]", ["unknown key 'rules'; did you mean 'rule'?"]),
        (
            "codec =",
            "codek =",
            ["rule 1: unknown key 'codek'; did you mean 'codec'? choices: codec, kinds, layers, schemes"],
        ),
        (
            'layers = ["fc*"]',
            'layers = "fc*"',
            ["rule 1: found layers = 'fc*'; expected an array, each a text in quotes"],
        ),
        ("schemes = [", "schemas = [", ["rule 1: unknown key 'schemas'; did you mean 'schemes'?"]),
        ("epochs = 3", "epochs = -3", ["epochs = -3", "stage 'a'"]),
        ("epochs = 3", "epochs = 3.5", ["found epochs = 3.5; expected an integer"]),
        ('start = ["prune"]', 'start = ["prun"]', ["'prun'", "no rule uses", "stage 'a'", "keep, linear, prune"]),
        ('start = ["prune"]', 'start = ["linear"]', ["'linear'", "twice"]),
        ('start = ["prune"]', "start = []", ["stage 'b'", "'linear' before 'prune'", "prune -> linear"]),
        ('name = "b"', 'name = "a"', ["'a'", "two rows"]),
        ('name = "b"', 'name = "packed"', ["'packed'", "two rows"]),
        ('name = "b"', 'name = "float"', ["'float'", "two rows"]),
        ("[[rule]]", "[[rule", ["not valid TOML", "line"]),
        ("[[rule]]", "[rule]", ["expected tables, each under [[rule]]"]),
        (
            '[[stage]]\nname = "a"',
            '[rest]\nbias = []\n[[stage]]\nname = "a"',
            ["rest: unknown key 'bias'; did you mean 'biases'? choices: biases, weights"],
        ),
        ('name = "b"', 'name = "a/b"', ["found stage name 'a/b'; expected 1 to 80 letters, digits"]),
        ('name = "b"', 'name = ".."', ["found stage name '..'; expected"]),
        ('name = "b"', 'name = ""', ["found stage name ''; expected"]),
        ('name = "b"', 'nam = "b"', ["stage 2: unknown key 'nam'; did you mean 'name'?"]),
        ('name = "b"\n', "", ["stage 2: the key 'name' is missing; expected a text in quotes"]),
        ('{ scheme = "prune", sparsity = 0.9 }', "7", ["found schemes = [7, ", "expected an array, each a table"]),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert GOOD.count(old) == 1
    path = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(RecipeError) as raised:
        load_recipe(path)
    assert raised.value.exit_code == 2 and "\n" not in str(raised.value)
    for word in [*words, "mine"]:
        assert word in str(raised.value)


def test_a_scheme_name_that_is_no_text(tmp_path: Path) -> None:
    recipe = load_recipe(write(tmp_path, 'title = "t"\n[[rule]]\nschemes = [{ scheme = ["prune"] }]\n'))
    assert recipe.rule[0].schemes == ({"scheme": ["prune"]},)  # the plan refuses it, see test_plan.py


@pytest.mark.parametrize("name", ["no-such", "no/such.toml", "", ".", "sepnet"])
def test_no_such_recipe_lists_the_shelf(name: str) -> None:
    with pytest.raises(RecipeError, match=r"neither a readable file nor one of .*lenet300-mnist"):
        load_recipe(name)


def test_a_folder_or_binary_file_is_no_recipe(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "folder").mkdir()
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00title")
    reasons = {"folder.toml": "Is a directory", "folder": "Is a directory", "binary.toml": "byte 0 is no UTF-8"}
    for name, reason in reasons.items():
        with pytest.raises(RecipeError, match=f"{name}.*{reason}.*lenet300-mnist"):
            load_recipe(tmp_path / name)


def test_train_is_checked_without_a_stage(tmp_path: Path) -> None:
    for line, words in (
        ("batch = 0", "batch = 0; expected 1 or more"),
        ('optimizer = "adam"', "did you mean 'adamw'?"),
    ):
        with pytest.raises(RecipeError, match=words):
            load_recipe(write(tmp_path, f'title = "t"\n[train]\n{line}\n'))


@pytest.mark.parametrize(
    "starts, error",
    [
        ([["prune"], ["share"]], ""),
        ([["prune", "share"]], ""),
        ([["share", "prune"]], ""),
        ([["prune"]], ""),
        ([], ""),
        ([["share"]], "'share' before 'prune'"),
        ([["share"], ["prune"]], "'share' before 'prune'"),
        ([["linear"], ["prune"], ["share"]], ""),
        ([["linear", "share"], ["prune"]], "'share' before 'prune'"),
        ([["prune"], ["prune"]], "twice"),
        ([["prune", "prune"]], "twice"),
    ],
)
def test_schemes_of_a_chain_start_in_its_order(starts: list[list[str]], error: str) -> None:
    stages = tuple(Stage(f"s{at}", tuple(names)) for at, names in enumerate(starts))
    recipe = Recipe("t", rule=(Rule((PRUNE, SHARE)), Rule((LINEAR,))), stage=stages)
    if error:
        with pytest.raises(RecipeError, match=error):
            load_recipe(recipe)
    else:
        assert load_recipe(recipe) is recipe


def test_the_order_holds_for_the_rest_too() -> None:
    recipe = Recipe("t", rest=Rest(weights=(PRUNE, LINEAR)), stage=(Stage("s", ("linear",)),))
    with pytest.raises(RecipeError, match="'linear' before 'prune'"):
        load_recipe(recipe)


@pytest.mark.parametrize("settings", [{"lr": True}, {"lr": "0.1"}, {"mirror": 1}, {"no_such": 1}], ids=str)
def test_train_options_of_the_wrong_type(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=f"^--set: .*{next(iter(settings))}"):
        train_options(settings, "--set")


def test_digest_is_the_same_everywhere() -> None:
    """In another process, whose strings hash differently, and whatever the order of the keys."""
    code = "from sepnet.core.recipe import load_recipe; print(load_recipe('lenet300-mnist').digest())"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert other == load_recipe("lenet300-mnist").digest() and len(other) == 8 and int(other, 16) >= 0
    turned = Recipe("t", train={"lr": 0.1, "batch": 3}), Recipe("t", train={"batch": 3, "lr": 0.1})
    assert turned[0].digest() == turned[1].digest()


def test_digest_of_an_empty_recipe_stays() -> None:
    """Packed files name the digest of their recipe, so a change of it is a change of the format's meaning."""
    assert Recipe("t").digest() == Recipe("other", description="d", name="n").digest() == EMPTY_DIGEST


EMPTY_DIGEST = "634408fd"


def test_digest_changes_with_everything_that_counts() -> None:
    base = Recipe("t", rule=(Rule((PRUNE, LINEAR)),), stage=(Stage("a", ("prune",), 2),), train={"lr": 0.1})
    replace = msgspec.structs.replace
    others = [
        replace(base, rule=(Rule((LINEAR,)),)),
        replace(base, rule=(Rule(({**PRUNE, "sparsity": 0.51}, LINEAR)),)),
        replace(base, rule=(Rule((PRUNE, LINEAR), ("fc1",)),)),
        replace(base, rule=(Rule((PRUNE, LINEAR), kinds=("fc",)),)),
        replace(base, rule=(Rule((PRUNE, LINEAR), codec="dense"),)),
        replace(base, rule=(Rule((PRUNE, LINEAR)), Rule((LINEAR,), ("x",)))),
        replace(base, rest=Rest(weights=(LINEAR,))),
        replace(base, rest=Rest(biases=(LINEAR,))),
        replace(base, stage=(Stage("a", ("prune",), 3),)),
        replace(base, stage=(Stage("a", (), 2),)),
        replace(base, stage=(Stage("a", ("prune",), 2, {"lr": 0.2}),)),
        replace(base, train={"lr": 0.2}),
        replace(base, train={}),
    ]
    digests = [recipe.digest() for recipe in (base, *others)]
    assert len(set(digests)) == len(digests)


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), max_size=6), st.integers(0, 200))
def test_epochs_are_shared_in_proportion(epochs: list[int], total: int) -> None:
    recipe = Recipe("t", stage=tuple(Stage(f"s{at}", epochs=count) for at, count in enumerate(epochs)))
    if total and not sum(epochs):
        with pytest.raises(UsageError, match=f"found epochs = {total}, and no .*stage.* that trains"):
            with_epochs(recipe, total)
        return
    found = [stage.epochs for stage in with_epochs(recipe, total).stage]
    assert with_epochs(recipe, None) is recipe
    for before, after in zip(epochs, found, strict=True):
        assert (after > 0) == (before > 0 and total > 0)
        assert after == 0 or abs(after - total * before / sum(epochs)) <= 1
    assert with_epochs(recipe, sum(epochs)).stage == recipe.stage


def test_epochs_below_zero() -> None:
    with pytest.raises(UsageError, match="epochs = -1"):
        with_epochs(Recipe("t"), -1)


@pytest.mark.parametrize("name", recipe_names())
def test_the_text_of_a_recipe_reads_back(tmp_path: Path, name: str) -> None:
    recipe = load_recipe(name)
    again = load_recipe(write(tmp_path, recipe_text(recipe)))
    assert msgspec.structs.replace(again, name=name) == recipe


def test_the_text_of_odd_values(tmp_path: Path) -> None:
    odd = {"a b": '"\\\n\x7fü', "c": [1, 2.5e-7], "d": {"try": [True, 1e300]}}
    recipe = Recipe("t", rule=(Rule(({"scheme": "x", **odd},)),), stage=(Stage("s", train={"lr": 1e-05}),))
    assert load_recipe(write(tmp_path, recipe_text(recipe))) == msgspec.structs.replace(recipe, name="mine")


def test_the_table_of_concepts_lists_every_recipe() -> None:
    page = (Path(__file__).parents[2] / "docs" / "concepts.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("|")]
    assert not [name for name in recipe_names() if not any(f"`{name}`" in row for row in rows)]


def test_the_shelf_is_what_is_in_recipes() -> None:
    files = sorted(path.stem for path in (Path(__file__).parents[2] / "recipes").glob("*.toml"))
    assert recipe_names() == files and files


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_on_the_shelf_fits_its_network(name: str) -> None:
    """The network is what stands before the first "-"; `sepnet-r` alone keeps everything."""
    prefix = name.split("-")[0]
    names = {"mixed": "mixed_cnn", "resnet": "resnet20_cifar", "sepnet": "sepnet_cifar", "talk": "resnet20_cifar"}
    model = build(names.get(prefix, prefix))
    found = sites(model, inspect(model, model.input_shape))  # type: ignore[arg-type]
    plan = make_plan(settle(load_recipe(name), lambda _: 0.0)[0], found, SCHEMES)
    changed = any(scheme.name != "keep" for weight in plan.weights for scheme in weight.schemes)
    assert changed == (name != "sepnet-r")
