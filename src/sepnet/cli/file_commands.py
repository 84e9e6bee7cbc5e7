"""The commands that work on packed files: info, evaluate, run, unpack.  None needs torch, but to evaluate a network.

Steps are imported when their command runs, so that `--help` is quick.
"""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Annotated

import typer

from sepnet.cli.app import CALIBRATE, Data, DataDir, File, Json, Limit, RuntimeName, command, integer
from sepnet.core.errors import FormatError, UsageError
from sepnet.core.files import check_paths
from sepnet.core.limits import Limits, limits_of
from sepnet.core.registry import require_torch

__all__ = ["evaluate", "info", "run", "unpack"]


@command("sepnet info lenet5.sepnet")
def info(
    file: File,
    *,
    verify: Annotated[
        bool,
        typer.Option(
            "--verify",
            help="Only say whether all can be read: compare checksums, decode tensors, check the graph; exit code 1 if not.",
        ),
    ] = False,
    salvage: Annotated[
        bool,
        typer.Option("--salvage", help="Of a damaged file show what can be read, name the rest, and exit with 1."),
    ] = False,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Show what is inside a packed file, byte for byte."""
    from sepnet.cli import terminal
    from sepnet.cli.packed_input import fail_for, read_packed, read_salvaged
    from sepnet.steps.info import info as step

    if verify and salvage:
        raise UsageError("found --verify and --salvage; --verify names all damage, so expected one of them")
    limits = limits_of(limit)
    if verify:
        _verify(file, limits, as_json)
        return
    model, damage = read_salvaged(file, limits) if salvage else (read_packed(file, limits), ())
    report = step(model)
    terminal.print_json(terminal.info_json(report)) if as_json else terminal.print_info(report, str(file))
    if damage:
        fail_for(file, damage, f"{len(report.tensors)} tensors can be read")


def _verify(file: Path, limits: Limits, as_json: bool) -> None:
    from sepnet.cli import terminal
    from sepnet.cli.packed_input import fail_for, name_of, read_data
    from sepnet.steps.verify import verify as step

    data = read_data(file, limits)
    try:
        found = step(data, limits)
    except FormatError as error:
        raise FormatError(f"{name_of(file)}: {error}") from error
    if as_json:
        terminal.print_json(dataclasses.asdict(found))
    elif not found.damage:
        graph = "; weights alone, no graph" if found.graph == "none" else ""
        terminal.note(f"{file}: all {found.tensors} tensors read, checksums match{graph}")
    if found.damage:
        fail_for(file, found.damage, f"{found.read} of {found.tensors} tensors can be read")


@command("sepnet evaluate lenet5.sepnet --data digits")
def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE|NET",
            help="A packed file (- reads the standard input), or a network (with --weights, unless it brings its own).",
        ),
    ],
    *,
    data: Data,
    weights: Annotated[
        Path | None, typer.Option("--weights", metavar="FILE", help="Weights of NET, unless it brings its own.")
    ] = None,
    runtime: RuntimeName = None,
    limit: Limit = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Measure top-1, top-5 and loss on the test split."""
    from sepnet.cli import terminal
    from sepnet.cli.dataset_input import read_dataset
    from sepnet.cli.packed_input import is_stream, read_packed
    from sepnet.networks import brings_weights
    from sepnet.runtimes import REFERENCE
    from sepnet.steps.evaluate import evaluate as step

    packed_file = target.lower().endswith(".sepnet") or is_stream(Path(target))
    if packed_file and weights is not None:
        raise UsageError(
            f"{target} is a packed file, which holds its own weights: found --weights {weights}, leave it out"
        )
    if packed_file or (weights is None and not brings_weights(target)):
        if not packed_file and not os.path.isfile(target):
            raise UsageError(f"{target!r} is no packed file; for a network give its weights: --weights FILE")
        packed = read_packed(Path(target), limits_of(limit))
        loaded = read_dataset(data, data_dir)
        with terminal.Progress() as progress:
            score = step(packed, loaded, runtime or REFERENCE, progress.tick)
    else:
        for name, given in (("--runtime", runtime), ("--limit", limit)):
            if given:
                raise UsageError(f"found {name} and the network {target}, which PyTorch runs; expected a packed file")
        require_torch("sepnet evaluate a network")
        from sepnet.networks import build, is_own
        from sepnet.steps.evaluate_network import evaluate_network
        from sepnet.training.weights import load_into

        model = build(target)
        if weights is not None:
            load_into(model, weights)
        elif is_own(target):
            terminal.note_weights(target)
        score = evaluate_network(model, read_dataset(data, data_dir))
    terminal.print_json(terminal.score_json(score)) if as_json else terminal.print_score(score, target)


@command("sepnet run demo/lenet5-digits.sepnet demo/digit-2.png --topk 3")
def run(
    file: File,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Image files; resized and converted to what the network takes."),
    ],
    *,
    topk: Annotated[int, typer.Option("--topk", metavar="K", parser=integer(1), help="Classes to show an image.")] = 5,
    runtime: RuntimeName = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="DATA",
            help=f"For the runtimes c99 and integer, which make their scales by examples: {CALIBRATE}.",
        ),
    ] = None,
    limit: Limit = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Classify images with a packed file.  Needs no torch."""
    from sepnet.cli import terminal
    from sepnet.cli.dataset_input import read_calibration
    from sepnet.cli.packed_input import read_packed
    from sepnet.runtimes import REFERENCE
    from sepnet.steps.run import run as step

    model = read_packed(file, limits_of(limit))
    data = None if calibrate is None else read_calibration(calibrate, data_dir)
    predictions = step(model, images, topk, runtime or REFERENCE, data)
    terminal.print_json(terminal.run_json(predictions)) if as_json else terminal.print_predictions(predictions)


@command("sepnet unpack lenet5.sepnet -o lenet5.safetensors")
def unpack(
    file: File,
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where the state dict goes (safetensors, float32).")
    ],
    salvage: Annotated[
        bool,
        typer.Option(
            "--salvage",
            help="Of a damaged or truncated file write the tensors that can be read, name the rest, and exit with 1.",
        ),
    ] = False,
    limit: Limit = None,
    as_json: Json = False,
) -> None:
    """Write the weights as a state dict that the network's own class loads strictly."""
    from sepnet.cli import terminal
    from sepnet.cli.packed_input import fail_for, is_stream, read_packed, read_salvaged
    from sepnet.steps.unpack import unpack as step

    check_paths({"FILE": None if is_stream(file) else file}, {"-o": output})
    limits = limits_of(limit)
    model, damage = read_salvaged(file, limits) if salvage else (read_packed(file, limits), ())
    if damage and not model.header.tensors:
        fail_for(file, damage, "no tensor can be read, so nothing was written")
    step(model, output)
    size = output.stat().st_size
    terminal.print_json({"output": str(output), "bytes": size}) if as_json else terminal.note(
        f"{output}: {size:,} bytes"
    )
    if damage:
        fail_for(file, damage, f"the {len(model.header.tensors)} tensors that can be read are in {output}")
