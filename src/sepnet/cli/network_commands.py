"""The commands that train: train, compress.

Steps are imported when their command runs, so that `--help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sepnet.cli.app import Data, DataDir, Device, Json, Log, Net, Restart, Resume, Seed, Threads, command
from sepnet.core.errors import UsageError
from sepnet.core.progress import is_first
from sepnet.core.registry import require_torch

__all__ = ["compress", "train"]


@command("sepnet train lenet5 --data mnist --data-dir data --epochs 20 -o lenet5.safetensors")
def train(
    net: Net,
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the weights go (safetensors).")],
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", min=1, help="Epochs.")] = 20,
    seed: Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A training option: lr, batch, optimizer, schedule, warmup, weight_decay, label_smoothing, shift, mirror, cutout, mixup, precision, ema, norm_batches, validation, patience.",
        ),
    ] = None,
    data_dir: DataDir = None,
    log: Log = None,
    resume: Resume = False,
    restart: Restart = False,
    threads: Threads = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Train a float network."""
    from sepnet.cli import terminal

    require_torch("sepnet train")
    import torch

    from sepnet.core.files import check_writable
    from sepnet.core.recipe import train_options
    from sepnet.datasets import load
    from sepnet.networks import build
    from sepnet.steps.train import train as step
    from sepnet.training.checkpoint import Checkpoint
    from sepnet.training.device import find_device
    from sepnet.training.weights import write_weights

    check_writable(output)
    device = find_device(device)
    options = train_options(dict([parse_setting(setting) for setting in settings or []]), "--set")
    run: dict[str, str | int | float] = {
        "net": net,
        "data": data,
        "epochs": epochs,
        "seed": seed,
        "options": repr(options),
    }
    checkpoint = Checkpoint(output, run, resume, restart)
    if threads:
        torch.set_num_threads(threads)
    torch.manual_seed(seed)
    model = build(net)
    loaded = load(data, data_dir)
    with terminal.Progress() as progress, terminal.Log(log, progress) as lines:
        trained = step(model, loaded, options, epochs, seed, checkpoint, progress.tick, lines.epoch, device)
        lines.score(trained.score)
    if not is_first():
        return
    write_weights(output, trained.model.state_dict())
    checkpoint.remove()
    score = {"output": str(output), "bytes": output.stat().st_size, **terminal.score_json(trained.score)}
    terminal.print_json(score) if as_json else terminal.print_score(
        trained.score, f"{output}, {score['bytes']:,} bytes"
    )


@command("sepnet compress lenet5 --weights lenet5.safetensors --data mnist --recipe lenet5-mnist -o lenet5.sepnet")
def compress(
    net: Net,
    data: Data,
    recipe: Annotated[
        str,
        typer.Option(
            "--recipe", metavar="RECIPE", help="A recipe that comes with sepnet, or the path of a .toml file."
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where the packed file goes (.sepnet).")
    ],
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="The trained weights: safetensors, or .pt holding only tensors; needed unless NET brings its own.",
        ),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            "--epochs", metavar="N", min=0, help="Epochs in all, shared among the stages; default the recipe's own."
        ),
    ] = None,
    seed: Seed = 0,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a report that opens in any browser (.html).")
    ] = None,
    stages: Annotated[
        Path | None,
        typer.Option("--stages", metavar="DIR", help="Write the packed file of each stage into this folder."),
    ] = None,
    data_dir: DataDir = None,
    log: Log = None,
    resume: Resume = False,
    restart: Restart = False,
    threads: Threads = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Compress a trained network as a recipe says, fine-tune it, and pack it into one small file."""
    from sepnet.cli import terminal

    require_torch("sepnet compress")
    import torch

    from sepnet.core.files import check_writable
    from sepnet.core.packed_model import PackedModel
    from sepnet.core.recipe import load_recipe
    from sepnet.datasets import load
    from sepnet.networks import brings_weights, build
    from sepnet.steps.compress import compress as step
    from sepnet.steps.compress import through_bytes
    from sepnet.steps.info import info as info_step
    from sepnet.steps.inspect import inspect as inspect_step
    from sepnet.steps.report import write_report
    from sepnet.training.checkpoint import Checkpoint, fingerprint
    from sepnet.training.device import find_device
    from sepnet.training.weights import load_into

    for path in filter(None, (output, report, log, stages and stages / "stage.sepnet")):
        check_writable(path)
    device = find_device(device)
    plan = load_recipe(recipe)
    if weights is None and not brings_weights(net):
        raise UsageError(f"network {net!r} has no trained weights; give them as --weights FILE")
    model = build(net)
    if weights is not None:
        load_into(model, weights)
    run: dict[str, str | int | float] = {
        "net": net,
        "weights": fingerprint(weights or Path(net)) if weights or Path(net).is_file() else "the network's own",
        "data": data,
        "recipe": plan.digest(),
        "epochs": "the recipe's" if epochs is None else epochs,
        "seed": seed,
    }

    def keep(packed: PackedModel) -> PackedModel:
        if not is_first():
            return through_bytes(packed)
        packed.write(output)
        return PackedModel.read(output)

    checkpoint = Checkpoint(output, run, resume, restart)
    if threads:
        torch.set_num_threads(threads)
    loaded = load(data, data_dir)
    network = inspect_step(model, loaded.input_shape, net)
    with terminal.Progress() as progress, terminal.Log(log, progress) as lines:
        done = step(
            model,
            plan,
            loaded,
            network,
            epochs,
            seed,
            checkpoint,
            progress.tick,
            lines.epoch,
            lines.row,
            keep,
            device,
            lines.choice,
        )
    if not is_first():
        return
    checkpoint.remove()
    if stages:
        for name, packed in done.stages.items():
            packed.write(stages / f"{output.stem}.{name}.sepnet")
    if report:
        write_report(report, plan, done.rows, info_step(done.packed), data, done.rewrites, done.epochs)
    if as_json:
        terminal.print_json(terminal.compress_json(output, done))
    else:
        if done.rewrites:
            terminal.print_rewrites(done.rewrites)
        terminal.print_rows(done.rows, f"{net} on {data}, recipe {plan.name}")
        terminal.note(
            f"{output}: {done.packed.bytes:,} bytes, {done.packed.ratio:.1f}x smaller, top-1 {done.score.top1:.2%} of {done.score.n:,}, read back from the file"
        )


def parse_setting(text: str) -> tuple[str, Any]:
    """`"lr=0.1"` to `("lr", 0.1)`; what is not a TOML value is a string."""
    import tomllib

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"--set {text!r}: expected KEY=VALUE, such as lr=0.1")
    try:
        return key.strip(), tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value.strip()
