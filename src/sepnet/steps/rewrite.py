"""rewrite: a network whose layers are rewritten as a recipe says, and nothing else done to it."""

from __future__ import annotations

from torch import nn

from sepnet.core.dataset import Dataset
from sepnet.core.recipe import Recipe
from sepnet.core.rewrite import RewriteRow
from sepnet.training.rewriting import copied, rewrite_layers
from sepnet.training.weights import check_finite

__all__ = ["rewrite"]


def rewrite(
    model: nn.Module, recipe: Recipe, data: Dataset | None = None, input_shape: tuple[int, ...] | None = None
) -> tuple[nn.Module, tuple[RewriteRow, ...]]:
    """A rewritten copy of `model`, and how well each layer's weights could be carried over.

    Raises `RecipeError` where a rewrite does not fit the network, `WeightsError` for NaN or Inf in its weights.
    """
    check_finite(model.state_dict(), "the network's weights")
    return rewrite_layers(copied(model), recipe, data, input_shape)
