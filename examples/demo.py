"""Train two networks on scikit-learn's handwritten digits, compress them, and run what came out.

`make demo` runs this; it leaves the packed files and their reports in demo/.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch

from sepnet.cli import terminal
from sepnet.core.recipe import TrainOptions, load_recipe
from sepnet.datasets import load
from sepnet.networks import build
from sepnet.steps.compress import compress
from sepnet.steps.info import info
from sepnet.steps.inspect import inspect
from sepnet.steps.report import write_report
from sepnet.steps.train import train
from sepnet.training.weights import write_weights

OUT = Path("demo")
JOBS = (
    ("lenet5", "lenet5-digits", 12, TrainOptions(lr=0.02, batch=64, shift=1, weight_decay=1e-4)),
    ("mixed_cnn", "mixed-digits-pattern", 20, TrainOptions(optimizer="adamw", lr=0.005, batch=64, shift=1)),
)


def main() -> None:
    """Run both jobs and print one table each."""
    started = time.perf_counter()
    OUT.mkdir(exist_ok=True)
    data = load("digits")
    tables = []
    for name, recipe_name, epochs, options in JOBS:
        terminal.note(
            f"{name}: train {epochs} epochs on {len(data.train):,} digits, then compress by recipe {recipe_name}"
        )
        torch.manual_seed(0)
        network = build(name)
        recipe = load_recipe(recipe_name)
        packed_path = OUT / f"{recipe_name}.sepnet"
        with terminal.Progress() as progress:
            trained = train(network, data, options, epochs, progress=progress.tick)
            write_weights(OUT / f"{name}.safetensors", trained.model.state_dict())
            report = inspect(trained.model, data.input_shape, name)
            done = compress(
                trained.model,
                recipe,
                data,
                report,
                progress=progress.tick,
                write=lambda packed, path=packed_path: packed.write(path),
            )
        for stage, packed in done.stages.items():
            packed.write(OUT / f"{recipe_name}.{stage}.sepnet")
        write_report(OUT / f"{recipe_name}.html", recipe, done.rows, info(done.packed), "digits")
        tables.append((done.rows, f"\n{name}: {recipe.title}", packed_path))
    for rows, title, path in tables:
        terminal.print_rows(rows, title)
        terminal.note(
            f"{path}: {path.stat().st_size:,} bytes; report {path.with_suffix('.html')}; look inside with .venv/bin/sepnet info {path}"
        )
    terminal.note(f"\n{time.perf_counter() - started:.0f} seconds")


if __name__ == "__main__":
    main()
