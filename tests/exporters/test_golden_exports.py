"""What every export form writes of fixed files with fixed ranges, byte for byte; `python tests/exporters/test_golden_exports.py` renews it.

A change that is meant to move code only leaves these digests as they are.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from sepnet.c99.program import generate
from sepnet.core.exporter import Material
from sepnet.core.packed_model import PackedModel
from sepnet.exporters.onnx.model import OnnxNetwork
from sepnet.exporters.safetensors import Safetensors
from sepnet.integer.lower import lower
from sepnet.runtimes.activation_ranges import Range

GOLDEN = Path(__file__).parents[1] / "golden" / "exports.json"
FILES = ("lenet5-mnist", "resnet20-cifar10-pattern", "resnet20-cifar10-small", "sepnet-cifar10-bq")


def ranges_of(model: PackedModel) -> dict[str, Range]:
    """Some range for every value, by its name alone: no processor computes it."""
    graph = OnnxNetwork.of(model, 18).graph
    names = [*graph.inputs, *(name for node in graph.nodes for name in node.outputs)]
    seeds = {name: zlib.crc32(name.encode()) for name in names}
    return {name: (-float(seed % 7) / 4, 1 + float(seed % 13) / 4) for name, seed in seeds.items()}


def onnx_form(packed: bool, integers: bool, kind: str = "int8") -> Callable[[PackedModel, Path], bytes]:
    """The bytes of an .onnx file."""

    def form(model: PackedModel, _: Path) -> bytes:
        network, ranges = OnnxNetwork.of(model, 18 if integers or packed else 0), ranges_of(model) if integers else None
        kinds = dict.fromkeys(network.weights, kind)
        return network.encode(packed, ranges, kinds if integers else None)[0]  # type: ignore[arg-type]

    return form


def c99_form(lanes: bool) -> Callable[[PackedModel, Path], bytes]:
    """The files of a program, one after the other."""

    def form(model: PackedModel, _: Path) -> bytes:
        files = generate(lower(model, ranges_of(model)), lanes=lanes, image=model.header.input).files
        return b"".join(f"{name}\n{text}".encode() for name, text in sorted(files.items()))

    return form


def safetensors_form(model: PackedModel, path: Path) -> bytes:
    """A dense state dict."""
    Safetensors().export(model, path, Material())
    return path.read_bytes()


FORMS: dict[str, Callable[[PackedModel, Path], bytes]] = {
    "onnx float": onnx_form(False, False),
    "onnx packed": onnx_form(True, False),
    "onnx int8": onnx_form(False, True),
    "onnx packed int8": onnx_form(True, True),
    "onnx uint8": onnx_form(False, True, "uint8"),
    "onnx packed uint8": onnx_form(True, True, "uint8"),
    "onnx int7": onnx_form(False, True, "int7"),
    "c99": c99_form(False),
    "c99 for the host": c99_form(True),
    "safetensors": safetensors_form,
}


def digest(file: str, form: str, path: Path) -> str:
    model = PackedModel.read(Path(__file__).parents[2] / "zoo" / f"{file}.sepnet")
    return hashlib.sha256(FORMS[form](model, path)).hexdigest()[:16]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("file", FILES)
def test_an_export_is_what_it_was(file: str, form: str, tmp_path: Path) -> None:
    assert digest(file, form, tmp_path / "out") == json.loads(GOLDEN.read_text())[file][form]


if __name__ == "__main__":
    place = Path(tempfile.mkdtemp()) / "out"
    found = {file: {form: digest(file, form, place) for form in FORMS} for file in FILES}
    shutil.rmtree(place.parent)
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n")
