"""Bits of single layers: asked for by name, found by what they do to the outputs, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import sepnet
from sepnet.core.errors import UsageError
from sepnet.core.pack_options import PackOptions
from sepnet.core.packed_model import PackedModel
from sepnet.datasets import load
from sepnet.packing.restore import coded_tensors
from sepnet.runtimes.session import Session
from sepnet.steps.pack import pack_onnx

onnx = pytest.importorskip("onnx")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
DATA = "digits?holdout=1100"
NAMES = ("a.weight", "a.bias", "b.weight", "b.bias", "c.weight", "c.bias")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """Three fully connected layers on 28 x 28 images."""
    random = np.random.default_rng(0)
    sides = {"a": (24, 784), "b": (24, 24), "c": (10, 24)}
    arrays = {}
    for name, shape in sides.items():
        arrays[f"{name}.weight"] = (random.standard_normal(shape) / shape[1] ** 0.5).astype(np.float32)
        arrays[f"{name}.bias"] = 0.1 * random.standard_normal(shape[0]).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["f"])]
    for name, given, made in (("a", "f", "p"), ("b", "p.r", "q"), ("c", "q.r", "y")):
        nodes.append(helper.make_node("Gemm", [given, f"{name}.weight", f"{name}.bias"], [made], transB=1))
        nodes += [helper.make_node("Relu", [made], [f"{made}.r"])] if made != "y" else []
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", FLOAT, ["n", 1, 28, 28])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 10])],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "net.onnx"
    )
    return tmp_path / "net.onnx"


def bits(packed: PackedModel) -> dict[str, int]:
    """Bits of each tensor."""
    return {tensor.name: tensor.bits for tensor in coded_tensors(packed)}


def test_layers_have_the_bits_that_were_asked_for(network: Path) -> None:
    assert bits(sepnet.pack(network)) == dict.fromkeys(NAMES, 8)
    schemes = {entry.name: entry.schemes for entry in sepnet.pack(network, keep="b").header.tensors}
    assert schemes["b.weight"] == ("keep",) != schemes["a.weight"]
    found = bits(sepnet.pack(network, keep=["b", "a.bias"], layer_bits={"c": 4}))
    assert found == {**dict.fromkeys(NAMES, 8), "b.weight": 16, "a.bias": 16, "c.weight": 4}
    assert bits(sepnet.pack(network, 5, layer_bits={"a.weight": 8}))["a.weight"] == 8


def test_a_kept_layer_is_nearer(network: Path) -> None:
    errors = {row.name: row.error for row in pack_onnx(network, PackOptions(keep=("b",))).rows}
    assert errors["b.weight"] < 0.001 < errors["a.weight"]


@pytest.mark.parametrize("form", ["float", "packed", "int8"])
def test_a_kept_layer_is_exported(network: Path, tmp_path: Path, form: str) -> None:
    packed = sepnet.pack(network, keep=["b"])
    by = {"calibrate": DATA} if form == "int8" else {}
    packed.export(tmp_path / "out.onnx", "onnx", form=form, **by)  # type: ignore[arg-type]
    batch = np.random.default_rng(0).uniform(0, 1, (4, 1, 28, 28)).astype(np.float32)
    wanted = packed.run(batch)
    found = Session(tmp_path / "out.onnx").run({"x": batch})["y"]
    assert np.abs(found - wanted).max() < (0.1 if form == "int8" else 1e-5) * np.abs(wanted).max()


def test_a_kept_layer_runs_in_integers(network: Path) -> None:
    packed = sepnet.pack(network, keep=["b"])
    batch = load(DATA).batch(load(DATA).test.images[:8])
    wanted, found = packed.run(batch), packed.runtime("integer", calibrate=DATA).run(batch)
    assert np.abs(found - wanted).max() < 0.1 * np.abs(wanted).max()


@pytest.mark.parametrize("common", [4, "auto"])
def test_layers_that_are_chosen_are_not_searched_for(network: Path, common: int) -> None:
    budget = {"max_divergence": 0.1} if common == "auto" else {}
    packed = sepnet.pack(network, common, DATA, images=50, keep=["b"], layer_bits={"c": 6}, allow_bad=True, **budget)
    found = bits(packed)
    assert found["b.weight"] == 16 and found["c.weight"] == 6
    assert common == "auto" or found["a.weight"] == common
    scales = {entry.name: entry.scale for entry in packed.header.tensors}
    assert scales["c.weight"] == "filter"


def test_a_chosen_layer_counts_in_what_is_measured(network: Path) -> None:
    from sepnet.core.calibrate import Calibrate

    by = Calibrate(load(DATA), 50)
    lost = [
        pack_onnx(network, PackOptions(8, calibrated=True, layer_bits=chosen, allow_bad=True), by).agreement
        for chosen in ({}, {"a": 2})
    ]
    assert lost[0] is not None and lost[1] is not None and lost[1].divergence > 10 * lost[0].divergence


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"keep": ["d"]}, "no layer is called 'd'; the nearest of 6: "),
        ({"keep": ["a.weigth"]}, "no layer is called 'a.weigth'; the nearest of 6: a.weight"),
        ({"layer_bits": {"a.bias": 4}}, "no layer is called 'a.bias'; the nearest of 3: a.weight"),
        ({"keep": ["a"], "layer_bits": {"a.weight": 4}}, "found 16 and 4 bits for a.weight; expected one of them"),
        ({"layer_bits": {"a": 9}}, "bits 9 of a: expected 2 to 8"),
    ],
)
def test_what_cannot_be_chosen(network: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        sepnet.pack(network, **options)  # type: ignore[arg-type]


def test_few_of_many_names_are_offered(network: Path) -> None:
    from sepnet.core.layer_bits import find_tensors

    with pytest.raises(UsageError) as caught:
        find_tensors("encoder.7.weigh", [f"encoder.{at}.weight" for at in range(300)])
    assert str(caught.value).count("encoder.") == 6 and "encoder.7.weight" in str(caught.value)
    with pytest.raises(UsageError, match="2 layers are shown as 'enc…t'"):
        find_tensors("enc…t", ["enc.1.weight", "enc.2.weight"])
