"""The command-line application: options that several commands share, and how errors become exit codes."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from sepnet.core.errors import SepnetError

__all__ = ["app", "command", "main"]

Command = TypeVar("Command", bound=Callable[..., None])

app = typer.Typer(
    name="sepnet",
    help="Make trained neural networks small enough to ship, and prove that they still work.",
    epilog="Exit codes: 0 fine, 1 the work failed, 2 wrong usage, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Net = Annotated[
    str,
    typer.Argument(
        metavar="NET",
        help="A catalogue name (lenet300, lenet5?num_classes=7), package.module:function, torchvision:NAME, timm:NAME, or a .pt2 file (torch unpickles: only one that you trust).",
    ),
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A packed file (.sepnet).")]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="DATA",
        help="digits, mnist, cifar10, folder:PATH or package.module:function; ?holdout=N tests on N training images.",
    ),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where named data sets are; default $SEPNET_DATA.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
Seed = Annotated[int, typer.Option("--seed", metavar="S", min=0, help="The same seed gives the same file.")]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", min=1, help="Threads to train with; default all cores.")
]
Device = Annotated[
    str, typer.Option("--device", metavar="DEVICE", help="Where to train: auto (a GPU if there is one), cpu, cuda, mps.")
]
Log = Annotated[Path | None, typer.Option("--log", metavar="FILE", help="Write a line of JSON an epoch and a stage.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run of the same command.")]
Restart = Annotated[bool, typer.Option("--restart", help="Throw an interrupted run away and start over.")]


def _fail(error: SepnetError) -> NoReturn:
    from sepnet.cli.terminal import print_error

    print_error(str(error))
    raise typer.Exit(error.exit_code) from error


def command(example: str) -> Callable[[Command], Command]:
    """Register a function under its name; sepnet's errors become one line and an exit code."""

    def register(function: Command) -> Command:
        @functools.wraps(function)
        def guarded(*arguments: Any, **options: Any) -> None:
            try:
                function(*arguments, **options)
            except SepnetError as error:
                _fail(error)
            except KeyboardInterrupt:
                from sepnet.cli.terminal import print_error

                hint = "; the same command with --resume goes on where it was" if "resume" in options else ""
                print_error(f"interrupted{hint}", word="stopped")
                raise typer.Exit(130) from None
            except MemoryError as error:
                _fail(SepnetError(f"out of memory {error}".strip()))

        app.command(function.__name__.rstrip("_"), epilog=f"Example: {example}")(guarded)
        return function

    return register


def main() -> None:
    """Entry point of the console script."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries tell developers is no line for users
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except BrokenPipeError:  # whoever reads our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
