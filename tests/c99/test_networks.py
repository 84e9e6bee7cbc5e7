"""Networks that are hard to pack: equal in C and near the floats, or refused with the operator and its layer."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
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
    "norms without": "ReduceMean .*it goes over all examples",
    "one and three": "Conv .*'space.weight'",
    "buffers": "GatherND",
    "tied": "Greater .*'fc1.weight'",
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
    wanted, found = OnnxRuntime(model, 1).run(batch), next(iter(run_floats(whole, batch).values()))
    np.testing.assert_array_equal(HostProgram(whole).first(batch), found)
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


def test_a_normalization_by_negative_numbers_is_refused() -> None:
    net = Builder()
    x = net.node("LRN", net.conv("input", (8, 6, 3, 3)), size=3, bias=-1.0)
    with pytest.raises(NetworkError, match=r"operator LRN .* has no integer form here: size 3, .* bias -1"):
        trace(net.model(x))


@pytest.mark.parametrize("op", ["Reshape", "Squeeze", "Unsqueeze", "BatchNormalization"])
def test_an_operator_without_its_constants_is_refused(op: str) -> None:
    net = Builder()
    x = net.node(op, net.conv("input", (8, 6, 3, 3)))
    with pytest.raises(NetworkError, match=rf"operator {op} .*: found no input 1; expected a constant"):
        trace(net.model(x))


def test_a_user_is_told_the_same_where_python_checks_no_asserts(tmp_path: Path) -> None:
    net = Builder()
    net.model(net.node("Squeeze", net.conv("input", (8, 6, 3, 3)))).write(tmp_path / "net.sepnet")
    read = "import sys, sepnet; from sepnet.integer.trace import trace; trace(sepnet.read(sys.argv[1]))"
    words = [sys.executable, "-O", "-c", read, str(tmp_path / "net.sepnet")]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert "NetworkError: operator Squeeze (value 'output' after layer 'w0.weight')" in ran.stderr.splitlines()[-1]


def test_axes_may_be_an_attribute_or_an_input() -> None:
    """Up to opset 12 they were an attribute."""
    sides = []
    for way in ("input", "attribute"):
        net = Builder()
        mean = net.node("GlobalAveragePool", net.conv("input", (8, 6, 3, 3)))
        axes: dict[str, Any] = {"axes": [2, 3]} if way == "attribute" else {}
        x = net.node("Squeeze", mean, *([] if axes else [net.constant([2, 3])]), **axes)
        sides.append(trace(net.model(net.node("Relu", x))).shapes)
    assert list(sides[0].values()) == list(sides[1].values())
