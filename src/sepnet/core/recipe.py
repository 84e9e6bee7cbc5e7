"""The recipe noun: what to do with a network.  Data in TOML, not code; docs/concepts.md explains each key."""

from __future__ import annotations

import hashlib
import itertools
import math
import os
import re
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import msgspec

from sepnet.core.convert import convert
from sepnet.core.errors import RecipeError, UsageError
from sepnet.core.train_options import TrainOptions, train_options

__all__ = ["Recipe", "Rest", "Rule", "Stage", "load_recipe", "recipe_names", "with_epochs"]

Chain = tuple[dict[str, Any], ...]


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which layers, and the chain of schemes for their weights.

    Attributes:
        schemes: tables with key `scheme` and that scheme's options, applied in order.
        layers: layer names or globs ("layer1.*"); `kinds` narrows them, or stands alone.
        kinds: layer kinds ("fc", "conv kxk", ...).
        codec: a codec's name, or "auto" for the smallest.
    """

    schemes: Chain
    layers: tuple[str, ...] = ("*",)
    kinds: tuple[str, ...] = ()
    codec: str = "auto"


class Rest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The weights that no rule names, and biases and norms, which no rule can name."""

    weights: Chain = ({"scheme": "keep"},)
    biases: Chain = ({"scheme": "keep"},)


class Stage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One step on the way: start some schemes, then fine-tune.

    Attributes:
        name: for tables, logs and file names: letters, digits, spaces, `._+-`.
        start: scheme names that take effect when the stage begins; no scheme before those that precede it in a chain.
        epochs: epochs of fine-tuning; 0 for none.
        train: overrides of the recipe's `[train]` table.
    """

    name: str
    start: tuple[str, ...] = ()
    epochs: int = 0
    train: dict[str, Any] = {}


_LATER = ("rewrite", "holdout", "units")
"""Keys of a recipe that came later: digests, which packed files name, are without them while they have their default."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole recipe.  Schemes that no stage starts are applied after the last stage, without fine-tuning.

    Attributes:
        rewrite: tables with keys `rewrite`, `layers`, `kinds` and that rewrite's options, done in order before all else.
        holdout: how many training images, the last ones, decide between the values of options given as
            `{ try = [A, B, ...] }`; they are scored right after the schemes have started, before any fine-tuning.
            0 for a fifth of the training images, at most 5,000.
        units: what the file does with hidden units, without changing the outputs: `kept` as they are trained; `cleared`: zeros for
            all that leads only to units that nothing reads; `sorted`: cleared, and those with most weights first;
            `dropped`: sorted, and without those that nothing reads, so that the state dict no longer fits the class.
    """

    title: str
    rule: tuple[Rule, ...] = ()
    rest: Rest = Rest()
    stage: tuple[Stage, ...] = ()
    train: dict[str, Any] = {}
    description: str = ""
    name: str = ""
    rewrite: Chain = ()
    holdout: int = 0
    units: Literal["kept", "cleared", "sorted", "dropped"] = "kept"

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Of the stages that become a row and a file, in order."""
        named = tuple(stage.name for stage in self.stage if stage.epochs or stage.start)
        return ("rewritten", *named) if self.rewrite else named

    def options(self, stage: Stage) -> TrainOptions:
        """The training options of one stage: the recipe's `[train]` with the stage's own on top."""
        return train_options(
            {**self.train, **stage.train}, f"recipe {self.name}: train options of stage {stage.name!r}"
        )

    def digest(self) -> str:
        """Eight hex digits that change when anything but the texts changes."""
        plain = msgspec.to_builtins(msgspec.structs.replace(self, title="", description="", name=""))
        default = msgspec.to_builtins(Recipe(""))
        for key in _LATER:
            if plain[key] == default[key]:
                del plain[key]
        return hashlib.sha256(msgspec.json.encode(plain, order="sorted")).hexdigest()[:8]


def recipe_names() -> list[str]:
    """Recipes that come with sepnet.

    >>> "lenet300-mnist" in recipe_names()
    True
    """
    return sorted(item.name.removesuffix(".toml") for item in _shelf().iterdir() if item.name.endswith(".toml"))


def _shelf() -> Any:
    installed = resources.files("sepnet") / "recipes"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "recipes"


