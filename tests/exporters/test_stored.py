"""Numbers as plain operators: every way gives them back to the bit, in the runtime and after its constant folding."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from sepnet.exporters.onnx.builder import Builder
from sepnet.exporters.onnx.stored import Codes, Halves, Stored, _ways, write
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.graphs.wire import ELEMENT_TYPES, field, number_field

random = np.random.default_rng(0)
SHAPES = [(64, 8, 3, 3), (100,), (7, 13), (5, 5, 3, 3), (3,)]


def as_model(build: Builder, values: dict[str, np.dtype]) -> bytes:
    """A model that gives the values and has no input."""
    kinds = {name: field(2, field(1, number_field(1, ELEMENT_TYPES[kind]))) for name, kind in values.items()}
    rest = field(2, b"g") + b"".join(field(12, field(1, name.encode()) + kind) for name, kind in kinds.items())
    versions = number_field(1, 8) + field(8, number_field(2, 18))
    return OnnxGraph(tuple(build.nodes), (), (*values,), (), 18, build.initializers, rest, versions).encode()


def check(given: Stored, tmp_path: Path) -> None:
    """All ways at once in one model, and that nothing is left to compute when it is loaded."""
    build = Builder()
    ways = [*_ways(given), lambda build: write(build, given)]
    values = {build.add("Identity", way(build)): given.numbers.dtype for way in ways}
    model = as_model(build, values)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    for found in session.run(None, {}):
        assert (found.dtype, found.shape) == (given.numbers.dtype, given.numbers.shape)
        np.testing.assert_array_equal(found, given.numbers)
    assert not onnx.load(tmp_path / "folded.onnx").graph.node


@pytest.mark.parametrize("kind", [np.float32, np.int8])
@pytest.mark.parametrize("levels", [1, 2, 3, 5, 9, 33, 129, 256])
def test_codes(levels: int, kind: type, tmp_path: Path) -> None:
    for shape in SHAPES:
        for kept in (1, 0.3, 0.02, 0):
            table = random.permutation(np.arange(-128, 128))[:levels].astype(kind)
            table[0] = 0 if kept < 1 else table[0]
            codes = random.integers(0, levels, shape) * (random.random(shape) < kept)
            given = Codes.of(table[codes])
            assert given is not None
            check(given, tmp_path)


def test_kernels_that_recur(tmp_path: Path) -> None:
    signs = random.choice(np.float32([-1, 1]), (20, 9))
    given = Codes.of(signs[random.integers(0, 20, 64 * 32)].reshape(64, 32, 3, 3))
    assert given is not None
    check(given, tmp_path)
    build = Builder()
    write(build, given)
    assert build.size < 64 * 32 * 5 / 8 + 900  # an index of 5 bits a kernel, not 9 signs


@pytest.mark.parametrize("kept", [1, 0.3, 0.01])
@pytest.mark.parametrize("exponent", [0, -140, 30])
def test_halves(kept: float, exponent: int, tmp_path: Path) -> None:
    for shape in SHAPES:
        numbers = random.standard_normal(shape).astype(np.float16) * (random.random(shape) < kept)
        factor = np.ldexp(np.float32(1), exponent)
        given = Halves.exactly(numbers.astype(np.float32) * factor, exponent)
        if given is not None:  # subnormal float32 numbers are no multiples of the factor
            check(given, tmp_path)


def test_numbers_that_are_no_halves() -> None:
    assert Halves.exactly(np.float32([1 / 3])) is None and Halves.exactly(np.float32([1e6])) is None
    assert Codes.of(np.arange(300)) is None


def test_bits_are_as_few_as_they_can_be() -> None:
    signs = Codes.of(random.choice(np.int8([-1, 1]), (64, 64, 3, 3)))
    nibbles = Codes.of(random.integers(-7, 8, (64, 64, 3, 3)).astype(np.int8))
    assert signs is not None and nibbles is not None
    for given, bits in ((signs, 1), (nibbles, 4)):
        build = Builder()
        write(build, given)
        assert build.size < 64 * 64 * 9 * bits / 8 + 300
