"""How large are the files of SEP-Net R, B and BQ?  Beside the sizes that were published.

    python benchmarks/sepnet_sizes.py

The networks are the reconstructions with random weights (seed 0), packed without training; that changes the sizes only in
how well 8-bit and float weights code.  `kernel` is B and BQ with one scale a kernel, as the published 4.2 MB counts them;
the recipes have one a filter.
"""

from __future__ import annotations

import msgspec
import numpy as np
import torch
from machine import save
from torch import nn

import sepnet
from sepnet.core.dataset import Dataset, Split
from sepnet.core.recipe import Recipe, load_recipe
from sepnet.networks import build

PUBLISHED_MB = {("sepnet_small", "r"): 5.2, ("sepnet_small", "b"): 4.2, ("sepnet_small", "bq"): 1.3}
PUBLISHED_MB |= {("sepnet_large", "r"): 6.7}


def noise(model: nn.Module, classes: int) -> Dataset:
    """Four images of noise: something to read the file back with."""
    shape = model.input_shape
    images = np.random.default_rng(0).integers(0, 255, (4, *shape)).astype(np.uint8)
    split = Split(images, np.arange(4))
    return Dataset("noise", tuple(map(str, range(classes))), split, split, (0.5,) * shape[0], (0.3,) * shape[0])


def a_scale_a_kernel(recipe: Recipe) -> Recipe:
    """The recipe with one scale a kernel."""
    rules = [msgspec.structs.replace(rule, schemes=({**rule.schemes[0], "scale": "kernel"},)) for rule in recipe.rule]
    return msgspec.structs.replace(recipe, rule=tuple(rules))


def main() -> None:
    """Pack, print and save."""
    recipes = {name: load_recipe(f"sepnet-{name}") for name in ("r", "b", "bq")}
    recipes |= {f"{name}, kernel": a_scale_a_kernel(recipes[name]) for name in ("b", "bq")}
    rows = []
    for name in ("sepnet_small", "sepnet_large", "sepnet_cifar"):
        torch.manual_seed(0)
        model = build(name)
        data = noise(model, model.fc.out_features)
        for variant, recipe in recipes.items():
            size = sepnet.compress(model, recipe, data, epochs=0).bytes
            published = PUBLISHED_MB.get((name, variant.split(",")[0]))
            rows.append({"network": name, "variant": variant, "bytes": size, "published_mb": published})
            print(f"{name:14} {variant:12} {size:>10,} bytes   published {published or '-'} MB")
    save("sepnet_sizes", "python benchmarks/sepnet_sizes.py", rows)


if __name__ == "__main__":
    main()
