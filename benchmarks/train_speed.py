"""How long is an epoch of ResNet-20 on CIFAR-10 under a straight-through pattern, and what makes it shorter?

    python benchmarks/train_speed.py [--threads N] [--device cuda]

Steps on random images through the fitting loop's own code: eager for each precision, memory format and batch, compiled for
a batch of 128; one after the other in one run.  Writes results/train_speed.json: seconds for 50,000 images, augmentation not counted.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time

import numpy as np
import torch
from machine import save

from sepnet.core.dataset import Dataset, Split
from sepnet.core.plan import make_plan
from sepnet.core.recipe import load_recipe
from sepnet.core.train_options import TrainOptions
from sepnet.networks import build
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.fit import Fit
from sepnet.training.parametrized import ParametrizedNetwork, sites

IMAGES, ROUNDS = 1024, 3


def seconds_an_epoch(options: TrainOptions, device: str) -> list[float]:
    """Of each round, scaled to 50,000 images; the first round, which compiles, left out."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (IMAGES, 3, 32, 32), dtype=np.uint8)
    split = Split(pixels, random.integers(0, 10, IMAGES))
    data = Dataset("random", tuple(map(str, range(10))), split, split, (0.5,) * 3, (0.25,) * 3)
    model = build("resnet20_cifar")
    recipe = load_recipe("resnet-cifar10-pattern")
    network = ParametrizedNetwork(model, make_plan(recipe, sites(model, inspect(model, (3, 32, 32), "net")), SCHEMES))
    network.start(["pattern"])
    fit = Fit(network.model, data, options, ROUNDS + 1, 0, "speed", device=device)
    times: list[float] = []
    fit.run(lambda _: None, lambda log: times.append(log.seconds * 50_000 / IMAGES))
    return times[1:]


def main() -> None:
    """Every combination, then the fastest first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = []
    forms = [(False, batch) for batch in (64, 128, 256)] + [(True, 128)]
    for (compiled, batch), precision, last in itertools.product(forms, ("float32", "bfloat16"), (False, True)):
        torch._dynamo.reset()
        options = TrainOptions(precision=precision, channels_last=last, compiled=compiled, batch=batch)
        begun = time.perf_counter()
        times = seconds_an_epoch(options, given.device)
        row = {"compiled": compiled, "precision": precision, "channels_last": last, "batch": batch}
        rows.append({**row, "median_s": statistics.median(times), "least_s": min(times), "greatest_s": max(times)})
        print(rows[-1], f"{time.perf_counter() - begun:.0f} s", flush=True)
    rows.sort(key=lambda row: row["median_s"])
    name = "train_speed" if given.device == "cpu" else f"train_speed_{given.device}"
    save(name, "python benchmarks/train_speed.py", {"threads": given.threads, "seconds_an_epoch": rows})


if __name__ == "__main__":
    main()
