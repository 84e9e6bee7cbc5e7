"""The command inspect.  Of an .onnx file it needs no torch.

Steps are imported when their command runs, so that `--help` is quick.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sepnet.cli.app import Json, command, integer
from sepnet.core.errors import UsageError
from sepnet.core.files import check_paths, write_bytes
from sepnet.core.network import SORT_KEYS, NetworkReport, SortKey
from sepnet.core.registry import require_torch

if TYPE_CHECKING:
    from sepnet.core.estimate import TalkAccounting, WhatIf

__all__ = ["inspect", "parse_input"]


@command("sepnet inspect lenet5 --input-shape 1,28,28")
def inspect(
    net: Annotated[
        str | None,
        typer.Argument(
            metavar="NET",
            help="A catalogue name (lenet300, lenet5?num_classes=7), package.module:function, torchvision:NAME, "
            "timm:NAME, an .onnx file, or a .pt2 file (torch unpickles: only one that you trust).",
        ),
    ] = None,
    *,
    input_shape: Annotated[
        list[str] | None,
        typer.Option(
            "--input-shape",
            metavar="C,H,W[:TYPE]",
            help="Shape of one example, and its type (16:int64); again for each further input; default the network's own.",
        ),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(
            "--weights",
            metavar="FILE",
            help="Check that this weights file fits (safetensors, or .pt), and estimate from it with --what-if.",
        ),
    ] = None,
    depth: Annotated[
        int | None,
        typer.Option(
            "--depth",
            metavar="N",
            parser=integer(1),
            help="A row a block: layers whose paths share their first N parts.",
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option("--sort", metavar="KEY", help=f"{', '.join(SORT_KEYS)}; default the network's order.")
    ] = None,
    what_if: Annotated[bool, typer.Option("--what-if", help="Estimate what each method would save.")] = False,
    history: Annotated[
        bool, typer.Option("--history", help="The networks of the talk in one table; takes no NET.")
    ] = False,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page with charts.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="Write a chart for print.")] = None,
    as_json: Json = False,
) -> None:
    """Show where a network's parameters are: a row a layer, totals by kind."""
    given = {"NET": net, "--input-shape": input_shape, "--weights": weights, "--depth": depth, "--sort": sort}
    given |= {"--what-if": what_if, "--html": html, "--svg": svg}
    if history:
        _history(as_json, [name for name, value in given.items() if value])
        return
    if net is None:
        raise UsageError("inspect needs NET: a catalogue name, package.module:function, or a file (or --history)")
    if sort is not None and sort not in SORT_KEYS:
        raise UsageError(f"--sort {sort!r}: expected one of {', '.join(SORT_KEYS)}")
    check_paths({"NET": Path(net), "--weights": weights}, {"--html": html, "--svg": svg})
    report = _report(net, [parse_input(text) for text in input_shape or ()], weights)
    guess = _what_if(report, net, weights) if what_if else None
    _pictures(report, guess, html, svg)
    key: SortKey | None = sort
    _show_json(report, guess, depth, key) if as_json else _show(report, guess, depth, key)


def _show(report: NetworkReport, guess: WhatIf | None, depth: int | None, sort: SortKey | None) -> None:
    from sepnet.cli.inspect_tables import print_network
    from sepnet.cli.network_tables import print_talk_accounting, print_what_if

    print_network(report, depth, sort)
    if guess is not None:
        print_what_if(guess)
        accounting = _talk_accounting(report)
        if accounting is not None:
            print_talk_accounting(accounting)


def _show_json(report: NetworkReport, guess: WhatIf | None, depth: int | None, sort: SortKey | None) -> None:
    from sepnet.cli import terminal
    from sepnet.cli.inspect_tables import network_json
    from sepnet.cli.network_tables import talk_accounting_json, what_if_json

    found = network_json(report, depth or 1, sort)
    if guess is not None:
        accounting = _talk_accounting(report)
        found["what_if"] = what_if_json(guess)
        found["talk_accounting"] = talk_accounting_json(accounting) if accounting is not None else None
    terminal.print_json(found)


def _what_if(report: NetworkReport, net: str, weights: Path | None) -> WhatIf:
    """With the weights of `--weights`, or those that `compress` would take as the network's own."""
    require_torch("sepnet inspect --what-if")
    from sepnet.networks import brings_weights, build, outline
    from sepnet.steps.what_if import what_if
    from sepnet.training.weights import read_weights, unwrapped

    if weights is not None:
        state = unwrapped(read_weights(weights), outline(net).state_dict())
    elif not net.lower().endswith(".onnx") and brings_weights(net):
        state = build(net).state_dict()
    else:
        return what_if(report)
    return what_if(report, {name: tensor.detach().float().numpy() for name, tensor in state.items()})


def _talk_accounting(report: NetworkReport) -> TalkAccounting | None:
    """None for a network without kernels that could become patterns."""
    from sepnet.steps.talk_accounting import talk_accounting

    with contextlib.suppress(UsageError):
        return talk_accounting(report)
    return None


def _history(as_json: bool, besides: Sequence[str]) -> None:
    if besides:
        raise UsageError(
            f"--history shows the talk's networks; expected nothing but --json, found {', '.join(besides)}"
        )
    require_torch("sepnet inspect --history")
    from sepnet.cli import terminal
    from sepnet.cli.network_tables import history_json, print_history
    from sepnet.steps.history import history

    rows = history()
    terminal.print_json(history_json(rows)) if as_json else print_history(rows)


def _pictures(report: NetworkReport, guess: WhatIf | None, html: Path | None, svg: Path | None) -> None:
    from sepnet.steps.network_page import network_page, network_svg

    if html is not None:
        write_bytes(html, network_page(report, guess).encode())
    if svg is not None:
        write_bytes(svg, network_svg(report).encode())


def _report(net: str, inputs: Sequence[tuple[tuple[int, ...], str]], weights: Path | None) -> NetworkReport:
    shapes, types = [shape for shape, _ in inputs], [kind for _, kind in inputs]
    if net.lower().endswith(".onnx"):
        from sepnet.steps.inspect_onnx import inspect_onnx

        if weights is not None or any(types):
            raise UsageError(f"{net!r} holds its own weights and the types of its inputs; leave them out")
        return inspect_onnx(net, shapes or None, net)
    require_torch("sepnet inspect")
    from sepnet.networks import outline
    from sepnet.steps.inspect import inspect as step
    from sepnet.training.weights import check_fit

    model = outline(net)
    if weights is not None:
        check_fit(model, weights)
    if not shapes:
        own = getattr(model, "input_shape", None)
        shapes = list(getattr(model, "input_shapes", () if own is None else (own,)))
        types = list(getattr(model, "input_types", ()))
    if not shapes:
        raise UsageError(f"network {net!r} does not say its input shape; give it as --input-shape C,H,W")
    return step(model, shapes, net, types)


def parse_input(text: str) -> tuple[tuple[int, ...], str]:
    """A shape and a type, "" if none is given.

    >>> parse_input("1,28,28"), parse_input("16:int64"), parse_input(":int64")
    (((1, 28, 28), ''), ((16,), 'int64'), ((), 'int64'))
    """
    sizes, colon, kind = text.partition(":")
    try:
        shape = tuple(int(part) for part in sizes.lower().replace("x", ",").split(",")) if sizes or not colon else ()
    except ValueError:
        shape = (0,)
    if min(shape, default=1) < 1 or bool(colon) != bool(kind):
        raise UsageError(
            f"input shape {text!r}: expected positive integers with commas, such as 1,28,28 or 16:int64 (the batch is not part of it)"
        )
    return shape, kind
