"""The commands of `sepnet`.  Steps are imported when their command runs, so that `--help` is quick."""

from __future__ import annotations

import functools
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from sepnet.core.errors import MissingExtraError, SepnetError, UsageError

__all__ = ["app", "main"]

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
    typer.Argument(metavar="NET", help="A catalogue name (lenet300, lenet5?num_classes=7) or package.module:function."),
]
File = Annotated[Path, typer.Argument(metavar="FILE", help="A packed file (.sepnet).")]
Data = Annotated[
    str,
    typer.Option(
        "--data",
        metavar="DATA",
        help="digits, mnist, folder:PATH or package.module:function; ?holdout=N tests on N training images.",
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
Log = Annotated[Path | None, typer.Option("--log", metavar="FILE", help="Write a line of JSON an epoch and a stage.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run of the same command.")]
Restart = Annotated[bool, typer.Option("--restart", help="Throw an interrupted run away and start over.")]


def _fail(error: SepnetError) -> NoReturn:
    from sepnet.cli.terminal import print_error

    print_error(str(error))
    raise typer.Exit(error.exit_code) from error


def _command(example: str) -> Callable[[Command], Command]:
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


@_command("sepnet inspect lenet5 --input-shape 1,28,28")
def inspect(
    net: Net,
    input_shape: Annotated[
        str | None,
        typer.Option("--input-shape", metavar="C,H,W", help="Shape of one example; default the network's own."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show where a network's parameters are: a row a layer, totals by kind."""
    from sepnet.cli import terminal

    torch_or_hint("inspect")
    from sepnet.networks import build
    from sepnet.steps.inspect import inspect as step

    model = build(net)
    shape = parse_shape(input_shape) if input_shape else getattr(model, "input_shape", None)
    if shape is None:
        raise UsageError(f"network {net!r} does not say its input shape; give it as --input-shape C,H,W")
    report = step(model, shape, net)
    terminal.print_json(terminal.network_json(report)) if as_json else terminal.print_network(report)


@_command("sepnet train lenet5 --data mnist --data-dir data --epochs 20 -o lenet5.safetensors")
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
            help="A training option: lr, batch, optimizer, schedule, warmup, weight_decay, label_smoothing, shift, mirror.",
        ),
    ] = None,
    data_dir: DataDir = None,
    log: Log = None,
    resume: Resume = False,
    restart: Restart = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Train a float network."""
    from sepnet.cli import terminal

    torch_or_hint("train")
    import torch

    from sepnet.core.files import check_writable
    from sepnet.core.recipe import train_options
    from sepnet.datasets import load
    from sepnet.networks import build
    from sepnet.steps.train import train as step
    from sepnet.training.checkpoint import Checkpoint
    from sepnet.training.weights import write_weights

    check_writable(output)
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
        trained = step(model, loaded, options, epochs, seed, checkpoint, progress.tick, lines.epoch)
        lines.score(trained.score)
    write_weights(output, trained.model.state_dict())
    checkpoint.remove()
    score = {"output": str(output), "bytes": output.stat().st_size, **terminal.score_json(trained.score)}
    terminal.print_json(score) if as_json else terminal.print_score(
        trained.score, f"{output}, {score['bytes']:,} bytes"
    )


@_command("sepnet compress lenet5 --weights lenet5.safetensors --data mnist --recipe lenet5-mnist -o lenet5.sepnet")
def compress(
    net: Net,
    weights: Annotated[
        Path,
        typer.Option(
            "--weights", metavar="FILE", help="The trained weights: safetensors, or .pt holding only tensors."
        ),
    ],
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
    data_dir: DataDir = None,
    log: Log = None,
    resume: Resume = False,
    restart: Restart = False,
    threads: Threads = None,
    as_json: Json = False,
) -> None:
    """Compress a trained network as a recipe says, fine-tune it, and pack it into one small file."""
    from sepnet.cli import terminal

    torch_or_hint("compress")
    import torch

    from sepnet.core.files import check_writable
    from sepnet.core.recipe import load_recipe
    from sepnet.datasets import load
    from sepnet.networks import build
    from sepnet.steps.compress import compress as step
    from sepnet.steps.info import info as info_step
    from sepnet.steps.inspect import inspect as inspect_step
    from sepnet.steps.report import write_report
    from sepnet.training.checkpoint import Checkpoint, fingerprint
    from sepnet.training.weights import load_into

    for path in filter(None, (output, report, log)):
        check_writable(path)
    plan = load_recipe(recipe)
    model = build(net)
    load_into(model, weights)
    run: dict[str, str | int | float] = {
        "net": net,
        "weights": fingerprint(weights),
        "data": data,
        "recipe": plan.digest(),
        "epochs": "the recipe's" if epochs is None else epochs,
        "seed": seed,
    }
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
            lambda packed: packed.write(output),
        )
    checkpoint.remove()
    if report:
        write_report(report, plan, done.rows, info_step(done.packed), data)
    if as_json:
        terminal.print_json(terminal.compress_json(output, done))
    else:
        terminal.print_rows(done.rows, f"{net} on {data}, recipe {plan.name}")
        terminal.note(
            f"{output}: {done.packed.bytes:,} bytes, {done.packed.ratio:.1f}x smaller, top-1 {done.score.top1:.2%} of {done.score.n:,}, read back from the file"
        )


@_command("sepnet info lenet5.sepnet")
def info(file: File, as_json: Json = False) -> None:
    """Show what is inside a packed file, byte for byte."""
    from sepnet.cli import terminal
    from sepnet.core.packed_model import PackedModel
    from sepnet.steps.info import info as step

    report = step(PackedModel.read(file))
    terminal.print_json(terminal.info_json(report)) if as_json else terminal.print_info(report, str(file))


@_command("sepnet evaluate lenet5.sepnet --data mnist --data-dir data")
def evaluate(
    target: Annotated[
        str, typer.Argument(metavar="FILE|NET", help="A packed file, or a network together with --weights.")
    ],
    data: Data,
    weights: Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="Weights of NET.")] = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Measure top-1, top-5 and loss on the test split."""
    from sepnet.cli import terminal
    from sepnet.core.packed_model import PackedModel
    from sepnet.datasets import load
    from sepnet.steps.evaluate import evaluate as step

    if weights is None:
        if not target.endswith(".sepnet") and not os.path.isfile(target):
            raise UsageError(f"{target!r} is no packed file; for a network give its weights: --weights FILE")
        packed = PackedModel.read(target)
        loaded = load(data, data_dir)
        with terminal.Progress() as progress:
            score = step(packed, loaded, progress=progress.tick)
    else:
        torch_or_hint("evaluate a network")
        from sepnet.networks import build
        from sepnet.steps.evaluate_network import evaluate_network
        from sepnet.training.weights import load_into

        model = build(target)
        load_into(model, weights)
        score = evaluate_network(model, load(data, data_dir))
    terminal.print_json(terminal.score_json(score)) if as_json else terminal.print_score(score, target)


@_command("sepnet run lenet5.sepnet seven.png --topk 3")
def run(
    file: File,
    images: Annotated[
        list[Path],
        typer.Argument(metavar="IMAGE...", help="Image files; resized and converted to what the network takes."),
    ],
    topk: Annotated[int, typer.Option("--topk", metavar="K", min=1, help="Classes to show an image.")] = 5,
    as_json: Json = False,
) -> None:
    """Classify images with a packed file.  Needs no torch."""
    from sepnet.cli import terminal
    from sepnet.core.packed_model import PackedModel
    from sepnet.steps.run import run as step

    predictions = step(PackedModel.read(file), images, topk)
    terminal.print_json(terminal.run_json(predictions)) if as_json else terminal.print_predictions(predictions)


@_command("sepnet unpack lenet5.sepnet -o lenet5.safetensors")
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

    step(PackedModel.read(file), output)
    size = output.stat().st_size
    terminal.print_json({"output": str(output), "bytes": size}) if as_json else terminal.note(
        f"{output}: {size:,} bytes"
    )


def torch_or_hint(what: str) -> None:
    """Raise a hint when torch is not installed."""
    try:
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(f"sepnet {what}", "torch", "torch") from error


def parse_shape(text: str) -> tuple[int, ...]:
    """`"1,28,28"` to `(1, 28, 28)`."""
    try:
        shape = tuple(int(part) for part in text.lower().replace("x", ",").split(","))
    except ValueError:
        shape = ()
    if not shape or min(shape) < 1:
        raise UsageError(
            f"input shape {text!r}: expected positive integers with commas, such as 1,28,28 (the batch is not part of it)"
        )
    return shape


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
