"""The commands that work on packed files: info, evaluate, run, unpack.  None needs torch, but to evaluate a network.

Steps are imported when their command runs, so that `--help` is quick.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from sepnet.cli.app import Data, DataDir, File, Json, command, integer
from sepnet.core.errors import UsageError
from sepnet.core.files import check_paths
from sepnet.core.registry import require_torch

__all__ = ["evaluate", "info", "run", "unpack"]


@command("sepnet info lenet5.sepnet")
def info(file: File, as_json: Json = False) -> None:
    """Show what is inside a packed file, byte for byte."""
    from sepnet.cli import terminal
    from sepnet.core.packed_model import PackedModel
    from sepnet.steps.info import info as step

    report = step(PackedModel.read(file))
    terminal.print_json(terminal.info_json(report)) if as_json else terminal.print_info(report, str(file))


@command("sepnet evaluate lenet5.sepnet --data digits")
def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NET", help="A packed file, or a network (with --weights, unless it brings its own)."
        ),
    ],
    data: Data,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Weights of NET, unless it brings its own.")
    ] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Measure top-1, top-5 and loss on the test split."""
    from sepnet.cli import terminal
    from sepnet.core.packed_model import PackedModel
    from sepnet.datasets import load
    from sepnet.networks import brings_weights
    from sepnet.steps.evaluate import evaluate as step

    packed_file = target.lower().endswith(".sepnet")
    if packed_file and weights is not None:
        raise UsageError(
            f"{target} is a packed file, which holds its own weights: found --weights {weights}, leave it out"
        )
    if packed_file or (weights is None and not brings_weights(target)):
        if not packed_file and not os.path.isfile(target):
            raise UsageError(f"{target!r} is no packed file; for a network give its weights: --weights FILE")
        packed = PackedModel.read(target)
        loaded = load(data, data_dir)
        with terminal.Progress() as progress:
            score = step(packed, loaded, progress=progress.tick)
    else:
        require_torch("sepnet evaluate a network")
        from sepnet.networks import build, is_own
        from sepnet.steps.evaluate_network import evaluate_network
        from sepnet.training.weights import load_into

        model = build(target)
        if weights is not None:
            load_into(model, weights)
        elif is_own(target):
            terminal.print_error(
                f"found no --weights; the score is that of the weights {target} makes, random ones unless it loads some",
                "note",
            )
        score = evaluate_network(model, load(data, data_dir))
    terminal.print_json(terminal.score_json(score)) if as_json else terminal.print_score(score, target)


@command("sepnet run demo/lenet5-digits.sepnet demo/digit-2.png --topk 3")
def run(
    file: File,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Image files; resized and converted to what the network takes."),
    ],
    topk: Annotated[int, typer.Option("--topk", metavar="K", parser=integer(1), help="Classes to show an image.")] = 5,
    as_json: Json = False,
) -> None:
    """Classify images with a packed file.  Needs no torch."""
    from sepnet.cli import terminal
    from sepnet.core.packed_model import PackedModel
    from sepnet.steps.run import run as step

    predictions = step(PackedModel.read(file), images, topk)
    terminal.print_json(terminal.run_json(predictions)) if as_json else terminal.print_predictions(predictions)


@command("sepnet unpack lenet5.sepnet -o lenet5.safetensors")
def unpack(
    file: File,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where the state dict goes (safetensors, float32).")
    ],
    as_json: Json = False,
) -> None:
    """Write the weights as a state dict that the network's own class loads strictly."""
    from sepnet.cli import terminal
    from sepnet.core.packed_model import PackedModel
    from sepnet.steps.unpack import unpack as step

    check_paths({"FILE": file}, {"-o": output})
    step(PackedModel.read(file), output)
    size = output.stat().st_size
    terminal.print_json({"output": str(output), "bytes": size}) if as_json else terminal.note(
        f"{output}: {size:,} bytes"
    )
