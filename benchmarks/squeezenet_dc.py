"""The public Deep Compression file of SqueezeNet 1.0, packed with the same codes.

    SEPNET_DATA=... python benchmarks/squeezenet_dc.py

Decodes $SEPNET_DATA/weights/squeezenet_v1.0_deepcompression.net (songhan/SqueezeNet-Deep-Compression, BSD-2-Clause; 675,763
bytes), packs it with the graph of `squeezenet1_0?last_padding=1&image_size=227`, and writes zoo/squeezenet-dc.sepnet and
results/squeezenet_dc.json.  Checks, and stops if one fails:

- the decoded weights equal $SEPNET_DATA/weights/imagenet_squeezenet_v1.0_deepcompression.safetensors, bit for bit;
- in the file, read back, every weight has the code it has in the original: the rank of its value, zero among them;
- every restored number is the nearest that binary16 times the tensor's power of two holds.

The original stores centroids and biases in binary32, a packed file codebooks in binary16, so centroids are rounded: the largest
differences are reported, and so is the score of both on the 1,000 images of `imagenet_sample` (evidently training images: good to
compare the two, no validation accuracy).  `exact` is the size of a file that keeps every number in binary32.

The first layer of the original takes B, G, R; it is turned into R, G, B.  Names of the classes are left out.
"""

from __future__ import annotations

import dataclasses
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from command import ROOT
from machine import save
from safetensors.numpy import load_file

from sepnet.codecs import choices
from sepnet.core.coded_tensor import CodedTensor, Half, float_codes
from sepnet.core.dataset import Dataset
from sepnet.core.header import InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.core.score import Score
from sepnet.datasets import load
from sepnet.networks import build
from sepnet.packing.export import export_graph
from sepnet.packing.graph import ExportedGraph
from sepnet.packing.pack import PackInput, pack
from sepnet.packing.restore import coded_tensors

NET, DATA = "squeezenet1_0?last_padding=1&image_size=227", "imagenet_sample?size=227&normalize=caffe"
ORIGINAL, DECODED = "squeezenet_v1.0_deepcompression.net", "imagenet_squeezenet_v1.0_deepcompression.safetensors"
ZOO = ROOT / "zoo" / "squeezenet-dc.sepnet"
ENTRIES = 256

Floats = npt.NDArray[np.float32]
State = dict[str, Floats]


def layer_names() -> dict[str, str]:
    """Caffe's names, in the order of the network, to those of `NET`."""
    names = {"conv1": "features.0"}
    for fire, place in zip(range(2, 10), (3, 4, 5, 7, 8, 9, 10, 12), strict=True):
        for theirs, ours in (("conv1x1_1", "squeeze"), ("conv1x1_2", "expand1x1"), ("conv3x3_2", "expand3x3")):
            names[f"fire{fire}.{theirs}"] = f"features.{place}.{ours}"
    return names | {"conv_final": "classifier.1"}


