"""What do fewer channels buy?  ResNet-20 (CIFAR-10) at half the macs: latency of ONNX Runtime, size, accuracy.

    SEPNET_DATA=... taskset -c 1 python benchmarks/channels.py --epochs 1

Batch 1, one thread, all networks in float32, taking turns run by run; the figure is the ratio of medians.  Accuracy is on all
10,000 test images: right after the channels are gone, with batch normalization measured anew, and after fine-tuning.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import save
from torch import nn

from sepnet.core.dataset import Dataset
from sepnet.core.header import InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.core.plan import make_plan
from sepnet.core.recipe import Recipe, Rest
from sepnet.core.train_options import TrainOptions
from sepnet.datasets import load
from sepnet.networks import build
from sepnet.packing.export import export_graph
from sepnet.packing.pack import PackInput, pack
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.steps.rewrite import rewrite
from sepnet.steps.train import train
from sepnet.training.fit import score
from sepnet.training.parametrized import ParametrizedNetwork, sites
from sepnet.training.weights import load_into

TABLES: dict[str, dict[str, Any]] = {
    "inside, multiples of 8": {"layers": ["layer*.conv1"], "round_to": 8},
    "inside of blocks": {"layers": ["layer*.conv1"]},
    "all channels": {"layers": ["*"]},
}
RUNS, NORM_BATCHES, BATCH = 1000, 50, 128
KEPT = ({"scheme": "keep", "dtype": "float32"},)


def packed(model: nn.Module, data: Dataset) -> PackedModel:
    """The network as it is, floats kept."""
    report = inspect(model, data.input_shape)
    under = ParametrizedNetwork(
        model, make_plan(Recipe("floats", rest=Rest(KEPT, KEPT)), sites(model, report), SCHEMES)
    )
    under.start_rest()
    about = PackInput("benchmark", report.params, InputSpec(data.input_shape, data.mean, data.std))
    graph = export_graph(model, data.input_shape)
    return pack(about, graph, under.state(), under.coded(), code=under.code_anew, codecs=("dense",))


def latencies(runtimes: list[OnnxRuntime], image: np.ndarray) -> list[list[float]]:
    """Milliseconds of each run of each network, in turns, after some that do not count."""
    times: list[list[float]] = [[] for _ in runtimes]
    for at in range(RUNS + 50):
        for own, runtime in zip(times, runtimes, strict=True):
            started = time.perf_counter()
            runtime.run(image)
            if at >= 50:
                own.append(1000 * (time.perf_counter() - started))
    return times


@torch.no_grad()
def with_norms(model: nn.Module, data: Dataset) -> nn.Module:
    """A copy whose batch normalization is measured on training images."""
    model = copy.deepcopy(model).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None
            module.reset_running_stats()
    for start in range(0, NORM_BATCHES * BATCH, BATCH):
        model(torch.from_numpy(data.batch(data.train.images[start : start + BATCH])))
    return model.eval()


def main() -> None:
    """Measure all networks."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=1, help="of fine-tuning; 0 for none")
    epochs = parser.parse_args().epochs
    torch.set_num_threads(1)
    data, network = load("cifar10"), build("resnet20_cifar")
    load_into(network, Path(os.environ["SEPNET_DATA"]) / "weights" / "cifar10_resnet20.safetensors")
    network.eval()
    models, rows = {"float": network}, {"float": {"top1": score(network, data, data.test).top1}}
    for label, table in TABLES.items():
        recipe = Recipe(label, rewrite=({"rewrite": "channels", "macs": 0.5, **table},))
        models[label], told = rewrite(network, recipe, data)
        rows[label] = {"error": told[0].error}
    files = {label: packed(model, data) for label, model in models.items()}
    image = data.batch(data.test.images[:1])
    times = latencies([OnnxRuntime(file, threads=1) for file in files.values()], image)
    base = statistics.median(times[0])
    for (label, model), own in zip(models.items(), times, strict=True):
        report, row = inspect(model, data.input_shape), rows[label]
        row |= {"macs": report.macs, "params": report.params, "bytes": files[label].bytes}
        row |= {"ms": statistics.median(own), "ms_quartiles": statistics.quantiles(own, n=4)[::2]}
        row["speedup"] = base / row["ms"]
        print(f"{label:23} {report.macs / 1e6:6.2f} M macs, {row['ms']:.3f} ms, {row['speedup']:.2f}x", flush=True)
    options = TrainOptions(lr=0.02, batch=64, weight_decay=1e-4, shift=4, mirror=True, norm_batches=200)
    for label in TABLES:
        row, model = rows[label], models[label]
        row["top1_right_after"] = score(model, data, data.test).top1
        row["top1_norms_anew"] = score(with_norms(model, data), data, data.test).top1
        if epochs:
            started = time.perf_counter()
            row["top1_fine_tuned"] = train(model, data, options, epochs=epochs).score.top1
            row |= {"epochs": epochs, "training_seconds": time.perf_counter() - started}
        print(label, {key: value for key, value in row.items() if key.startswith("top1")}, flush=True)
        save("channels", f"python benchmarks/channels.py --epochs {epochs}", rows)


if __name__ == "__main__":
    main()
