"""How long is an epoch of ResNet-20 on CIFAR-10 under a straight-through pattern, and what makes it shorter?

    python benchmarks/train_speed.py [--threads N] [--device cuda] [--images N] [--batches N ...] [--eager] [--to NAME]

Steps on random images through the fitting loop's own code: eager for each precision, memory format and batch, compiled for
a batch of 128; one after the other in one run.  Writes results/train_speed.json: seconds for 50,000 images, augmentation not
counted, by the clock and, where one thread of the processor computes, of its time; and what "auto" takes on this machine.
"""

from __future__ import annotations

import argparse
import itertools
import shlex
import statistics
import sys
import time
from dataclasses import asdict

import numpy as np
import torch
from machine import save

from sepnet.core.dataset import Dataset, Split
from sepnet.core.epoch_log import EpochLog
from sepnet.core.plan import make_plan
from sepnet.core.recipe import load_recipe
from sepnet.core.train_options import TrainOptions
from sepnet.networks import build
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.fit import Fit
from sepnet.training.parametrized import ParametrizedNetwork, sites

ROUNDS = 3


def prepared(options: TrainOptions, device: str, images: int) -> Fit:
    """The fitting loop, a straight-through pattern and random images."""
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (images, 3, 32, 32), dtype=np.uint8)
    split = Split(pixels, random.integers(0, 10, images))
    data = Dataset("random", tuple(map(str, range(10))), split, split, (0.5,) * 3, (0.25,) * 3)
    model = build("resnet20_cifar")
    recipe = load_recipe("resnet-cifar10-pattern")
    network = ParametrizedNetwork(model, make_plan(recipe, sites(model, inspect(model, (3, 32, 32), "net")), SCHEMES))
    network.start(["pattern"])
    return Fit(network.model, data, options, epochs=ROUNDS + 1, stage="speed", device=device)


def seconds_an_epoch(fit: Fit, images: int) -> list[tuple[float, float]]:
    """By the clock and of the processor, of each round, scaled to 50,000 images; the first round, which compiles, left out."""
    times: list[tuple[float, float]] = []
    used = [time.process_time()]

    def after(log: EpochLog) -> None:
        used.append(time.process_time())
        times.append((log.seconds * 50_000 / images, (used[-1] - used[-2]) * 50_000 / images))

    fit.run(after_epoch=after)
    return times[1:]


def main() -> None:
    """Every combination, then the fastest first."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=1024, help="images a round")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128, 256], help="images a step")
    parser.add_argument("--eager", action="store_true", help="leave the compiled ones out")
    parser.add_argument("--to", help="name of the file in results/")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    rows = []
    forms = [(False, batch) for batch in given.batches] + [(True, 128)] * (not given.eager)
    for (compiled, batch), precision, last in itertools.product(forms, ("float32", "bfloat16"), (False, True)):
        torch._dynamo.reset()
        options = TrainOptions(precision=precision, channels_last=last, compiled=compiled, batch=batch)
        begun = time.perf_counter()
        times, used = zip(*seconds_an_epoch(prepared(options, given.device, given.images), given.images), strict=True)
        row = {"compiled": compiled, "precision": precision, "channels_last": last, "batch": batch}
        rows.append({**row, "median_s": statistics.median(times), "least_s": min(times), "greatest_s": max(times)})
        if given.threads == 1 and given.device == "cpu":
            rows[-1]["median_processor_s"] = statistics.median(used)
        print(rows[-1], f"{time.perf_counter() - begun:.0f} s", flush=True)
    rows.sort(key=lambda row: row["median_s"])
    name = given.to or ("train_speed" if given.device == "cpu" else f"train_speed_{given.device}")
    auto = asdict(prepared(TrainOptions(), given.device, given.images).setup)
    command = shlex.join(["python", "benchmarks/train_speed.py", *sys.argv[1:]])
    save(name, command, {"threads": given.threads, "auto": auto, "seconds_an_epoch": rows})


if __name__ == "__main__":
    main()
