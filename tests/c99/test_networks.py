"""Networks that are hard to pack: equal in C and near the floats, or refused with the operator and its layer."""

from __future__ import annotations

import re

import numpy as np
import onnx
import pytest
from hard_networks import FLOAT, NETWORKS, packed, traced
from small_networks import Builder, images, integer

from sepnet.c99.compilers import find_compiler
from sepnet.c99.host import HostProgram
from sepnet.core.errors import FormatError, NetworkError, SepnetError
from sepnet.core.packed_model import PackedModel
from sepnet.integer.reference import run_floats
from sepnet.integer.trace import trace
from sepnet.runtimes.onnxruntime import OnnxRuntime

REFUSED = {
    "norms without": "ReduceMean .*'b.weight'",
    "transposed": "ConvTranspose .*'down.weight'",
    "one and three": "Reshape",
    "buffers": "Transpose",
    "tied": "Gather .*'fc1.weight'",
}


@pytest.mark.slow
@pytest.mark.skipif(not find_compiler(), reason="needs a C compiler")
@pytest.mark.parametrize("name", ["lenet5", "lenet300", "mixed_cnn", *NETWORKS])
def test_hard_networks(name: str) -> None:
    ready = traced(name)
    model = packed(ready, FLOAT, ("dense",))
    if name in REFUSED:
        with pytest.raises(NetworkError, match=REFUSED[name]):
            trace(model)
        return
    whole, batch = integer(model), images(8, ready[2])
    wanted, found = OnnxRuntime(model, 1).run(batch), run_floats(whole, batch)
    np.testing.assert_array_equal(HostProgram(whole).run_floats(batch), found)
    assert np.sqrt(np.mean((found.reshape(wanted.shape) - wanted) ** 2)) < 0.12 * wanted.std()


def test_damaged_graphs_are_refused_or_traced() -> None:
    model = PackedModel.read("zoo/lenet5-mnist.sepnet")
    random = np.random.default_rng(0)
    for _ in range(25):
        graph = bytearray(model.graph)
        graph[int(random.integers(len(graph)))] = int(random.integers(256))
        try:
            trace(PackedModel.of(model.header, bytes(graph), model.payloads))
        except (FormatError, NetworkError) as error:
            assert not re.search("Traceback", str(error)) and isinstance(error, SepnetError)


def test_two_outputs_are_refused() -> None:
    model = PackedModel.read("zoo/lenet5-mnist.sepnet")
    proto = onnx.load_from_string(model.graph)
    proto.graph.output.append(onnx.helper.make_empty_tensor_value_info(proto.graph.node[0].output[0]))
    with pytest.raises(NetworkError, match=r"the network has 2 outputs \(.*\); in integers it can have one"):
        trace(PackedModel.of(model.header, proto.SerializeToString(), model.payloads))


def test_a_normalization_by_negative_numbers_is_refused() -> None:
    net = Builder()
    x = net.node("LRN", net.conv("input", (8, 6, 3, 3)), size=3, bias=-1.0)
    with pytest.raises(NetworkError, match=r"operator LRN .* has no integer form here: size 3, .* bias -1"):
        trace(net.model(x))
