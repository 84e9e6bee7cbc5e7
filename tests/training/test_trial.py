"""Which images decide between the values of an option left open."""

from __future__ import annotations

import pytest
from torch import nn

import sepnet
from sepnet.core.dataset import Dataset
from sepnet.core.errors import RecipeError
from sepnet.core.recipe import Recipe, Rule
from sepnet.training.trial import Trial


@pytest.mark.parametrize(("holdout", "decide"), [(0, 19), (30, 30)])
def test_how_many_training_images_decide(data: Dataset, trained: nn.Module, holdout: int, decide: int) -> None:
    assert len(trial(data, trained, holdout).data.test) == decide
    assert trial(data, trained, 96, choice=False).data is data, "nothing to decide"


@pytest.mark.parametrize(
    ("holdout", "words"), [(96, "expected 1 to 95 of the 96 training images of stripes, or 0"), (94, "leaves none of")]
)
def test_too_many_images_that_decide(data: Dataset, trained: nn.Module, holdout: int, words: str) -> None:
    with pytest.raises(RecipeError, match=f"recipe r: found holdout = {holdout}.*{words}"):
        trial(data, trained, holdout)


def trial(data: Dataset, model: nn.Module, holdout: int, choice: bool = True) -> Trial:
    table = {"scheme": "pattern", "scale": "global", "offset": {"try": [1e-6, 0.1]} if choice else 0.1}
    recipe = Recipe("t", name="r", rule=(Rule((table,), kinds=("conv kxk",)),), holdout=holdout)
    return Trial(model, sepnet.inspect(model, (1, 8, 8), "net"), data, recipe, progress=lambda _: None)
