"""The commands that train: train, compress.

Steps are imported when their command runs, so that `--help` is quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sepnet.cli.app import (
    Best,
    Data,
    DataDir,
    Device,
    InContainer,
    Json,
    Limit,
    Log,
    Net,
    Restart,
    Resume,
    Seed,
    Threads,
    command,
    integer,
)
from sepnet.core.container import check_container
from sepnet.core.errors import UsageError
from sepnet.core.files import check_paths
from sepnet.core.limits import limits_of
from sepnet.core.progress import is_first
from sepnet.core.ratio import compared
from sepnet.core.registry import require_torch

if TYPE_CHECKING:
    from torch import nn

__all__ = ["compress", "train"]


@command("sepnet train lenet5 --data digits --epochs 5 -o lenet5.safetensors")
def train(
    net: Net,
    *,
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Where the weights go (safetensors).")],
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", parser=integer(1), help="Epochs.")] = 20,
    seed: Seed = 0,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="A training option: lr, batch, optimizer, schedule, warmup, weight_decay, label_smoothing, shift, mirror, cutout, mixup, precision, channels_last, compiled, ema, norm_batches, validation, patience.",
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
    from sepnet.cli.dataset_input import read_dataset
    from sepnet.cli.log import TrainingLog, check_log

    require_torch("sepnet train")
    import torch

    from sepnet.core.train_options import train_options
    from sepnet.networks import build
    from sepnet.steps.train import train as step
    from sepnet.training.checkpoint import Checkpoint
    from sepnet.training.device import find_device, use_threads
    from sepnet.training.weights import write_weights

    _check_run(resume, restart)
    check_paths({"NET": _file_of(net), "--data": _file_of(data)}, _outputs(output, log))
    check_log(log)
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
    use_threads(threads)
    torch.manual_seed(seed)
    model = build(net)
    loaded = read_dataset(data, data_dir)
    with terminal.Progress() as progress, TrainingLog(log, progress, checkpoint.state is not None) as lines:
        trained = step(
            model, loaded, options, epochs=epochs, seed=seed, checkpoint=checkpoint, observer=lines, device=device
        )
        lines.score(trained.score)
    if not is_first():
        return
    write_weights(output, trained.model.state_dict())
    checkpoint.remove()
    score = {"output": str(output), "bytes": output.stat().st_size, **terminal.score_json(trained.score)}
    score["training"] = terminal.training_json(trained.epochs)
    terminal.print_json(score) if as_json else terminal.print_score(
        trained.score, f"{output}, {score['bytes']:,} bytes"
    )


@command("sepnet compress lenet5 --weights lenet5.safetensors --data digits --recipe lenet5-digits -o lenet5.sepnet")
def compress(
    net: Net,
    *,
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
            "--epochs",
            metavar="N",
            parser=integer(0),
            help="Epochs in all, shared among the stages; default the recipe's own.",
        ),
    ] = None,
    seed: Seed = 0,
    teacher: Annotated[
        str | None,
        typer.Option(
            "--teacher", metavar="NET", help="A network to distill from, if the recipe distills; default NET itself."
        ),
    ] = None,
    teacher_weights: Annotated[
        Path | None, typer.Option("--teacher-weights", metavar="FILE", help="The teacher's trained weights.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE", help="Write a report that opens in any browser (.html).")
    ] = None,
    stages: Annotated[
        Path | None,
        typer.Option(
            "--stages",
            metavar="DIR",
            help="Write the packed file of each stage into this folder; it is made if need be.",
        ),
    ] = None,
    best: Best = False,
    container: InContainer = "none",
    limit: Limit = None,
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
    from sepnet.cli.dataset_input import read_dataset
    from sepnet.cli.log import CompressingLog, check_log
    from sepnet.cli.packed_input import note_limits

    require_torch("sepnet compress")
    from sepnet.core.packed_model import PackedModel
    from sepnet.core.recipe import load_recipe
    from sepnet.steps.compress import compress as step
    from sepnet.steps.info import info as info_step
    from sepnet.steps.inspect import inspect as inspect_step
    from sepnet.steps.report import write_report
    from sepnet.training.checkpoint import Checkpoint
    from sepnet.training.device import find_device, use_threads

    _check_run(resume, restart)
    device = find_device(device)
    plan = load_recipe(recipe)
    stage_files = {name: stages / f"{output.stem}.{name}.sepnet" for name in plan.stage_names} if stages else {}
    reads = {"NET": _file_of(net), "--weights": weights, "--data": _file_of(data), "--recipe": Path(recipe)}
    reads["--teacher-weights"] = teacher_weights
    parts = {f"the file of stage {name} in --stages": path for name, path in stage_files.items()}
    check_paths(reads, {**_outputs(output, log), "--report": report, **parts}, stages)
    check_log(log)
    wrapping, limits = check_container(container), limits_of(limit)
    if teacher_weights is not None and teacher is None:
        raise UsageError("--teacher-weights needs --teacher NET, the network that they are of")
    model, guide = _trained(net, weights), None if teacher is None else _trained(teacher, teacher_weights)
    run: dict[str, str | int | float] = {
        "net": net,
        "weights": _origin(net, weights),
        **({} if teacher is None else {"teacher": teacher, "teacher-weights": _origin(teacher, teacher_weights)}),
        "data": data,
        "recipe": plan.digest(),
        "epochs": "the recipe's" if epochs is None else epochs,
        "seed": seed,
    }

    def keep(packed: PackedModel) -> PackedModel:
        if not is_first():
            return packed
        packed.write(output, wrapping, limits=limits)
        return PackedModel.read(output, limits)

    checkpoint = Checkpoint(output, run, resume, restart)
    use_threads(threads)
    loaded = read_dataset(data, data_dir)
    network = inspect_step(model, loaded.input_shape, net)
    with (
        terminal.Progress() as progress,
        CompressingLog(log, progress, checkpoint.state is not None, files=stage_files, limits=limits) as lines,
    ):
        done = step(
            model,
            plan,
            loaded,
            network,
            epochs=epochs,
            seed=seed,
            checkpoint=checkpoint,
            observer=lines,
            keep=keep,
            device=device,
            teacher=guide,
            best=best,
            limits=limits,
        )
    if not is_first():
        return
    if report:
        write_report(
            report, plan, done.rows, info_step(done.packed), data=data, rewrites=done.rewrites, epochs=done.epochs
        )
    checkpoint.remove()  # not before all files are written
    if as_json:
        terminal.print_json(terminal.compress_json(output, done))
    else:
        if done.rewrites:
            terminal.print_rewrites(done.rewrites)
        terminal.print_rows(done.rows, f"{net} on {data}, recipe {plan.name}")
        terminal.note(
            f"{output}: {output.stat().st_size:,} bytes, {compared(done.packed.ratio)} float32, top-1 {done.score.top1:.2%} of {done.score.n:,}, read back from the file"
        )
    note_limits(output, limits)


def _check_run(resume: bool, restart: bool) -> None:
    if resume and restart:
        raise UsageError(
            "found --resume and --restart; expected one of them: go on with the interrupted run, or start over"
        )


def _outputs(output: Path, log: Path | None) -> dict[str, Path | None]:
    """What training writes, by the names that the user knows."""
    return {"-o": output, "the checkpoint of -o": Path(f"{output}.checkpoint"), "--log": log}


def _file_of(spec: str) -> Path | None:
    """The file that a NET or DATA is read from: itself if its name has an ending, or that of `package.module:function` here."""
    name = spec.partition("?")[0]
    module, colon, _ = name.partition(":")
    if colon:
        return Path(module.replace(".", "/") + ".py")
    return Path(name) if Path(name).suffix else None


def _trained(net: str, weights: Path | None) -> nn.Module:
    """A network with its trained weights: those of a file, or its own."""
    from sepnet.cli.terminal import note_weights
    from sepnet.networks import brings_weights, build, is_own
    from sepnet.training.weights import load_into

    if weights is None and not brings_weights(net):
        raise UsageError(
            f"network {net!r} has no trained weights; give them as --weights FILE (of a teacher, --teacher-weights)"
        )
    model = build(net)
    if weights is not None:
        load_into(model, weights)
    elif is_own(net) and is_first():
        note_weights(net)
    return model


def _origin(net: str, weights: Path | None) -> str:
    """What tells the weights of one run from those of another."""
    from sepnet.training.checkpoint import fingerprint

    return fingerprint(weights or Path(net)) if weights or Path(net).is_file() else "the network's own"


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
