"""Where sums pass 32 bits programs equal the reference, which is exact, in every kernel; elsewhere nothing is wider."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board import missing_tools, run_on_board
from hypothesis import given, settings
from hypothesis import strategies as st
from long_networks import LONG, POOLS, WIDE_SIGNS, ends, layer, pool, weights
from small_networks import NETWORKS, integer
from test_program import CPU, SANITIZED, demo, needs_compiler, random_convolutions

from sepnet.c99.compilers import TARGETS, Target
from sepnet.c99.operators import pool as written_pool
from sepnet.c99.program import generate
from sepnet.c99.storage import MOST_SIGNS, store
from sepnet.core.errors import NetworkError
from sepnet.integer import requantize
from sepnet.integer.bounds import sum_bounds
from sepnet.integer.extremes import following
from sepnet.integer.model import IntegerModel
from sepnet.integer.operators.conv import Conv
from sepnet.integer.reference import run

KERNELS = {
    "dense": "conv_dense_long",
    "dense windows": "conv_dense_long",
    "dense groups": "conv_dense_long",
    "sparse": "conv_sparse_long",
    "sparse windows": "conv_sparse_long",
    "many filters": "conv_dense_long",
    "wide signs": "conv_dense",
    "long signs": "conv_signs",
}
needs_neon = pytest.mark.skipif(
    not shutil.which("aarch64-linux-gnu-gcc") or not shutil.which("qemu-aarch64"),
    reason="needs aarch64-linux-gnu-gcc and qemu-aarch64",
)
LAYERS = LONG | WIDE_SIGNS
QUICK = ("dense", "wide signs", "long signs")


def assert_equal(model: IntegerModel, folder: Path, flags: str, lanes: bool = False, *compiler: str) -> None:
    """On noise and on the ends of its sums; `compiler` is another one, and what runs its programs."""
    q = ends(model)
    tools = (compiler[0], compiler[1:]) if compiler else ("gcc", ())
    assert demo(model, q, folder, flags, lanes, *tools) == run(model, q).reshape(len(q), -1).tolist()


FAST = [pytest.param(each, marks=() if each in QUICK else pytest.mark.slow) for each in LAYERS]


@needs_compiler
@pytest.mark.parametrize("name", FAST)
def test_equals_the_reference(name: str, tmp_path: Path) -> None:
    model = LAYERS[name]()
    assert_equal(model, tmp_path, "-O1")
    assert f"void {KERNELS[name]}(" in (tmp_path / "model.c").read_text()


@needs_compiler
@pytest.mark.parametrize("name", FAST)
def test_vectors_equal_the_reference(name: str, tmp_path: Path) -> None:
    assert_equal(LAYERS[name](), tmp_path, "-O1 -march=native", True)


@needs_compiler
@pytest.mark.slow
@pytest.mark.parametrize("flags", ["-O0", SANITIZED, "-O3"])
@pytest.mark.parametrize("lanes", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_equals_the_reference_however_compiled(name: str, lanes: bool, flags: str, tmp_path: Path) -> None:
    assert_equal(LAYERS[name](), tmp_path, flags, lanes)


@needs_compiler
@pytest.mark.slow
@pytest.mark.skipif("avx2" not in CPU, reason="needs a processor with AVX2")
@pytest.mark.parametrize("name", LAYERS)
def test_avx2_equals_the_reference(name: str, tmp_path: Path) -> None:
    assert_equal(LAYERS[name](), tmp_path, SANITIZED + " -mavx2", True)


@needs_neon
@pytest.mark.slow
@pytest.mark.parametrize("march", ["armv8-a", "armv8.2-a+dotprod", "armv8.6-a"])
@pytest.mark.parametrize("name", LAYERS)
def test_neon_equals_the_reference(name: str, march: str, tmp_path: Path) -> None:
    flags = f"-static -O2 -march={march}"
    assert_equal(LAYERS[name](), tmp_path, flags, True, "aarch64-linux-gnu-gcc", "qemu-aarch64", "-cpu", "max")


@pytest.mark.skipif(bool(missing_tools()), reason=f"needs {missing_tools()}")
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("name", [*WIDE_SIGNS, *(name for name in LONG if name != "many filters")])
def test_boards_equal_the_reference(name: str, target: Target, tmp_path: Path) -> None:
    model = LAYERS[name]()
    q = ends(model)[1:]
    assert run_on_board(generate(model), q, target, tmp_path).outputs == run(model, q).reshape(len(q), -1).tolist()


@pytest.fixture
def everything_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every layer and pool takes the kernels for sums of 64 bits."""
    monkeypatch.setattr(requantize, "_fits", lambda numbers: False)
    monkeypatch.setattr(written_pool, "count_bytes", lambda pool: 4)


@needs_compiler
@pytest.mark.usefixtures("everything_long")
@pytest.mark.parametrize("lanes", [False, True])
@pytest.mark.parametrize("name", [*NETWORKS, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(6))])
def test_layers_of_all_shapes_in_64_bits(name: str | int, lanes: bool, tmp_path: Path) -> None:
    model = integer(random_convolutions(name) if isinstance(name, int) else NETWORKS[name]())
    assert all(each.requantize.long_sum for each in model.operators if isinstance(each, Conv))
    assert_equal(model, tmp_path, "-O1 -march=native" if lanes else "-O1", lanes)


@needs_compiler
@pytest.mark.slow
@pytest.mark.usefixtures("everything_long")
def test_bits_of_signs_in_64_bits(tmp_path: Path) -> None:
    model = layer(np.sign(weights((18, 4, 130, 140))), (4, 131, 140))
    assert_equal(model, tmp_path, "-O1 -march=native", True)
    assert store(model.operators[0], lanes=True).format == 8


