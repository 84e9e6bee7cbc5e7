"""ResNet-20 of CIFAR-10 packed after training, from an .onnx file, without labels and without training.

    SEPNET_DATA=... python benchmarks/ptq.py DIR

Writes DIR/resnet20.onnx from $SEPNET_DATA/weights/cifar10_resnet20.safetensors (needs torch; the rest does not), packs it with
several budgets of divergence by images of the first 40,000 training images, and takes the largest budget that costs at most
`DROP` of top-1 on the other 10,000 training images.  That one goes into zoo/resnet20-cifar10-ptq.sepnet.  results/ptq.json has
all rows, with their scores on the 10,000 test images, which nothing is chosen by.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from command import ROOT, sepnet
from machine import save

BUDGETS = (0.005, 0.007, 0.01, 0.014)
"""Of mean Kullback-Leibler divergence from the float network, nats."""
DROP = 0.003
HELD_OUT, TEST = "cifar10?holdout=10000", "cifar10"
ZOO = ROOT / "zoo" / "resnet20-cifar10-ptq.sepnet"


def write_onnx(path: Path) -> dict[str, Any]:
    """Export the float network; its scores on held-out training images and on the test images."""
    import torch

    from sepnet.networks import build
    from sepnet.training.weights import load_into

    weights = Path(os.environ["SEPNET_DATA"]) / "weights" / "cifar10_resnet20.safetensors"
    model = build("resnet20_cifar")
    load_into(model, weights)
    batch = {0: torch.export.Dim.DYNAMIC}
    example = (torch.zeros(2, 3, 32, 32),)
    torch.onnx.export(model.eval(), example, path, dynamo=True, dynamic_shapes=(batch,), external_data=False)
    evaluate = ("evaluate", "resnet20_cifar", "--weights", str(weights), "--data")
    return {"onnx_bytes": path.stat().st_size, "held_out": sepnet(*evaluate, HELD_OUT), "test": sepnet(*evaluate, TEST)}


def row(network: Path, packed: Path, *options: str) -> dict[str, Any]:
    """Pack and score, on held-out training images and on the test images."""
    started, before = time.time(), os.times().children_user
    done = sepnet("pack", str(network), "-o", str(packed), *options)
    seconds, processor = time.time() - started, os.times().children_user - before
    return {
        "options": " ".join(options),
        "bytes": done["bytes"],
        "agreement": done["agreement"],
        "held_out": sepnet("evaluate", str(packed), "--data", HELD_OUT),
        "test": sepnet("evaluate", str(packed), "--data", TEST),
        "seconds": round(seconds, 1),
        "processor_seconds": round(processor, 1),
    }


def main() -> None:
    """All rows."""
    folder = Path(sys.argv[1])
    folder.mkdir(exist_ok=True)
    network = folder / "resnet20.onnx"
    float_row = write_onnx(network)
    blind = [row(network, folder / f"blind{bits}.sepnet", "--bits", str(bits), "--allow-bad") for bits in (8, 5, 4)]
    by = ("--calibrate", HELD_OUT)
    given = [row(network, folder / f"given{bits}.sepnet", "--bits", str(bits), *by) for bits in (5, 4)]
    chosen: dict[str, Any] | None = None
    budgets = []
    for budget in BUDGETS:
        packed = folder / f"budget{budget:g}.sepnet"
        budgets.append(row(network, packed, "--bits", "auto", *by, "--max-divergence", f"{budget:g}"))
        if float_row["held_out"]["top1"] - budgets[-1]["held_out"]["top1"] <= DROP:
            chosen = budgets[-1]
            shutil.copyfile(packed, ZOO)
    result = {"float": float_row, "blind": blind, "given_bits": given, "budgets": budgets}
    if chosen is None:
        print("no budget loses as little as", DROP)
    else:
        test = chosen["test"]
        lost = float_row["test"]["top1"] - test["top1"]
        print(f"{ZOO.name}: {chosen['bytes']:,} bytes, top-1 {test['top1']:.2%}, {100 * lost:.2f} points lost")
        result["chosen"] = {"options": chosen["options"], "bytes": chosen["bytes"], "test": test, "top1_lost": lost}
    save("ptq", "SEPNET_DATA=... python benchmarks/ptq.py DIR", result)


if __name__ == "__main__":
    main()
