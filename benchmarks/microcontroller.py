"""Flash, RAM and instructions of generated C99 on Cortex-M4 and Cortex-M0+, in QEMU (mps2-an386).

    SEPNET_DATA=... python benchmarks/microcontroller.py            lenet5 on MNIST, resnet20 with patterns on CIFAR-10
    SEPNET_DATA=... python benchmarks/microcontroller.py lenet5     this one alone

Each file of zoo/ is calibrated on 256 training images and written as C99; the program is compiled by arm-none-eabi-gcc, linked
into a bare image and run on four test images.  Instructions are counted with -icount, to within 40.  Flash and RAM are those of the
linked image less those of one without a network; RAM is all static memory of the network, its input included; the stack comes
on top.  Accuracy is that of the same program, compiled for this machine, on all 10,000 test images.  Writes
results/microcontroller.json.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from command import ROOT
from machine import save

sys.path.insert(0, str(ROOT / "tests" / "c99"))
from board import run_on_board

from sepnet.c99.compilers import TARGETS
from sepnet.c99.host import HostProgram
from sepnet.c99.program import generate
from sepnet.core.calibrate import Calibrate
from sepnet.core.dataset import Dataset, normalize
from sepnet.core.packed_model import PackedModel
from sepnet.datasets import load
from sepnet.integer.lower import lower
from sepnet.integer.model import IntegerModel
from sepnet.integer.reference import quantize, run, run_floats
from sepnet.quantizing.activations import ActivationCalibration
from sepnet.runtimes.activation_ranges import Range
from sepnet.runtimes.measure import score_function
from sepnet.runtimes.onnxruntime import OnnxRuntime

Floats = npt.NDArray[np.float32]
FILES = {"lenet5": ("lenet5-mnist", "mnist"), "resnet20": ("resnet20-cifar10-pattern", "cifar10")}
PEERS = {
    "lenet5": {
        "TFLM + CMSIS-NN int8, another LeNet-5": {"flash_kib": 515, "ram_kib": 20, "M4": 5.74e6, "M0+": 16.5e6},
    },
    "resnet20": {
        "TFLM reference int8": {"flash_kib": 338, "ram_kib": 77, "M4": 1720e6, "M0+": 2262e6},
        "TFLM + CMSIS-NN int8": {"flash_kib": 373, "ram_kib": 77, "M4": 92e6, "M0+": 306e6},
    },
}
"""Measured once in the same way (mps2-an386 in QEMU, -Os, less an empty image), with random weights."""


def main(*names: str) -> None:
    """Measure the named networks, or all."""
    found = {name: _measure(*FILES[name]) | {"peers": PEERS[name]} for name in names or FILES}
    save("microcontroller", " ".join(["python benchmarks/microcontroller.py", *names]), found)


def _measure(file: str, data_name: str) -> dict[str, Any]:
    packed, data = PackedModel.read(ROOT / "zoo" / f"{file}.sepnet"), load(data_name, None)
    model = _calibrated(packed, data)
    program, compiled, wanted = generate(model), HostProgram(model), packed.header.input
    scores = {
        "packed_top1": score_function(OnnxRuntime(packed).run, data, wanted).top1,
        "integer_top1": score_function(compiled.first, data, wanted).top1,
    }
    assert wanted is not None
    q = quantize(model.values[model.input], normalize(data.test.images[:4], wanted.mean, wanted.std))
    expected = run(model, q).reshape(len(q), -1).tolist()
    rows = []
    for target in TARGETS:
        for optimize in ("-Os", "-O2"):
            with tempfile.TemporaryDirectory() as folder:
                board = run_on_board(program, q, target, Path(folder), optimize)
            assert board.outputs == expected
            row = {"processor": target.name, "optimize": optimize, "flash_bytes": board.flash, "ram_bytes": board.ram}
            rows.append(row | {"stack_bytes": board.stack, "instructions": board.instructions})
            print(f"{file}: {rows[-1]}", flush=True)
    promised = {"constant_bytes": program.weight_bytes, "static_ram_bytes": program.ram_bytes, "macs": model.macs}
    return {"file": f"zoo/{file}.sepnet", "file_bytes": packed.bytes, **promised, **scores, "rows": rows}


def _calibrated(packed: PackedModel, data: Dataset) -> IntegerModel:
    def build(ranges: dict[str, Range]) -> Callable[[Floats], Floats]:
        model = lower(packed, ranges)
        return lambda batch: next(iter(run_floats(model, batch).values()))

    ranges, _ = ActivationCalibration(packed, Calibrate(data, 256)).choose(build)
    return lower(packed, ranges)


if __name__ == "__main__":
    main(*sys.argv[1:])
