"""How fast is the runtime c99 on the host against ONNX Runtime, OpenVINO and LiteRT on int8, and what memory does it take?

    python benchmarks/host_speed.py             all networks
    python benchmarks/host_speed.py resnet20    those with this in their name, results not written

`sepnet bench` at batch 1 on one thread: the packed file compiled by gcc -O3 -march=native, and the QDQ int8 form of the same
network (uint8 activations) in ONNX Runtime and OpenVINO, where litert-torch is installed an int8 .tflite file in LiteRT, too, each in a
process of its own, in turns.  SEP-Net for ImageNet has random weights
(seed 0) packed with its recipes, 224 x 224; the files in zoo/ are trained.  Images are random.  `c99_over` is c99's median over
that of the other; `c99_over_fast` the same of the times that a tenth of the runs stays below, which other programs disturb less.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from command import ROOT
from machine import save
from sepnet_sizes import noise

import sepnet
from sepnet.core.packed_model import PackedModel
from sepnet.core.recipe import load_recipe
from sepnet.networks import build
from sepnet.steps.bench import bench

SECONDS = 12.0
ZOO = ("resnet20-cifar10-pattern", "resnet56-cifar10-pattern", "sepnet-cifar10-bq", "lenet5-mnist", "squeezenet-dc")
AGAINST = ("int8", "int8@openvino")


def sepnet_small(recipe: str) -> PackedModel:
    """Random weights, packed."""
    torch.manual_seed(0)
    model = build("sepnet_small")
    return sepnet.compress(model, load_recipe(recipe), noise(model, 1000), epochs=0)


def tflite(model: PackedModel, folder: str) -> tuple[str, ...]:
    """An int8 file of the network, if its converter is here."""
    if importlib.util.find_spec("litert_torch") is None:
        return ()
    from sepnet.converters.litert import convert

    assert model.header.input is not None
    path, random = Path(folder) / "int8.tflite", np.random.default_rng(0)
    path.write_bytes(convert(model, [random.standard_normal((8, *model.header.input.shape), np.float32)]))
    return (str(path),)


def measure(name: str, model: PackedModel) -> dict[str, Any]:
    """One network in all runtimes."""
    found: dict[str, Any] = {"network": name}
    with tempfile.TemporaryDirectory() as folder:
        rows = bench(model, ("c99",), AGAINST + tflite(model, folder), batches=(1,), threads=1, seconds=SECONDS).rows
    for row in rows:
        found[row.entrant.runtime] = {
            "ms": round(row.ms, 4),
            "ms_10_to_90_percent": [round(row.fast_ms, 4), round(row.slow_ms, 4)],
            "runs": row.runs,
            "peak_mb": None if row.peak_bytes is None else round(row.peak_bytes / 1e6, 1),
            "difference": round(row.difference, 4),
        }
    others = [row.entrant.runtime for row in rows[1:]]
    for name, key in (
        ("c99_over", lambda row: row["ms"]),
        ("c99_over_fast", lambda row: row["ms_10_to_90_percent"][0]),
    ):
        found[name] = {other: round(key(found["c99"]) / key(found[other]), 3) for other in others}
    return found


def main() -> None:
    """Measure, print and save."""
    wanted = sys.argv[1:]
    models = {f"{name} (zoo)": lambda name=name: PackedModel.read(ROOT / "zoo" / f"{name}.sepnet") for name in ZOO}
    models |= {f"sepnet_small {each}": lambda each=each: sepnet_small(f"sepnet-{each}") for each in ("b", "bq")}
    rows = []
    for name, make in models.items():
        if all(word in name for word in wanted):
            rows.append(measure(name, make()))
            print(rows[-1], flush=True)
    compiler = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    if not wanted:
        save("host_speed", "python benchmarks/host_speed.py", {"compiler": compiler, "rows": rows})


if __name__ == "__main__":
    main()