def with_epochs(recipe: Recipe, epochs: int | None) -> Recipe:
    """The recipe with its stages stretched or shrunk to `epochs` in all; a stage that trains keeps at least one.

    Raises `UsageError` for less than 0, and for more than 0 when no stage of the recipe trains.

    >>> recipe = Recipe("t", stage=(Stage("a", epochs=30), Stage("b", epochs=10)))
    >>> [stage.epochs for stage in with_epochs(recipe, 8).stage]
    [6, 2]
    """
    if epochs is None:
        return recipe
    if epochs < 0:
        raise UsageError(f"epochs = {epochs}; expected 0 or more")
    total = sum(stage.epochs for stage in recipe.stage)
    if epochs and not total:
        raise UsageError(
            f"recipe {recipe.name}: found epochs = {epochs}, and no [[stage]] that trains; expected no epochs, or a stage with epochs of its own"
        )
    stages = []
    for stage in recipe.stage:
        share = max(1, round(epochs * stage.epochs / total)) if stage.epochs and epochs else 0
        stages.append(msgspec.structs.replace(stage, epochs=share))
    return msgspec.structs.replace(recipe, stage=tuple(stages))


def load_recipe(recipe: str | Path | Recipe) -> Recipe:
    """A recipe by shelf name or path.  Raises `RecipeError` naming the key that is wrong.

    >>> load_recipe("lenet300-mnist").stage[0].name
    'pruned'
    """
    if isinstance(recipe, Recipe):
        return _checked(recipe)
    text, name = _read(recipe)
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"recipe {recipe}: not valid TOML: {error}") from error
    return _checked(convert({**data, "name": name}, Recipe, f"recipe {recipe}"))


def _read(recipe: str | Path) -> tuple[str, str]:
    """The text and the name of a recipe: a file, or else one that comes with sepnet."""
    path, choices = Path(recipe), recipe_names()
    of_file = path.suffix == ".toml" or os.path.isfile(path) or (str(recipe) not in choices and os.path.isdir(path))
    try:
        if of_file:
            return path.read_text(encoding="utf-8"), path.stem
        return (_shelf() / f"{recipe}.toml").read_text(encoding="utf-8"), str(recipe)
    except UnicodeDecodeError as error:
        raise RecipeError(
            f"recipe {recipe}: byte {error.start} is no UTF-8; expected a TOML file, or one of {', '.join(choices)}"
        ) from error
    except OSError as error:
        reason = f"{error.strerror}: neither" if of_file and os.path.exists(path) else "neither"
        raise RecipeError(
            f"no recipe {str(recipe)!r}: {reason} a readable file nor one of {', '.join(choices)}"
        ) from error


_STAGE_NAME = re.compile(r"[^\W_][\w .+-]{0,79}")


def _checked(recipe: Recipe) -> Recipe:
    if recipe.holdout < 0:
        raise RecipeError(f"recipe {recipe.name}: found holdout = {recipe.holdout}; expected 0 or more images")
    chains = [*(rule.schemes for rule in recipe.rule), recipe.rest.weights, recipe.rest.biases]
    named = {str(table.get("scheme")) for chain in chains for table in chain}
    started: dict[str, int] = {}
    names = {"float", "packed", *(["rewritten"] if recipe.rewrite else [])}
    if not recipe.stage:
        train_options(recipe.train, f"recipe {recipe.name}: train")
    for index, stage in enumerate(recipe.stage):
        if not _STAGE_NAME.fullmatch(stage.name):
            raise RecipeError(
                f"recipe {recipe.name}: found stage name {stage.name!r}; expected 1 to 80 letters, digits, spaces and any of . _ + - (it is part of file names), the first a letter or digit"
            )
        if stage.name in names:
            raise RecipeError(
                f"recipe {recipe.name}: two rows of the table would be called {stage.name!r}; stages need names of their own, not float or packed"
            )
        names.add(stage.name)
        if stage.epochs < 0:
            raise RecipeError(
                f"recipe {recipe.name}: stage {stage.name!r} has epochs = {stage.epochs}; expected 0 or more"
            )
        recipe.options(stage)
        for scheme in stage.start:
            if scheme not in named:
                raise RecipeError(
                    f"recipe {recipe.name}: stage {stage.name!r} starts {scheme!r}, which no rule uses; choices: {', '.join(sorted(named))}"
                )
            if scheme in started:
                raise RecipeError(f"recipe {recipe.name}: scheme {scheme!r} is started twice")
            started[scheme] = index
    for chain in chains:
        _check_order(recipe, [str(table.get("scheme")) for table in chain], started)
    return recipe


def _check_order(recipe: Recipe, chain: list[str], started: dict[str, int]) -> None:
    """A scheme works on what the ones before it in its chain left, so it cannot start before them."""
    for before, after in itertools.pairwise(chain):
        if started.get(after, math.inf) < started.get(before, math.inf):
            stage = recipe.stage[started[after]].name
            raise RecipeError(
                f"recipe {recipe.name}: stage {stage!r} starts {after!r} before {before!r}, which comes first in the chain {' -> '.join(chain)}"
            )
