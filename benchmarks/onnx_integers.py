"""int8, uint8 and 7-bit weights in ONNX Runtime on this processor: signal to noise, and processor time of a run.

    python benchmarks/onnx_integers.py

One convolution of 64 channels, and networks of the zoo (random images), each with all weights held in one way where sums of two products
can saturate.  Times are of one image on one thread, in random order, medians; ratios are medians of pairs of neighbours in time.
Signal to noise is of the float network's outputs: as this processor computes the file, in floats, and by the simulation of 16-bit sums.
"""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from machine import save
from onnx import helper, numpy_helper

import sepnet
from sepnet.core.packed_model import PackedModel
from sepnet.exporters.onnx.model import OnnxNetwork
from sepnet.exporters.onnx.saturating_run import SaturatingRun
from sepnet.exporters.onnx.saturation import can_saturate
from sepnet.exporters.onnx.weights import IntegerKind
from sepnet.runtimes.activation_ranges import activation_ranges
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.runtimes.probe import Probe

ROOT = Path(__file__).parents[1]
KINDS: tuple[IntegerKind, ...] = ("int8", "uint8", "int7")
SECONDS = 8.0
ZOO = ("resnet20-cifar10-pattern", "sepnet-cifar10-r", "squeezenet-dc")


def layer() -> PackedModel:
    """A 3x3 convolution of 64 channels on 32x32, weights of a normal distribution, 8 bits."""
    weights = np.random.default_rng(0).standard_normal((64, 64, 3, 3)).astype(np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"], pads=[1] * 4), helper.make_node("Relu", ["c"], ["y"])]
    ends = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["n", 64, 32, 32]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [numpy_helper.from_array(weights, "w")])
    path = ROOT / "runs" / "layer.onnx"
    path.parent.mkdir(exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    return sepnet.pack(path)


def decibels(found: np.ndarray, expected: np.ndarray) -> float:
    noise = float(np.square(found.astype(float) - expected).sum())
    return round(10 * float(np.log10(np.square(expected.astype(float)).sum() / max(noise, 1e-30))), 1)


def measure(name: str, model: PackedModel) -> dict[str, Any]:
    """One network with its weights held in each way."""
    graph = OnnxNetwork.of(model, 18)
    shape = model.header.input.shape if model.header.input else graph.graph.input_shape[1:]
    batch = np.abs(np.random.default_rng(0).standard_normal((8, *shape))).astype(np.float32)
    ranges = activation_ranges(model, [batch])
    exposed = [layer.weight for layer in graph.written(False, ranges).layers if can_saturate(layer)]
    expected, row = OnnxRuntime(model).run(batch), {"network": name, "exposed": len(exposed)}
    probes, times = {}, {kind: [] for kind in KINDS}
    for kind in KINDS:
        kinds = dict.fromkeys(exposed, kind)
        written = graph.written(False, ranges, kinds)
        data = written.graph.encode()
        probes[kind] = Probe(data, threads=1)
        row[kind] = {
            "this_processor_db": decibels(probes[kind].run(batch)[0], expected),
            "floats_db": decibels(Probe(data, optimized=False).run(batch)[0], expected),
            "without_vnni_db": decibels(SaturatingRun(written.graph, written.layers).run(batch), expected),
        }
    order, until = np.random.default_rng(0), time.process_time() + SECONDS
    while time.process_time() < until:
        for kind in order.permutation(KINDS):
            probes[kind].run(batch[:1])
            started = time.process_time()
            for _ in range(5):
                probes[kind].run(batch[:1])
            times[kind].append((time.process_time() - started) / 5)
    for kind in KINDS:
        row[kind]["run_ms"] = round(1000 * statistics.median(times[kind]), 4)
        pairs = zip(times[kind], times["int8"], strict=True)
        row[kind]["over_int8"] = round(statistics.median(one / other for one, other in pairs), 3)
    return row


def main() -> None:
    rows = [measure("one 3x3 convolution, 64 channels, 32x32", layer())]
    rows += [measure(name, PackedModel.read(ROOT / "zoo" / f"{name}.sepnet")) for name in ZOO]
    save("onnx_integers", "python benchmarks/onnx_integers.py", rows)
    print(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
