"""How good and how small are networks of binary 3x3 kernels on CIFAR-10?  All 10,000 test images.

    SEPNET_DATA=... python benchmarks/cifar10.py                       which rows there are
    SEPNET_DATA=... python benchmarks/cifar10.py resnet20-pattern      run one, or go on where it was interrupted
    SEPNET_DATA=... python benchmarks/cifar10.py resnet20-talk --epochs 5 --threads 2

A row is a network, the float weights it starts from, and a recipe.  Checkpoints and weights lie in runs/cifar10/, logs
and results in results/, packed files of the rows that have a place there in zoo/.  `--epochs`, `--threads` and
`--device` are those of the command line; the result says how many epochs there were and on which machine.

The float ResNets are public ones, trained on all 50,000 training images ($SEPNET_DATA/weights); SEP-Net is trained here.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import dataclass
from pathlib import Path

import torch
from command import ROOT, sepnet
from machine import RESULTS, save
from safetensors.torch import save_file
from torch import nn

import sepnet as package
from sepnet.core.dataset import Split
from sepnet.datasets import load
from sepnet.networks import build
from sepnet.training.batches import eval_batches

RUNS = ROOT / "runs" / "cifar10"


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        weights: a file in $SEPNET_DATA/weights, "train:N" for N epochs of training, or "again:ROW" for those of the
            packed file of another row, its batch normalizations measured anew.
        zoo: the packed file's name, if it has a place there.
        best: whether it is packed by the codecs that read at half the speed, too.
    """

    net: str
    weights: str
    recipe: str
    zoo: str = ""
    best: bool = False


ROWS = {
    **{
        f"resnet{depth}-talk": Row(f"resnet{depth}_cifar", f"cifar10_resnet{depth}.safetensors", "talk-pattern")
        for depth in (20, 32, 44, 56)
    },
    **{
        f"resnet{depth}-pattern": Row(
            f"resnet{depth}_cifar",
            f"cifar10_resnet{depth}.safetensors",
            "resnet-cifar10-pattern",
            "" if depth == 20 else f"resnet{depth}-cifar10-pattern",
        )
        for depth in (20, 32, 44, 56)
    },
    "resnet20-again": Row(
        "resnet20_cifar", "again:resnet20-pattern", "resnet-cifar10-pattern-again", "resnet20-cifar10-pattern"
    ),
    "resnet20-dictionary": Row("resnet20_cifar", "again:resnet20-again", "resnet-cifar10-dictionary"),
    "resnet20-dictionary-again": Row(
        "resnet20_cifar", "again:resnet20-dictionary", "resnet-cifar10-dictionary-again", "resnet20-cifar10-dictionary"
    ),
    "resnet20-small": Row(
        "resnet20_cifar", "cifar10_resnet20.safetensors", "resnet-cifar10-small", "resnet20-cifar10-small", best=True
    ),
    "sepnet-r": Row("sepnet_cifar", "train:30", "sepnet-r", "sepnet-cifar10-r"),
    "sepnet-b": Row("sepnet_cifar", "train:30", "sepnet-b", "sepnet-cifar10-b"),
    "sepnet-bq": Row("sepnet_cifar", "again:sepnet-b", "sepnet-bq-again", "sepnet-cifar10-bq"),
}
TRAIN = ("lr=0.1", "batch=128", "warmup=1", "weight_decay=5e-4", "shift=4", "mirror=true")


def float_weights(row: Row, more: list[str]) -> Path:
    """The weights that a row starts from, trained first if nobody has."""
    kind, _, epochs = row.weights.partition(":")
    if kind == "again":
        return unpacked(row.net, epochs)
    if kind != "train":
        return Path(os.environ["SEPNET_DATA"]) / "weights" / row.weights
    path = RUNS / f"{row.net}.safetensors"
    if not path.exists():
        settings = [part for setting in TRAIN for part in ("--set", setting)]
        log = ["--log", str(RESULTS / f"cifar10_{row.net}_train.jsonl")]
        target = ["-o", str(path), "--resume", *log, *settings, *more]
        sepnet("train", row.net, "--data", "cifar10", "--epochs", epochs, *target)
    return path


def packed_file(name: str) -> Path:
    """Where the packed file of a row goes."""
    return ROOT / "zoo" / f"{ROWS[name].zoo}.sepnet" if ROWS[name].zoo else RUNS / f"{name}.sepnet"


def unpacked(net: str, name: str) -> Path:
    """The weights of a row's packed file, made ready for training: the same outputs, but norms that do what norms do.

    Folded batch normalizations come back as the identity.  Training normalizes by the batch, so each gets the mean and
    the deviation of what it sees in 1,000 training images, and the scale and shift that undo them.
    """
    if not packed_file(name).exists():
        raise SystemExit(f"{packed_file(name)} is missing: python benchmarks/cifar10.py {name}")
    path = RUNS / f"{name}.safetensors"
    if path.exists():
        return path
    data = load("cifar10", Path(os.environ["SEPNET_DATA"]))
    model = build(net).eval()
    state = package.read(packed_file(name)).state_dict()
    model.load_state_dict({key: torch.tensor(value) for key, value in state.items()})
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    seen: list[list[torch.Tensor]] = [[] for _ in norms]
    hooks = [
        norm.register_forward_pre_hook(lambda _, given, seen=each: seen.append(given[0].transpose(0, 1).flatten(1)))
        for norm, each in zip(norms, seen, strict=True)
    ]
    with torch.no_grad():
        model(next(eval_batches(data, Split(data.train.images[:1000], data.train.labels[:1000]), 1000))[0])
        for norm, each in zip(norms, seen, strict=True):
            variance, mean = torch.var_mean(torch.cat(each, 1), 1, correction=0)
            slope = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            norm.bias += slope * (mean - norm.running_mean)
            norm.weight.copy_(slope * torch.sqrt(variance + norm.eps))
            norm.running_mean.copy_(mean)
            norm.running_var.copy_(variance)
    for hook in hooks:
        hook.remove()
    save_file(model.state_dict(), path)
    return path


def run(name: str, epochs: int | None, more: list[str]) -> None:
    """Compress, and write down what came of it."""
    row = ROWS[name]
    RUNS.mkdir(parents=True, exist_ok=True)
    weights = float_weights(row, more)
    output = packed_file(name)
    length = [] if epochs is None else ["--epochs", str(epochs)]
    log = RESULTS / f"cifar10_{name}.jsonl"
    result = sepnet(
        *("compress", row.net, "--weights", str(weights), "--data", "cifar10", "--recipe", row.recipe),
        *("-o", str(output), "--log", str(log), "--resume", *length, *["--best"] * row.best, *more),
    )
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    trained = sum(line["event"] == "epoch" for line in lines)
    command = " ".join(["python", "benchmarks/cifar10.py", name, *length])
    save(f"cifar10_{name}", command, {**result, "output": output.name, "epochs": trained})


def main() -> None:
    """Parse, run."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("row", nargs="?", choices=sorted(ROWS), help="none: list the rows")
    parser.add_argument("--epochs", type=int, help="epochs in all; default the recipe's own")
    parser.add_argument("--threads", help="threads to train with")
    parser.add_argument("--device", help="where to train")
    given = parser.parse_args()
    if given.row is None:
        for name, row in ROWS.items():
            print(f"{name:20} {row.net}, from {row.weights}, recipe {row.recipe}")
        return
    more = [part for key in ("threads", "device") if getattr(given, key) for part in (f"--{key}", getattr(given, key))]
    run(given.row, given.epochs, more)


if __name__ == "__main__":
    main()
