"""The command pack.  It needs no torch.

Steps are imported when their command runs, so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from sepnet.cli.app import CALIBRATE, Best, DataDir, InContainer, Json, Limit, Seed, command, integer
from sepnet.core.container import check_container
from sepnet.core.errors import UsageError
from sepnet.core.files import check_paths
from sepnet.core.limits import limits_of
from sepnet.core.pack_options import (
    EFFECT_SECONDS,
    IMAGES,
    MAX_DIVERGENCE,
    MIN_SNR,
    PATIENCE,
    PackOptions,
    Task,
)

__all__ = ["pack"]

BITS = "2 to 8, or auto"
LAYER = "A layer is called as the table shows it, with or without .weight"


@command("sepnet pack model.onnx -o model.sepnet --bits auto --calibrate cifar10")
def pack(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="A float network (.onnx), weights without a graph (.safetensors), or a packed file (.sepnet), whose codes are then coded anew.",
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE", help="Where the packed file goes (.sepnet).")
    ],
    bits: Annotated[
        list[str] | None,
        typer.Option(
            "--bits",
            metavar="BITS",
            help=f"Bits a weight: {BITS}, which needs --calibrate.  Default 8 of an .onnx file; floats of a .safetensors file are kept exactly.  LAYER=BITS, once for each layer that has others.  {LAYER}.",
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option("--keep", metavar="LAYER", help="A layer that stays in 16 bits; once for each."),
    ] = None,
    calibrate: Annotated[
        str | None,
        typer.Option(
            "--calibrate",
            metavar="DATA",
            help=f"Quantize by what the layers do with examples: {CALIBRATE}.  Labels are not looked at.",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            "--images",
            metavar="N",
            parser=integer(1),
            help=f"With --calibrate: examples to calibrate on, and as many again to measure on; default {IMAGES}.",
        ),
    ] = None,
    max_divergence: Annotated[
        float | None,
        typer.Option(
            "--max-divergence",
            metavar="NATS",
            help=f"With --bits auto, of classifiers: how far the outputs may be from the float network's, mean Kullback-Leibler divergence; default {MAX_DIVERGENCE}.",
        ),
    ] = None,
    min_snr: Annotated[
        float | None,
        typer.Option(
            "--min-snr",
            metavar="DB",
            help=f"With --bits auto, of any network: least signal to noise of each output against the float network's; default {MIN_SNR:g} of what is no classifier.",
        ),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            "--task",
            metavar="TASK",
            help="classify: the outputs are scores of classes, to be measured as divergence.  Needless where the graph ends in a Softmax, or --calibrate names a data set of as many classes as there are outputs.",
        ),
    ] = None,
    target_bytes: Annotated[
        int | None,
        typer.Option(
            "--target-bytes",
            metavar="N",
            parser=integer(1),
            help="With --bits auto: what the file may take, in place of --max-divergence and --min-snr.",
        ),
    ] = None,
    allow_bad: Annotated[
        bool,
        typer.Option(
            "--allow-bad",
            help="Write the file even if it is ruined: an output below 15 dB beside the float network's, or more than 5 % of a classifier's answers changed.",
        ),
    ] = False,
    effects: Annotated[
        bool | None,
        typer.Option(
            "--effects/--no-effects",
            help=f"Measure what each layer's rounding alone does to the outputs, in dB; a run a layer, {EFFECT_SECONDS:.0f} s at most.  Default: if that takes {PATIENCE:.0f} s or less.",
        ),
    ] = None,
    best: Best = False,
    container: InContainer = "none",
    limit: Limit = None,
    data_dir: DataDir = None,
    seed: Seed = 0,
    verbose: Annotated[
        bool,
        typer.Option(
            "--verbose", help="Also list the passes from the file's graph to the packed one, and what each changed."
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Pack a trained network without training it; needs neither torch nor the network's class."""
    from sepnet.api import pack_report
    from sepnet.cli import terminal
    from sepnet.cli.dataset_input import read_calibration
    from sepnet.cli.pack_tables import pack_json, print_pack
    from sepnet.cli.packed_input import note_limits
    from sepnet.networks.onnx_proto import onnx_files

    limits = limits_of(limit)
    common, layer_bits = _bits(bits or [])
    options = PackOptions(
        common,
        calibrated=calibrate is not None,
        max_divergence=max_divergence,
        min_snr=min_snr,
        task=cast(Task | None, task),
        target_bytes=target_bytes,
        keep=tuple(keep or ()),
        layer_bits=layer_bits,
        allow_bad=allow_bad,
        effects=effects,
        best=best,
        limits=limits,
    )
    kind, wrapping = options.check(file), check_container(container)
    if images is not None and calibrate is None:
        raise UsageError("--images goes with --calibrate, whose images they are")
    check_paths({"FILE": file}, {"-o": output})
    if kind == "network":
        check_paths({f"{beside.name} beside FILE": beside for beside in onnx_files(file)[1:]}, {"-o": output})
    given = None if calibrate is None else read_calibration(calibrate, data_dir)
    with terminal.Progress() as progress:
        done = pack_report(
            file,
            options,
            given,
            images=images or IMAGES,
            seed=seed,
            data_dir=data_dir,
            progress=progress.tick,
        )
    done.packed.write(output, wrapping, limits=limits)
    terminal.print_json(pack_json(done, output)) if as_json else print_pack(done, file, output, verbose=verbose)
    note_limits(output, limits)


def _bits(texts: list[str]) -> tuple[int | Literal["auto"] | None, dict[str, int]]:
    """Bits of all layers, and of single ones by name."""
    common: list[int | Literal["auto"]] = []
    layers: dict[str, int] = {}
    for text in texts:
        name, mark, number = text.rpartition("=")
        if not mark:
            common.append("auto" if text == "auto" else _count(text, text))
        elif layers.setdefault(name, _count(number, text)) != _count(number, text):
            raise UsageError(f"--bits {name}: found {layers[name]} and {number}; expected one of them")
    if len(common) > 1:
        raise UsageError(
            f"--bits: found {' and '.join(map(str, common))}; expected one, and LAYER=BITS for single layers"
        )
    return (common[0] if common else None), layers


def _count(number: str, text: str) -> int:
    with contextlib.suppress(ValueError):
        if 2 <= int(number) <= 8:
            return int(number)
    raise UsageError(f"--bits {text!r}: expected {BITS}, or LAYER=BITS with 2 to 8 bits")
