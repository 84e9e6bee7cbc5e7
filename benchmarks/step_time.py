"""How much slower is a fine-tuning step under a scheme than a plain step?

    python benchmarks/step_time.py

Plain and parametrized networks take turns, step by step, in one process on one thread; the figure is the ratio of medians.
"""

from __future__ import annotations

import statistics
import time

import torch
from machine import save
from torch import nn

from sepnet.core.plan import make_plan
from sepnet.core.recipe import Recipe, Rule
from sepnet.networks import build
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import ParametrizedNetwork, sites

CHAINS: dict[str, tuple[dict[str, object], ...]] = {
    "prune": ({"scheme": "prune", "sparsity": 0.9},),
    "linear": ({"scheme": "linear", "bits": 5},),
    "linear, per filter": ({"scheme": "linear", "bits": 5, "per": "filter"},),
    "share": ({"scheme": "share", "bits": 5},),
    "prune + linear": ({"scheme": "prune", "sparsity": 0.9}, {"scheme": "linear", "bits": 5}),
    "prune + share": ({"scheme": "prune", "sparsity": 0.9}, {"scheme": "share", "bits": 5}),
    "pattern, frozen": ({"scheme": "pattern"},),
    "pattern, straight-through": ({"scheme": "pattern", "train": "straight-through"},),
}
STEPS, BATCH = 120, 128


def step(model: nn.Module, optimizer: torch.optim.Optimizer, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Seconds of one training step."""
    started = time.perf_counter()
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return time.perf_counter() - started


def main() -> None:
    """Measure every chain on three networks."""
    torch.set_num_threads(1)
    images, labels = torch.randn(BATCH, 1, 28, 28), torch.randint(0, 10, (BATCH,))
    result = []
    for name in ("lenet300", "lenet5", "mixed_cnn"):
        network = build(name)
        report = inspect(network, (1, 28, 28), name)
        for label, chain in CHAINS.items():
            pattern = chain[0]["scheme"] == "pattern"
            kinds = ("conv kxk", "depthwise") if pattern else ()
            if pattern and not any(layer.kind in kinds for layer in report.layers):
                continue
            plan = make_plan(Recipe("b", rule=(Rule(chain, kinds=kinds),)), sites(network, report), SCHEMES)
            under = ParametrizedNetwork(network, plan)
            under.start_rest()
            plain = build(name)
            models = [
                (model, torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)) for model in (plain, under.model)
            ]
            for model, _ in models:
                model.train()
            times: list[list[float]] = [[], []]
            for at in range(2 * STEPS + 20):
                times[at % 2].append(step(*models[at % 2], images, labels))
            base, own = (statistics.median(side[10:]) for side in times)
            row = {"network": name, "chain": label, "plain_ms": 1e3 * base, "scheme_ms": 1e3 * own, "ratio": own / base}
            result.append(row)
            print(
                f"{name:10} {label:26} plain {1e3 * base:7.3f} ms, scheme {1e3 * own:7.3f} ms, ratio {own / base:.2f}"
            )
    save("step_time", "python benchmarks/step_time.py", result)


if __name__ == "__main__":
    main()
