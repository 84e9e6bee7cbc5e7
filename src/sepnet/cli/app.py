"""The command-line application: options that several commands share, and how errors become exit codes."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from sepnet.core.errors import SepnetError
from sepnet.core.seed import LARGEST_SEED

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


def integer(least: int, most: int | None = None) -> Callable[[object], int]:
    """A parser of an option's text.

    >>> integer(1)("3")
    3
    """
    wanted = f"an integer of {least} or more" if most is None else f"an integer from {least} to {most}"

    def parse(text: object) -> int:
        with contextlib.suppress(ValueError):
            number = int(str(text))
            if number >= least and (most is None or number <= most):
                return number
        raise typer.BadParameter(f"found {text}; expected {wanted}")

    return parse


Net = Annotated[
    str,
    typer.Argument(
        metavar="NET",
        help="A catalogue name (lenet300, lenet5?num_classes=7), package.module:function, torchvision:NAME, timm:NAME, or a .pt2 file (torch unpickles: only one that you trust).",
    ),
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A packed file (.sepnet); - reads the standard input.")]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="DATA",
        help="digits, mnist, cifar10, imagenet_sample, folder:PATH or package.module:function, see docs/data.md; ?holdout=N tests on N training images.",
    ),
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="Where named data sets are; default $SEPNET_DATA.")
]
CALIBRATE = (
    "a data set, as of --data, whose training images they are; or a file FILE.npz with an array for each input of the "
    "network, by its name, as the network takes them (FILE.npy for the one input)"
)
"""What an option --calibrate takes."""
Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
RuntimeName = Annotated[
    str | None,
    typer.Option(
        "--runtime",
        metavar="NAME",
        help="What runs the packed file: onnxruntime (default), torch (extra torch), openvino (extra openvino), litert (extra litert); c99 (needs a C compiler), integer; see docs/runtimes.md.",
    ),
]
Best = Annotated[
    bool,
    typer.Option("--best", help="The smallest file there is: also try codecs (mx1) that read at half the speed."),
]
InContainer = Annotated[
    str,
    typer.Option(
        "--container",
        metavar="CONTAINER",
        help="none, or safetensors: the packed file as the one tensor of a .safetensors file, for hubs; it reads like a plain one.",
    ),
]
Limit = Annotated[
    list[str] | None,
    typer.Option(
        "--limit",
        metavar="NAME=N",
        help="Take a packed file above the limits, if it is yours: elements=N (numbers of all tensors; default 268,435,456), dimensions, tensors, graph_bytes, header_bytes, file_bytes (of a stream).",
    ),
]
Seed = Annotated[
    int,
    typer.Option("--seed", metavar="S", parser=integer(0, LARGEST_SEED), help="The same seed gives the same file."),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        parser=integer(1),
        help="Threads to train with; default the cores that the program may use.",
    ),
]
Device = Annotated[
    str,
    typer.Option("--device", metavar="DEVICE", help="Where to train: auto (a GPU if there is one), cpu, cuda, mps."),
]
Log = Annotated[
    Path | None,
    typer.Option(
        "--log",
        metavar="FILE",
        help="Write a line of JSON an epoch and a stage; a new run starts the file anew, --resume goes on with it.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run of the same command.")]
Restart = Annotated[bool, typer.Option("--restart", help="Throw an interrupted run away and start over.")]


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"sepnet {version('sepnet')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


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
            except OSError as error:
                if error.filename is None:  # of a stream: main knows which
                    raise
                _fail(SepnetError(f"{error.filename}: {error.strerror}"))

        app.command(function.__name__.rstrip("_"), epilog=f"Example: {example}")(guarded)
        return function

    return register


def main() -> None:
    """Entry point of the console script."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")  # what libraries tell developers is no line for users
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (open as long as the process runs)
    if sys.stdout is None:  # the next file to be opened would take its place
        _cannot_print("it is closed")
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # whoever reads our output may have had enough, as of any tool
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        _cannot_print(error.strerror or str(error))


def _cannot_print(reason: str) -> NoReturn:
    from sepnet.cli.terminal import print_error

    print_error(f"cannot write to the standard output: {reason}")
    sys.exit(1)
