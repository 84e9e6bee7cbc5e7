"""How small do LeNet-300-100 and LeNet-5 get on MNIST, and at which error?  All 10,000 test images.

    SEPNET_DATA=... python benchmarks/mnist.py lenet300
    SEPNET_DATA=... python benchmarks/mnist.py lenet5
    SEPNET_DATA=... python benchmarks/mnist.py lenet5 lenet5-han    only this recipe; the other rows stay
    SEPNET_DATA=... python benchmarks/mnist.py lenet5-1520          a row as those of cifar10.py

Trains the float network (kept in $SEPNET_RUNS/mnist/, so that a second call goes on from there), compresses it by the recipe of
the record (zoo/NAME-mnist.sepnet) and by Han's pruning rates (the talk's table), and writes results/mnist_NAME.json and
the logs beside it.  The recipes were chosen on `mnist?holdout=5000`, without looking at the test images.
"""

from __future__ import annotations

import json
import sys

from command import ROOT, RUNS, sepnet
from machine import RESULTS, save
from rows import Row, finished, train_float
from rows import main as run_row

_TRAIN = ("lr=0.05", "shift=1", "weight_decay=1e-4")
FLOAT = {
    "lenet300": Row("lenet300", "train:60", "lenet300-mnist", data="mnist", train=_TRAIN),
    "lenet5": Row("lenet5", "train:40", "lenet5-mnist", data="mnist", train=_TRAIN),
}
ROWS = {
    "lenet5-1520": Row("lenet5", "train:40", "lenet5-mnist-1520", "lenet5-mnist-1520", data="mnist", train=_TRAIN),
}
DEEP_COMPRESSION = {"lenet300": (27_000, 0.0158), "lenet5": (44_000, 0.0074)}
THREADS = ("--threads", "1")


def main(name: str, *only: str) -> None:
    """Train, compress (by the recipes in `only`, else by both), compare."""
    from sepnet.core.packed_model import PackedModel
    from sepnet.core.stage_row import StageRow
    from sepnet.steps.info import info
    from sepnet.steps.report import stage_chart

    folder = RUNS / "mnist"
    weights = train_float(FLOAT[name], name, THREADS)
    reference = sepnet("evaluate", name, "--weights", str(weights), "--data", "mnist")
    before = RESULTS / f"mnist_{name}.json"
    rows = json.loads(before.read_text())["result"] if only else {}
    for recipe, output in (
        (f"{name}-mnist", ROOT / "zoo" / f"{name}-mnist.sepnet"),
        (f"{name}-han", folder / f"{name}-han.sepnet"),
    ):
        if only and recipe not in only:
            continue
        log = RESULTS / f"mnist_{recipe}.jsonl"
        log.unlink(missing_ok=True)
        rows[recipe] = sepnet(
            "compress",
            name,
            "--weights",
            str(weights),
            "--data",
            "mnist",
            "--recipe",
            recipe,
            "--seed",
            "0",
            "-o",
            str(output),
            "--log",
            str(log),
            "--restart",
            *THREADS,
        )
        report = info(PackedModel.read(output))
        weights_all = sum(t.params for t in report.tensors if len(t.shape) > 1)
        weights_kept = sum(t.kept for t in report.tensors if len(t.shape) > 1)
        rows[recipe]["output"] = output.name
        rows[recipe]["weights_fewer"] = weights_all / weights_kept
        print(
            f"{recipe}: {report.bytes:,} bytes, {1 - rows[recipe]['top1']:.2%} error, {weights_all / weights_kept:.1f}x fewer weights",
            flush=True,
        )
        if recipe.endswith("-mnist"):
            chart = stage_chart([StageRow(**row) for row in rows[recipe]["stages"]])
            (ROOT / "docs" / f"{recipe}.svg").write_text(chart + "\n")
    size, error = DEEP_COMPRESSION[name]
    save(
        f"mnist_{name}",
        f"python benchmarks/mnist.py {name}",
        {**rows, "float": reference, "deep_compression_2016": {"bytes": size, "error": error}},
    )
    finished(FLOAT, name)


if __name__ == "__main__":
    if set(sys.argv[1:2]) & set(FLOAT):
        main(*sys.argv[1:])
    else:
        run_row(ROWS, __doc__)