def decode(data: bytes, shapes: dict[str, tuple[int, ...]]) -> State:
    """The weights and biases in an original file, float32, by Caffe's names.

    uint32 entries of each layer; then a layer: float32 codebook[256], float32 bias, uint8 code of each entry, 4-bit distance - 1 to
    each (low half of a byte first).  Fillers have a code whose centroid is 0.
    """
    at = 4 * len(shapes)
    counts = np.frombuffer(data[:at], "<u4")
    state: State = {}
    for count, (name, shape) in zip(counts.tolist(), shapes.items(), strict=True):
        parts = []
        for kind, many in (("<f4", ENTRIES), ("<f4", shape[0]), ("u1", count), ("u1", (count + 1) // 2)):
            parts.append(np.frombuffer(data, kind, many, at))
            at += parts[-1].nbytes
        book, bias, codes, gaps = parts
        distances = np.stack([gaps & 15, gaps >> 4], axis=1).ravel()[:count].astype(np.int64) + 1
        weight = np.zeros(int(np.prod(shape)), np.float32)
        weight[np.cumsum(distances) - 1] = book[codes]
        state |= {f"{name}.weight": weight.reshape(shape), f"{name}.bias": bias.astype(np.float32)}
    if at != len(data):
        raise SystemExit(f"{len(data)} bytes in the original, {at} used")
    return state


def shared(name: str, weight: Floats) -> CodedTensor:
    """Codes of a weight: ranks of its values, zero among them; so the coder finds positive and negative ones on its two sides."""
    values, codes = np.unique(weight, return_inverse=True)
    codes = codes.reshape(weight.shape).astype(np.int64)
    return CodedTensor(name, codes, "codebook", ("prune", "share"), codebook=Half.of(values))


def original() -> tuple[State, int]:
    """The decoded original under our names, first layer R, G, B; and its bytes."""
    folder = Path(os.environ["SEPNET_DATA"]) / "weights"
    given, data = load_file(folder / DECODED), (folder / ORIGINAL).read_bytes()
    names = layer_names()
    state = decode(data, {name: given[f"{name}.weight"].shape for name in names})
    for key in given:
        if not np.array_equal(state[key], given[key]):
            raise SystemExit(f"{key} is not decoded to the reference")
    ours = {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": array for key, array in state.items()}
    ours["features.0.weight"] = np.ascontiguousarray(ours["features.0.weight"][:, ::-1])
    return ours, len(data)


def packed_with(
    state: State, graph: ExportedGraph, data: Dataset, coded: list[CodedTensor], codecs: tuple[str, ...]
) -> PackedModel:
    """A packed model, through its bytes."""
    about = PackInput(
        NET.partition("?")[0],
        sum(array.size for array in state.values()),
        InputSpec(data.input_shape, data.mean, data.std),
        made={
            "sepnet": version("sepnet"),
            "source": "songhan/SqueezeNet-Deep-Compression",
            "license": "BSD-2-Clause",
        },
    )
    anew = lambda name, numbers: float_codes(name, numbers, "float16", ("keep",))  # noqa: E731 (nothing is folded)
    return PackedModel.from_bytes(pack(about, graph, state, coded, code=anew, codecs=codecs).to_bytes())


def differences(packed: PackedModel, state: State, coded: list[CodedTensor]) -> dict[str, dict[str, Any]]:
    """Check the codes and numbers of a file against the original; largest differences of weights and of biases."""
    expected = {tensor.name: tensor for tensor in coded}
    found: dict[str, dict[str, Any]] = {}
    for tensor in coded_tensors(packed):
        kind = tensor.name.rpartition(".")[2]
        original, numbers = state[tensor.name], tensor.restore()
        nearest = Half.of(original).numbers()
        if not np.array_equal(tensor.codes, expected[tensor.name].codes) or not np.array_equal(numbers, nearest):
            raise SystemExit(f"{tensor.name} came back different")
        apart = float(np.abs(numbers.astype(np.float64) - original).max())
        share = apart / float(np.abs(original).max())
        if apart > found.get(kind, {"largest": -1})["largest"]:
            found[kind] = {"largest": apart, "of_largest_magnitude": share, "in": tensor.name}
    if len(expected) != len(packed.header.tensors):
        raise SystemExit("a tensor is missing")
    return found


def scores(packed: PackedModel, state: State, data: Dataset) -> dict[str, Score]:
    """Of the decoded original in torch, and of the packed file in ONNX Runtime."""
    import torch

    from sepnet.steps.evaluate import evaluate
    from sepnet.steps.evaluate_network import evaluate_network

    model = build(NET)
    model.load_state_dict({name: torch.from_numpy(array.copy()) for name, array in state.items()})
    return {"original": evaluate_network(model, data), "packed": evaluate(packed, data)}


def main() -> None:
    """Decode, pack, check, score."""
    state, bytes_before = original()
    data = load(DATA)
    graph = export_graph(build(NET), data.input_shape)
    weights = [name for name in state if name.endswith(".weight")]
    coded = [
        shared(name, array) if name in weights else float_codes(name, array, "float16", ("keep",))
        for name, array in state.items()
    ]
    exact = [float_codes(name, array, "float32", ("keep",)) for name, array in state.items()]
    default = packed_with(state, graph, data, coded, choices())
    best = packed_with(state, graph, data, coded, choices(best=True))
    result: dict[str, Any] = {
        "original_bytes": bytes_before,
        "float32_bytes": 4 * sum(array.size for array in state.values()),
        "default_bytes": default.bytes,
        "best_bytes": best.bytes,
        "exact_bytes": packed_with(state, graph, data, exact, choices(best=True)).bytes,
        "differences": differences(best, state, coded),
    }
    differences(default, state, coded)
    entries = best.header.tensors
    result["best_ledger"] = {
        "codes": sum(entry.bytes[1] for entry in entries if entry.name in weights),
        "codebooks": sum(entry.bytes[0] for entry in entries if entry.name in weights),
        "biases": sum(sum(entry.bytes) for entry in entries if entry.name not in weights),
        "header": best.header_bytes,
        "graph": best.graph_bytes,
        "checksums_and_front": best.bytes
        - best.header_bytes
        - best.graph_bytes
        - sum(sum(entry.bytes) for entry in entries),
    }
    best.write(ZOO)
    result["scores"] = {
        name: dataclasses.asdict(score) for name, score in scores(PackedModel.read(ZOO), state, data).items()
    }
    for key, value in result.items():
        print(f"{key}: {value}")
    save("squeezenet_dc", "SEPNET_DATA=... python benchmarks/squeezenet_dc.py", result)


if __name__ == "__main__":
    main()