@needs_compiler
@pytest.mark.parametrize("lanes", [False, True])
@pytest.mark.parametrize("name", POOLS)
def test_means_of_large_maps(name: str, lanes: bool, tmp_path: Path) -> None:
    model = pool(POOLS[name])
    q = np.stack([np.full((1, *POOLS[name]), number, np.uint8) for number in (0, 255)])
    found = demo(model, q, tmp_path, "-O1", lanes)
    assert found == run(model, q).reshape(2, 1).tolist()
    np.testing.assert_allclose(np.ravel(found) * model.values["output"].scale, [0, 255], atol=0.51)


@needs_compiler
def test_only_the_layer_that_needs_it_is_wider(tmp_path: Path) -> None:
    short, long = (layer(weights((3, 3, side, side)), (3, side, side)) for side in (140, 160))
    texts = [generate(each).files["model.c"] for each in (short, long)]
    assert ["_long(" in text for text in texts] == [False, True]
    assert ["void conv_dense(" in text for text in texts] == [True, False]
    assert_equal(short, tmp_path, SANITIZED)


def test_signs_that_their_kernel_cannot_sum_up_are_bytes() -> None:
    conv = layer(np.sign(weights((2, 3, 4, 85))), (3, 4, 85)).operators[0]
    assert isinstance(conv, Conv) and store(conv).kind == "signs"
    assert 2 * 255 * MOST_SIGNS < 1 << 31 <= 2 * 255 * (MOST_SIGNS + 1)
    for shape in ((1, 3, 1, 86), (1, 4, 1, 65), (1, MOST_SIGNS + 1, 1, 1)):
        assert store(replace(conv, weight=np.ones(shape, np.int8))).kind == "dense"


def test_depthwise_sums_fit_whatever_the_kernel() -> None:
    assert -sum_bounds(np.full((1, 1, 255, 255), -127, np.int8))[0].max() < 1 << 31


def test_maps_that_tables_cannot_hold_are_refused() -> None:
    with pytest.raises(NetworkError, match=r"value 'input' .* \[65536, 1, 1\]; expected sides of 65,535"):
        generate(layer(np.ones((1, 65536, 1, 1), np.int8), (65536, 1, 1)))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 1 << 30),
    st.tuples(*[st.integers(1, 5)] * 2, *[st.integers(1, 3)] * 4),
    st.integers(1, 3),
    st.tuples(*[st.integers(0, 4)] * 2),
)
def test_the_bound_is_the_worst_case(seed: int, sides: tuple[int, ...], groups: int, more: tuple[int, ...]) -> None:
    random = np.random.default_rng(seed)
    filters, channels, high, wide, stride, dilation = sides
    weight = random.integers(-127, 128, (groups * filters, channels, high, wide)).astype(np.int8)
    shape = (groups * channels, (high - 1) * dilation + 1 + more[0], wide + more[1])
    model = layer(weight, shape, group=groups, strides=[stride, 1], dilations=[dilation, 1])
    conv = model.operators[0]
    assert isinstance(conv, Conv)
    low, high_end = sum_bounds(conv.weight)
    sums = _sums(conv, np.concatenate([following(model, 0), random.integers(0, 256, (20, *shape))]).astype(np.int64))
    assert sums.max() == high_end.max() and sums.min() == low.min()
    assert np.all(sums >= low[:, None, None]) and np.all(sums <= high_end[:, None, None])


@pytest.mark.parametrize("name", NETWORKS)
def test_signs_are_followed_through_layers(name: str) -> None:
    """Two inputs reach as far in every layer as 64 of noise."""
    model = integer(NETWORKS[name]())
    noise = np.random.default_rng(0).integers(0, 256, (64, *model.values[model.input].shape)).astype(np.uint8)
    for at, conv in enumerate(model.operators):
        if isinstance(conv, Conv):
            end = replace(model.outputs[0], value=conv.source)
            before = replace(model, outputs=(end,), operators=model.operators[:at])
            zero = model.values[conv.source].zero
            random, found = (conv.sums(run(before, q).astype(np.int64), zero) for q in (noise, following(model, at)))
            assert np.ptp(found) >= np.ptp(random)


def _sums(conv: Conv, q: np.ndarray) -> np.ndarray:
    """By the book: one product after the other."""
    filters, channels, high, wide = conv.weight.shape
    rows = range(0, q.shape[2] - (high - 1) * conv.dilations[0], conv.strides[0])
    columns = range(0, q.shape[3] - wide + 1)
    sums = np.zeros((len(q), filters, len(rows), len(columns)), np.int64)
    for filter in range(filters):
        part = q[:, filter // (filters // conv.groups) * channels :][:, :channels]
        for y, row in enumerate(rows):
            for x, column in enumerate(columns):
                window = part[:, :, row :: conv.dilations[0], column : column + wide][:, :, :high]
                sums[:, filter, y, x] = (window * conv.weight[filter].astype(np.int64)).sum(axis=(1, 2, 3))
    return sums


def test_the_reference_is_exact() -> None:
    model = LONG["dense"]()
    conv, q = model.operators[0], ends(model)
    assert isinstance(conv, Conv)
    rule = conv.requantize
    for image, found in zip(q, run(model, q)[:, :, 0, 0], strict=True):
        sums = [int(np.dot(row.ravel().astype(np.int64), image.ravel().astype(np.int64))) for row in conv.weight]
        exact = [
            min(max((each * int(m) + (int(b) << rule.offset_shift)) >> rule.shift, rule.low), rule.high)
            for each, m, b in zip(sums, rule.multipliers, rule.offsets, strict=True)
        ]
        assert found.tolist() == exact
