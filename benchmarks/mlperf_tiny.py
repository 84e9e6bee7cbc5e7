"""The reference networks of MLPerf Tiny, the whole way: .onnx, packed in 8 bits, exported to C99, compiled and run.

    SEPNET_DATA=... python benchmarks/mlperf_tiny.py [NAME...]

Of $SEPNET_DATA/mlperf-tiny/NAME.onnx, which tf2onnx made of the networks that MLCommons publishes: bytes of the packed file, of the
constants of the program and of its RAM; the signal to noise of the packed file and of the program against the float network, in dB,
10 log10(variance / mean squared difference); and where there are labels top-1 of all three.  The program is the folder that `sepnet
export --to c99` writes, built by its own Makefile; its example reads numbers from the standard input and prints outputs.

Image classification: all 10,000 test images of CIFAR-10 (of the larger network the first 1,000), raw pixels; calibrated on 256 training images.  Keyword spotting: the 1,000
inputs of the benchmark; calibrated on 100 of them, without labels, since there are no others here.  Visual wake words: imagenet-sample
in 96 x 96, which has no labels for it.  Anomaly detection: normal noise of the size of log-mel energies in dB, since there are no inputs here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from machine import save
from PIL import Image

import sepnet
from sepnet.core.output_row import output_row
from sepnet.datasets import load
from sepnet.datasets.imagenet_sample import imagenet_sample
from sepnet.runtimes.session import Session

FOLDER = Path(os.environ.get("SEPNET_DATA", ".")) / "mlperf-tiny"
CALIBRATED, SHOWN = 256, 200
Array = np.ndarray


def cifar() -> tuple[Array, Array, Array | None]:
    """Calibration images, test images and labels; raw pixels, channels last."""
    data = load("cifar10")
    train, test = (split.images for split in (data.train, data.test))
    return _last(train[:CALIBRATED]), _last(test[:]), data.test.labels


def some_of_cifar() -> tuple[Array, Array, Array | None]:
    """The first 1,000 test images, for a network that takes long."""
    calibration, numbers, labels = cifar()
    return calibration, numbers[:1000], None if labels is None else labels[:1000]


def keywords() -> tuple[Array, Array, Array | None]:
    """The benchmark's inputs, as the network takes them."""
    found = np.load(FOLDER / "kws_inputs.npz")
    return found["input"][:100], found["input"], found["target"]


def photographs() -> tuple[Array, Array, Array | None]:
    """Pixels / 255, 96 x 96."""
    pixels = imagenet_sample(Path(os.environ["SEPNET_DATA"])).test.images[:SHOWN]
    small = [np.asarray(Image.fromarray(image.transpose(1, 2, 0)).resize((96, 96))) for image in np.asarray(pixels)]
    numbers = np.stack(small).astype(np.float32) / 255
    return numbers[::2], numbers[1::2], None


def energies() -> tuple[Array, Array, Array | None]:
    """Log-mel energies would lie about -20 dB; these are noise."""
    random = np.random.default_rng(0)
    numbers = (random.standard_normal((2 * CALIBRATED, 640)) * 15 - 20).astype(np.float32)
    return numbers[:CALIBRATED], numbers[CALIBRATED:], None


NETWORKS = {
    "ic_resnet8": cifar,
    "ic2_resnet_large": some_of_cifar,
    "kws_dscnn": keywords,
    "vww_mobilenet": photographs,
    "ad_autoencoder": energies,
}


def _last(images: Any) -> Array:
    return np.ascontiguousarray(np.asarray(images).transpose(0, 2, 3, 1)).astype(np.float32)


def run_program(folder: Path, numbers: Array) -> Array:
    """Outputs of the exported folder's own example."""
    header = (folder / "model.h").read_text()
    macros = {}
    for line in header.splitlines():
        words = line.split()
        if len(words) == 3 and words[0] == "#define":
            macros[words[1]] = words[2].rstrip("f").strip("()")
    scale, zero = float(macros["MODEL_INPUT_SCALE"]), int(macros["MODEL_INPUT_ZERO"])
    q = np.clip(np.floor(numbers.astype(np.float64) / scale + zero + 0.5), 0, 255).astype(np.uint8)
    subprocess.run(["make", "-C", str(folder)], check=True, capture_output=True)
    done = subprocess.run([str(folder / "demo")], input=q.tobytes(), check=True, capture_output=True)
    rows = [line.partition(":")[2].split() for line in done.stdout.decode().splitlines()]
    outputs = np.array(rows, np.float64)
    return (outputs - int(macros["MODEL_OUTPUT_ZERO"])) * float(macros["MODEL_OUTPUT_SCALE"])


def in_parts(session: Session, numbers: Array) -> Array:
    """The first output."""
    name, given = session.outputs[0].name, session.inputs[0].name
    parts = [session.run({given: numbers[at : at + 500]})[name] for at in range(0, len(numbers), 500)]
    return np.concatenate(parts).reshape(len(numbers), -1)


def row(name: str, folder: Path) -> dict[str, Any]:
    """One network."""
    network = FOLDER / f"{name}.onnx"
    calibration, numbers, labels = NETWORKS[name]()
    packed = sepnet.pack(network, 8)
    report = packed.export(folder / "program", "c99", calibrate=calibration, images=len(calibration) // 2)
    exact = in_parts(Session(network, threads=1), numbers)
    engine = packed.runtime("onnxruntime")
    parts = [engine.run(numbers[at : at + 500]) for at in range(0, len(numbers), 500)]
    found = {
        "packed": np.concatenate(parts).reshape(len(numbers), -1),
        "program": run_program(folder / "program", numbers),
    }
    ram = next(remark for remark in report.remarks if remark.startswith("RAM"))
    done: dict[str, Any] = {
        "network": name,
        "onnx_bytes": network.stat().st_size,
        "packed_bytes": packed.bytes,
        "constants_bytes": report.bytes,
        "ram_bytes": int(ram.split()[1].replace(",", "")),
        "examples": len(numbers),
        "calibrated_on": len(calibration),
    }
    for form, outputs in found.items():
        decibels = output_row(name, exact, outputs).snr_db
        done[f"{form}_db"] = None if decibels is None else round(decibels, 1)
        if labels is None:
            done[f"{form}_agrees"] = float(np.mean(outputs.argmax(1) == exact.argmax(1)))
    if labels is not None:
        for form, outputs in {"float": exact, **found}.items():
            done[f"{form}_top1"] = float(np.mean(outputs.argmax(1) == labels))
    return done


def main() -> None:
    """Measure, print and save."""
    names = sys.argv[1:] or list(NETWORKS)
    rows = []
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            rows.append(row(name, Path(temporary)))
        print(rows[-1], flush=True)
    if not sys.argv[1:]:
        save("mlperf_tiny", "SEPNET_DATA=... python benchmarks/mlperf_tiny.py", rows)


if __name__ == "__main__":
    main()
