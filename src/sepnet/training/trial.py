"""A network under a recipe before any fine-tuning: what decides between the values of an option left open."""

from __future__ import annotations

from torch import nn

from sepnet.core.choices import open_choices
from sepnet.core.dataset import Dataset
from sepnet.core.errors import DataError, RecipeError, UsageError
from sepnet.core.network import NetworkReport
from sepnet.core.plan import make_plan
from sepnet.core.progress import Progress, Tick
from sepnet.core.recipe import Recipe
from sepnet.datasets import hold_out
from sepnet.schemes import SCHEMES
from sepnet.training.fit import score
from sepnet.training.parametrized import ParametrizedNetwork, sites

__all__ = ["Trial"]

MOST_HELD_OUT = 5000
"""Training images that decide when the recipe does not say how many, at most."""


class Trial:
    """Top-1 on held-out training images of a network under a recipe, before any fine-tuning."""

    def __init__(
        self, model: nn.Module, report: NetworkReport, data: Dataset, recipe: Recipe, *, progress: Progress
    ) -> None:
        self.model, self.report, self.progress = model, report, progress
        choices = open_choices(recipe)
        self.done, self.total = 0, sum(len(choice.values) for choice in choices)
        self.data = _decisive(data, recipe) if choices else data

    def __call__(self, recipe: Recipe) -> float:
        self.progress(Tick("try", self.done, self.total))
        network = ParametrizedNetwork(self.model, make_plan(recipe, sites(self.model, self.report), SCHEMES))
        network.start_rest()
        network.advance(list(SCHEMES), 1.0)
        top1 = score(network.model, self.data, self.data.test).top1
        self.done += 1
        self.progress(Tick("try", self.done, self.total))
        return top1


def _decisive(data: Dataset, recipe: Recipe) -> Dataset:
    """The data set with the recipe's `holdout` in place of the test split: a fifth, at most 5,000, where it is 0."""
    images = len(data.train)
    try:
        return hold_out(data, recipe.holdout or max(1, min(MOST_HELD_OUT, images // 5)))
    except UsageError:
        raise RecipeError(
            f"recipe {recipe.name}: found holdout = {recipe.holdout}; expected 1 to {images - 1} of the {images} training images of {data.name}, or 0 for a fifth"
        ) from None
    except DataError as error:
        raise RecipeError(f"recipe {recipe.name}: found holdout = {recipe.holdout}: {error}") from error
