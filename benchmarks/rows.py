"""Rows of the tables: a network, the weights it starts from, a recipe and a data set, run as commands of sepnet.

What needs torch is imported when a row runs, so that the training queue answers quickly.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from command import ROOT, RUNS, ZOO
from job import Job
from machine import RESULTS, save

from sepnet.core.recipe import load_recipe, with_epochs


@dataclass(frozen=True)
class Row:
    """One line of a table.

    Attributes:
        weights: a file in $SEPNET_DATA/weights, "train:N" for N epochs of training, or "again:ROW" for those of the
            packed file of another row, its batch normalizations measured anew.
        zoo: the packed file's name, if it has a place there.
        best: whether it is packed by the codecs that read at half the speed, too.
        data: with `?holdout=N` a trial, scored on the last N training images.
        train: options of that training, KEY=VALUE.
        seed: of compressing.
    """

    net: str
    weights: str
    recipe: str
    zoo: str = ""
    best: bool = False
    data: str = "cifar10"
    train: tuple[str, ...] = ()
    seed: int = 0

    @property
    def table(self) -> str:
        """The script that has the row, the folder of its runs, and how the names of its results begin."""
        return self.data.partition("?")[0]


Rows = Mapping[str, Row]


def jobs(rows: Rows, name: str, epochs: int | None = None, more: tuple[str, ...] = ()) -> list[Job]:
    """The commands that train a row, in order."""
    row = rows[name]
    before = [_train_job(row, name, more)] if row.weights.startswith("train:") else []
    return [*before, _compress_job(row, name, epochs, more)]


def _train_job(row: Row, name: str, more: tuple[str, ...]) -> Job:
    epochs, folder = int(row.weights.partition(":")[2]), RUNS / row.table
    settings = [part for setting in row.train for part in ("--set", setting)]
    return Job(
        row=name,
        verb="train",
        arguments=(row.net, "--data", row.data, "--epochs", str(epochs), *settings, *more),
        output=folder / f"{_float_name(row)}.safetensors",
        log=folder / f"{_float_name(row)}_train.jsonl",
        epochs=epochs,
        run={"net": row.net, "data": row.data, "epochs": epochs, "seed": 0},
    )


def _float_name(row: Row) -> str:
    """Trials have float weights of their own, which never saw the images that choose."""
    return row.net + row.data.removeprefix(row.table).replace("?", "-").replace("=", "")


def _compress_job(row: Row, name: str, epochs: int | None, more: tuple[str, ...]) -> Job:
    kind, _, of = row.weights.partition(":")
    folder = RUNS / row.table
    weights = Path(os.environ.get("SEPNET_DATA", "")) / "weights" / row.weights
    if kind in ("train", "again"):
        weights = folder / f"{_float_name(row) if kind == 'train' else of}.safetensors"
    recipe = load_recipe(row.recipe)
    length = () if epochs is None else ("--epochs", str(epochs))
    seed = ("--seed", str(row.seed)) if row.seed else ()
    return Job(
        row=name,
        verb="compress",
        arguments=(
            *(row.net, "--weights", str(weights), "--data", row.data, "--recipe", row.recipe),
            *(*length, *seed, *["--best"] * row.best, *more),
        ),
        output=folder / f"{name}.sepnet",
        log=folder / f"{name}.jsonl",
        epochs=sum(stage.epochs for stage in with_epochs(recipe, epochs).stage),
        run={
            **{"net": row.net, "data": row.data, "recipe": recipe.digest(), "seed": row.seed},
            "epochs": "the recipe's" if epochs is None else epochs,
        },
        weights=weights,
    )


def train_float(row: Row, name: str, more: tuple[str, ...] = ()) -> Path:
    """The weights of a row that says "train:N", trained if nobody has."""
    from run_job import run_job

    job = _train_job(row, name, more)
    if not job.output.exists():
        run_job(job)
        RESULTS.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.log, RESULTS / f"{row.table}_{job.log.name}")
    return job.output


def _unpack_again(rows: Rows, row: Row) -> None:
    from unpacked import unpacked

    of = row.weights.partition(":")[2]
    packed, path = packed_file(rows, of), RUNS / row.table / f"{of}.safetensors"
    if not packed.exists():
        raise SystemExit(f"{packed} is missing: {shown_command(rows, of)}")
    if not path.exists():
        unpacked(row.net, row.table, packed, path)


def run(rows: Rows, name: str, epochs: int | None = None, more: tuple[str, ...] = ()) -> None:
    """Train, compress, and write down what came of it: the packed file, the curve, the result."""
    from run_job import run_job

    row = rows[name]
    if row.weights.startswith("train:"):
        train_float(row, name, more)
    elif row.weights.startswith("again:"):
        _unpack_again(rows, row)
    job = _compress_job(row, name, epochs, more)
    if not job.weights.exists():
        raise SystemExit(f"{job.weights} is missing; SEPNET_DATA says where data sets and weights are")
    result = run_job(job)
    if row.zoo:
        ZOO.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(job.output, ZOO / f"{row.zoo}.sepnet")
    shown = f"{row.zoo or name}.sepnet"
    RESULTS.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(job.log, RESULTS / f"{row.table}_{name}.jsonl")
    trained = sum(json.loads(line)["event"] == "epoch" for line in job.log.read_text().splitlines())
    save(f"{row.table}_{name}", shown_command(rows, name, epochs), {**result, "output": shown, "epochs": trained})
    finished(rows, name)


def finished(rows: Rows, name: str) -> None:
    """Remove the resume files of a row."""
    for job in jobs(rows, name):
        job.resume_file.unlink(missing_ok=True)


def shown_command(rows: Rows, name: str, epochs: int | None = None) -> str:
    """What runs a row, as its result names it."""
    length = [] if epochs is None else ["--epochs", str(epochs)]
    return " ".join(["python", f"benchmarks/{rows[name].table}.py", name, *length])


def ran(rows: Rows, name: str) -> str:
    """The command whose result has been written down; "" for none."""
    path = RESULTS / f"{rows[name].table}_{name}.json"
    return str(json.loads(path.read_text())["command"]) if path.exists() else ""


def packed_file(rows: Rows, name: str) -> Path:
    """Where the packed file of a row that was run is."""
    row = rows[name]
    if not row.zoo:
        return RUNS / row.table / f"{name}.sepnet"
    path = ZOO / f"{row.zoo}.sepnet"
    return path if path.exists() else ROOT / "zoo" / path.name


def main(rows: Rows, about: str) -> None:
    """The command line of a table."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("row", nargs="?", choices=sorted(rows), help="none: list the rows")
    parser.add_argument("--epochs", type=int, help="epochs in all; default the recipe's own")
    parser.add_argument("--threads", help="threads to train with")
    parser.add_argument("--device", help="where to train")
    given = parser.parse_args()
    if given.row is None:
        for name, row in rows.items():
            print(f"{name:20} {row.net}, from {row.weights}, recipe {row.recipe}")
        return
    more = [part for key in ("threads", "device") if getattr(given, key) for part in (f"--{key}", getattr(given, key))]
    run(rows, given.row, given.epochs, tuple(more))
