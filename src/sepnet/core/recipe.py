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
from sepnet.core.errors import RecipeError

__all__ = ["Recipe", "Rest", "Rule", "Stage", "TrainOptions", "load_recipe", "recipe_names", "train_options"]

Chain = tuple[dict[str, Any], ...]


_LATER = ("rewrite", "holdout")
"""Keys that the first recipes did not have: at their defaults they leave the digest, which packed files name, as it was."""


class TrainOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a stage trains.

    Attributes:
        optimizer: sgd (momentum 0.9, Nesterov) or adamw.
        lr: learning rate at the start (after warm-up).
        schedule: constant, cosine (to 0 over the stage), or step (x0.1 at 1/2 and 3/4 of the stage).
        warmup: epochs of linear warm-up; may be a fraction.
        weight_decay: L2 for sgd, decoupled for adamw; on weights only, not on biases or norms.
        batch: images a step.
        label_smoothing: 0 to below 1.
        shift: augmentation; random shifts by up to that many pixels in each direction.
        mirror: augmentation; random left-right flips (only where the data set allows it).
        cutout: augmentation; the side in pixels of a square in each image that is greyed out.
        mixup: alpha of mixup (Zhang et al. 2018): each batch is blended with itself in another order, in shares drawn
            from Beta(alpha, alpha), and so are the labels.
        distill: 0 to 1, weight of matching the float network's outputs (at temperature 4) in the loss.
        precision: float32, or bfloat16 for the arithmetic of a step (weights stay float32); two to three times faster
            on processors that have bfloat16 instructions.
        channels_last: keep images and weights with the channels last in memory; faster on GPUs with bfloat16, and on
            some processors (measure it: benchmarks/train_speed.py).
        compiled: compile the step with torch.compile, which needs a C++ compiler on a processor; about a minute at first.
        ema: decay of an exponential moving average of the weights over the steps, which is what the stage leaves
            (0.999, say); 0 for none.
        norm_batches: batches over which the statistics of BatchNorm are measured anew when the stage is over.
        validation: the last so many training images are not trained on but scored after every epoch.
        patience: the stage ends after that many epochs without a better score on them, and leaves the best weights.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    warmup: float = 0.0
    weight_decay: float = 0.0
    batch: int = 128
    label_smoothing: float = 0.0
    shift: int = 0
    mirror: bool = False
    distill: float = 0.0
    precision: Literal["float32", "bfloat16"] = "float32"
    channels_last: bool = False
    compiled: bool = False
    cutout: int = 0
    mixup: float = 0.0
    ema: float = 0.0
    norm_batches: int = 0
    validation: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        wanted = {
            "lr": (0 < self.lr < math.inf, "a number above 0"),
            "batch": (self.batch >= 1, "1 or more"),
            "warmup": (0 <= self.warmup < math.inf, "0 or more"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 to below 1"),
            "shift": (self.shift >= 0, "0 or more"),
            "distill": (0 <= self.distill <= 1, "0 to 1"),
            "cutout": (self.cutout >= 0, "0 or more"),
            "mixup": (0 <= self.mixup < math.inf, "0 or more"),
            "ema": (0 <= self.ema < 1, "0 to below 1"),
            "norm_batches": (self.norm_batches >= 0, "0 or more"),
            "validation": (self.validation >= 0, "0 or more"),
            "patience": (self.patience >= 0, "0 or more"),
        }
        for key, (fits, expected) in wanted.items():
            if not fits:
                raise ValueError(f"found {key} = {getattr(self, key)}; expected {expected}")
        if self.patience and not self.validation:
            raise ValueError("patience needs validation = N, training images to score on")


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


_LATER = ("rewrite", "holdout")
"""Keys of a recipe that came later: digests, which packed files name, are without them while they have their default."""


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole recipe.  Schemes that no stage starts are applied after the last stage, without fine-tuning.

    Attributes:
        rewrite: tables with keys `rewrite`, `layers`, `kinds` and that rewrite's options, done in order before all else.
        holdout: how many training images, the last ones, decide between the values of options given as
            `{ try = [A, B, ...] }`; they are scored right after the schemes have started, before any fine-tuning.
    """

    title: str
    rule: tuple[Rule, ...] = ()
    rest: Rest = Rest()
    stage: tuple[Stage, ...] = ()
    train: dict[str, Any] = {}
    description: str = ""
    name: str = ""
    rewrite: Chain = ()
    holdout: int = 5000

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


def train_options(settings: dict[str, Any], where: str) -> TrainOptions:
    """Training options from key-value pairs; `RecipeError` names the one that is wrong.

    >>> train_options({"lr": 0.1}, "--set").lr
    0.1
    """
    return convert(settings, TrainOptions, where)


def recipe_names() -> list[str]:
    """Recipes that come with sepnet.

    >>> "lenet300-mnist" in recipe_names()
    True
    """
    return sorted(item.name.removesuffix(".toml") for item in _shelf().iterdir() if item.name.endswith(".toml"))


def _shelf() -> Any:
    installed = resources.files("sepnet") / "recipes"
    return installed if installed.is_dir() else Path(__file__).parents[3] / "recipes"


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
