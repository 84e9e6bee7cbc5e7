"""Every runtime gives the outputs of the reference, ONNX Runtime; those whose package is missing are skipped."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hard_networks import FLOAT, NETWORKS, packed, traced

from sepnet.c99.compilers import find_compiler
from sepnet.core.errors import DataError, FormatError, MissingExtraError, UsageError
from sepnet.core.header import Header, InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.core.runtime import Runtime
from sepnet.runtimes import RUNTIMES

TOLERANCE = 1e-4  # of the largest output
ZOO = Path(__file__).parents[2] / "zoo"
ONE_AT_A_TIME = ["litert"]
"""Converted, which takes seconds, for one example; they refuse networks that need the whole batch."""
OTHERS = [name for name in RUNTIMES if name not in ("onnxruntime", "integer", "c99")]
INTEGERS = ["integer", "c99"]


def made(name: str, model: PackedModel) -> Runtime:
    """Calibrated on one black image, if it calibrates."""
    assert model.header.input is not None
    try:
        return RUNTIMES[name].calibrated(model, [np.zeros((1, *model.header.input.shape), np.float32)], threads=1)
    except MissingExtraError as error:
        pytest.skip(str(error))


def assert_same(name: str, model: PackedModel, shape: tuple[int, ...]) -> None:
    batches = np.random.default_rng(0).standard_normal((4, *shape), np.float32)
    reference, runtime = made("onnxruntime", model), made(name, model)
    for batch in (batches[:3], batches[3:]):
        expected, found = reference.run(batch), runtime.run(batch)
        assert found.dtype == np.float32 and found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())


@pytest.mark.parametrize("network", ["lenet5", *NETWORKS])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in ONE_AT_A_TIME else []) for name in OTHERS]
)
def test_outputs_of_the_hard_networks(name: str, network: str) -> None:
    ready = traced(network)
    if name in ONE_AT_A_TIME and network == "norms without":
        with pytest.raises(FormatError, match="depend on the others of its batch"):
            made(name, packed(ready, FLOAT, ("dense",)))
        return
    assert_same(name, packed(ready, FLOAT, ("dense",)), ready[2])


@pytest.mark.parametrize("file", ["lenet5-mnist", "resnet20-cifar10-pattern"])
@pytest.mark.parametrize("name", OTHERS)
def test_outputs_of_the_zoo(name: str, file: str) -> None:
    model = PackedModel.read(ZOO / f"{file}.sepnet")
    assert model.header.input is not None
    assert_same(name, model, model.header.input.shape)


@pytest.mark.parametrize("name", RUNTIMES)
def test_what_does_not_fit_is_one_line(name: str) -> None:
    ready = made(name, PackedModel.read(ZOO / "lenet5-mnist.sepnet"))
    with pytest.raises(DataError, match=r"cannot run on input of shape \[1, 3, 4, 4\]"):
        ready.run(np.zeros((1, 3, 4, 4), np.float32))
    with pytest.raises(FormatError):
        made(name, PackedModel.of(Header("nothing", 0, (), InputSpec((1, 4, 4))), b"\xff\xff", ()))


@pytest.mark.parametrize("name, module", [("openvino", "openvino"), ("litert", "litert_torch")])
def test_a_missing_package_is_a_hint(name: str, module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"the runtime {name} needs {module}.* pip install 'sepnet\[{name}\]'"):
        RUNTIMES[name](PackedModel.read(ZOO / "lenet5-mnist.sepnet"))


def test_those_in_integers_are_equal_and_near_the_reference() -> None:
    if not find_compiler():
        pytest.skip("needs a C compiler")
    model = PackedModel.read(ZOO / "lenet5-mnist.sepnet")
    batch = np.random.default_rng(0).standard_normal((8, 1, 28, 28), np.float32)
    integer, compiled = (RUNTIMES[name].calibrated(model, [batch]).run(batch) for name in INTEGERS)
    np.testing.assert_array_equal(compiled, integer)
    expected = RUNTIMES["onnxruntime"](model, threads=1).run(batch)
    assert np.abs(integer - expected).max() < 0.1 * np.abs(expected).max()


@pytest.mark.parametrize("name", INTEGERS)
def test_those_in_integers_need_images(name: str) -> None:
    with pytest.raises(UsageError, match="by examples, and found none"):
        RUNTIMES[name](PackedModel.read(ZOO / "lenet5-mnist.sepnet"))
