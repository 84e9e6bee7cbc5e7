"""How large, how quick to load and how fast to run are the forms of `sepnet export --to onnx`?

    python benchmarks/onnx_forms.py

ResNet-18 (224 x 224) with sign patterns in every 3 x 3 kernel, one scale a filter, and 8 or 5 bits elsewhere has random
weights (seed 0): bytes and speed do not depend on them, but for what sparsity and shared values would save.  The files in zoo/ are trained.
Ranges of activations are min-max of noise.  `quantize_static` is ONNX Runtime's own quantizer on the float form: QDQ,
uint8 activations, int8 weights a channel.  All sessions have one thread; runs of one example take turns in random order, each
after one that is not counted; loads take turns.
Times are processor time of the process, medians: what else the machine does counts as little as it can.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from machine import save
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from sepnet_sizes import noise

import sepnet
from sepnet.core.packed_model import PackedModel
from sepnet.core.recipe import Recipe, Rest, Rule
from sepnet.exporters.onnx.model import OnnxNetwork
from sepnet.networks import build
from sepnet.runtimes.activation_ranges import activation_ranges
from sepnet.runtimes.onnxruntime import OnnxRuntime

LOADS, SECONDS, LEAST_RUNS = 7, 8.0, 60
BITS = (8, 5)
Session = onnxruntime.InferenceSession


class Reader(CalibrationDataReader):  # type: ignore[misc]
    """One batch."""

    def __init__(self, batch: np.ndarray) -> None:
        self.left = [{"input": example[None]} for example in batch]

    def get_next(self) -> dict[str, np.ndarray] | None:
        """The next example."""
        return self.left.pop() if self.left else None


def resnet18(bits: int) -> PackedModel:
    """Random weights, packed."""
    torch.manual_seed(0)
    model = build("resnet18")
    rule = Rule(({"scheme": "pattern", "scale": "filter"},), layers=("layer*",), kinds=("conv kxk",))
    rest = Rest(({"scheme": "linear", "bits": bits, "per": "filter"},))
    return sepnet.compress(model, Recipe("patterns", rule=(rule,), rest=rest), noise(model, 1000), epochs=0)


def load(data: bytes) -> Session:
    """A session of one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    return Session(data, options, providers=["CPUExecutionProvider"])


def static(data: bytes, batch: np.ndarray) -> bytes:
    """ONNX Runtime's own quantizer."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float.onnx", Path(folder) / "static.onnx"
        source.write_bytes(data)
        kinds = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8}
        quantize_static(source, target, Reader(batch), quant_format=QuantFormat.QDQ, per_channel=True, **kinds)
        return target.read_bytes()


def seconds(call: Any) -> float:
    """Processor time of one call."""
    started = time.process_time()
    call()
    return time.process_time() - started


def measure(name: str, model: PackedModel) -> dict[str, Any]:
    """One network in all forms."""
    assert model.header.input is not None
    batch = np.random.default_rng(0).standard_normal((8, *model.header.input.shape)).astype(np.float32)
    network, ranges = OnnxNetwork.of(model, 18), activation_ranges(model, [batch])
    forms = {
        "float": network.encode(False)[0],
        "packed, float32 activations": network.encode(True)[0],
        "int8": network.encode(False, ranges)[0],
        "packed, uint8 activations": network.encode(True, ranges)[0],
    }
    forms["quantize_static"] = static(forms["float"], batch)
    sessions = {form: load(data) for form, data in forms.items()}
    outputs = {form: session.run(None, {"input": batch})[0] for form, session in sessions.items()}
    loads: dict[str, list[float]] = {form: [] for form in forms}
    for _ in range(LOADS):
        for form, data in forms.items():
            loads[form].append(seconds(lambda data=data: load(data)))
    runs: dict[str, list[float]] = {form: [] for form in forms}
    order = np.random.default_rng(0)
    feed, until = {"input": batch[:1]}, time.process_time() + SECONDS
    while time.process_time() < until or len(runs["int8"]) < LEAST_RUNS:
        for form in order.permutation(list(forms)):
            sessions[form].run(None, feed)  # so that all begin with warm caches
            runs[form].append(seconds(lambda session=sessions[form]: session.run(None, feed)))
    pairs = zip(runs["packed, uint8 activations"], runs["int8"], strict=True)
    small = len(forms["packed, uint8 activations"])
    return {
        "network": name,
        "sepnet_bytes": model.bytes,
        "bytes": {form: len(data) for form, data in forms.items()},
        "int8_over_packed": round(len(forms["int8"]) / small, 2),
        "quantize_static_over_packed": round(len(forms["quantize_static"]) / small, 2),
        "load_ms": {form: round(1000 * statistics.median(times), 2) for form, times in loads.items()},
        "run_ms": {form: round(1000 * statistics.median(times), 4) for form, times in runs.items()},
        "least_run_ms": {form: round(1000 * min(times), 4) for form, times in runs.items()},
        "runs": len(runs["int8"]),
        "packed_over_int8_run": round(statistics.median(packed / plain for packed, plain in pairs), 4),
        "packed_equals_int8": bool(np.array_equal(outputs["int8"], outputs["packed, uint8 activations"])),
        "packed_equals_sepnet_run": bool(
            np.array_equal(outputs["packed, float32 activations"], OnnxRuntime(model, threads=1).run(batch))
        ),
    }


def main() -> None:
    """Measure, print and save."""
    wanted = sys.argv[1:]
    models = {
        f"resnet18, patterns, random weights, {bits} bits elsewhere": lambda bits=bits: resnet18(bits) for bits in BITS
    }
    models |= {path.stem: lambda path=path: PackedModel.read(path) for path in sorted(Path("zoo").glob("*.sepnet"))}
    rows = []
    for name, make in models.items():
        if all(word in name for word in wanted):
            rows.append(measure(name, make()))
            for key, value in rows[-1].items():
                print(f"{key:28} {value}", flush=True)
    if not wanted:
        save("onnx_forms", "python benchmarks/onnx_forms.py", rows)


if __name__ == "__main__":
    main()
