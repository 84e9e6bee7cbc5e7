"""Quantizing by images: what goes into layers, codes that weigh errors, steps that keep the size of the outputs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sepnet.quantizing.agreement import agreement
from sepnet.quantizing.auto import _Tried
from sepnet.quantizing.calibrated import CalibratedLayer, cheapest, disturbed, in_bits
from sepnet.quantizing.layers import MOST_COLUMNS, Layer, find_layers, rows_of
from sepnet.quantizing.moments import layer_moments
from sepnet.quantizing.rate_distortion import Curvature, choose_codes
from sepnet.quantizing.search import approach
from sepnet.runtimes.probe import Probe

onnx = pytest.importorskip("onnx")
helper = onnx.helper


@pytest.mark.parametrize(
    "settings",
    [
        {"pads": [1, 1, 1, 1]},
        {"strides": [2, 1], "pads": [0, 1, 2, 0]},
        {"group": 2, "dilations": [2, 1]},
        {"group": 6},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 3]},
        {"auto_pad": "VALID"},
    ],
    ids=str,
)
def test_rows_times_filters_are_what_the_runtime_gives(settings: dict[str, Any]) -> None:
    random = np.random.default_rng(0)
    groups = settings.get("group", 1)
    weight = random.standard_normal((12, 6 // groups, 3, 2)).astype(np.float32)
    float32 = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], **settings)],
        "g",
        [helper.make_tensor_value_info("x", float32, ("n", 6, 8, 9))],
        [helper.make_tensor_value_info("y", float32, None)],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    batch = random.standard_normal((3, 6, 8, 9)).astype(np.float32)
    wanted = Probe(model).run(batch)[0]
    (layer,) = find_layers(model, {"w"}, {"w": weight.shape})
    rows = rows_of(layer, batch)
    found = np.einsum("grn,gfn->grf", rows, weight.reshape(groups, 12 // groups, -1))
    outputs = found.reshape(groups, 3, *wanted.shape[2:], -1).transpose(1, 0, 4, 2, 3).reshape(wanted.shape)
    np.testing.assert_allclose(outputs, wanted, atol=1e-4)


def correlated(columns: int, rows: int = 2000) -> np.ndarray:
    random = np.random.default_rng(1)
    mixed = random.standard_normal((rows, columns)) @ random.standard_normal((columns, columns))
    return (mixed + 3).astype(np.float32)


def layer_of(weight: np.ndarray, inputs: np.ndarray) -> CalibratedLayer:
    layer = Layer("w", "b", "x")
    (moments,) = layer_moments([layer], [([inputs], len(inputs))], examples=len(inputs))
    state = {"w": weight, "b": np.zeros(len(weight), np.float32)}
    return CalibratedLayer.of(layer, state, moments)


def test_compensated_codes_are_better_than_rounded_ones() -> None:
    inputs, weight = correlated(40), np.random.default_rng(2).standard_normal((16, 40)).astype(np.float32)
    layer = layer_of(weight, inputs)
    done = in_bits(layer, 4)
    assert done.bias is not None and done.weight.bits <= 4
    outputs = inputs @ done.weight.restore().T + done.bias.restore()
    wanted = inputs @ weight.T
    scale = done.weight.scale.numbers()[:, None]
    rounded = inputs @ (np.clip(np.rint(weight / scale), -7, 7) * scale).T
    assert np.square(outputs - wanted).mean() < 0.6 * np.square(rounded - wanted).mean()
    assert np.abs((outputs - wanted).mean(axis=0)).max() < 0.05 * np.abs(wanted).mean()


def test_a_steeper_slope_costs_fewer_bits_and_more_error_and_keeps_the_size_of_the_outputs() -> None:
    inputs, weight = correlated(40), np.random.default_rng(2).standard_normal((16, 40)).astype(np.float32)
    layer = layer_of(weight, inputs)
    ladder = [cheapest(layer, slope) for slope in (1e-3, 1e-2, 1e-1, 1.0)]
    assert [each.bits for each in ladder] == sorted((each.bits for each in ladder), reverse=True)
    assert [each.error for each in ladder] == sorted(each.error for each in ladder)
    rows = ladder[1].weight.restore()
    assert layer.products(layer.rows, rows).sum() == pytest.approx(
        layer.products(layer.rows, layer.rows).sum(), rel=2e-3
    )


def depthwise(spread: float) -> CalibratedLayer:
    """16 filters of 9 weights whose inputs are between 1 and `spread` large, the weights the smaller."""
    random, sizes = np.random.default_rng(3), np.geomspace(1, spread, 16, dtype=np.float32)
    inputs = sizes[:, None] * random.standard_normal((50, 16, 40)).astype(np.float32)
    layer = Layer("w", "b", "x", (9,), (1,), (1,), (4, 4), groups=16)
    (moments,) = layer_moments([layer], [([inputs], len(inputs))], examples=len(inputs))
    weight = (random.standard_normal((16, 1, 9)) / sizes[:, None, None]).astype(np.float32)
    return CalibratedLayer.of(layer, {"w": weight, "b": np.zeros(16, np.float32)}, moments)


def test_filters_of_unlike_inputs_have_steps_of_their_own_and_others_share_one() -> None:
    unlike, alike = cheapest(depthwise(400.0), 0.01), cheapest(depthwise(1.0), 0.01)
    assert unlike.weight.scale is not None and unlike.weight.scale.bits.shape == (16,)
    assert alike.weight.scale is not None and alike.weight.scale.bits.shape == ()
    assert unlike.bits < 1.1 * alike.bits + 16 * 16 and unlike.error < 1.3 * alike.error
    assert np.abs(unlike.weight.codes).max() < 64
    restored, given = unlike.weight.restore(), depthwise(400.0).weight
    errors = np.square(restored - given).sum(axis=(1, 2)) / np.square(given).sum(axis=(1, 2))
    assert errors.max() < 0.1


def test_noise_of_groups_is_of_one_size_in_the_outputs() -> None:
    layer = depthwise(400.0)
    tensors, error = disturbed(layer, 0)
    off = (tensors["w"] - layer.weight).reshape(16, 9)
    parts = layer.products(off, off)
    assert parts.sum() == pytest.approx(error) and parts.max() < 5 * parts.min()


def test_the_error_is_that_of_the_outputs() -> None:
    inputs, weight = correlated(12), np.random.default_rng(2).standard_normal((5, 12)).astype(np.float32)
    layer = layer_of(weight, inputs)
    tensors, error = disturbed(layer, 0)
    off = inputs @ (tensors["w"] - weight).T + tensors["b"]
    assert np.square(off).sum(axis=1).mean() == pytest.approx(error, rel=1e-2)


def test_wide_layers_are_looked_at_in_parts() -> None:
    columns = MOST_COLUMNS + 100
    inputs = np.random.default_rng(0).standard_normal((300, columns)).astype(np.float32)
    weight = np.random.default_rng(1).standard_normal((3, columns)).astype(np.float32)
    layer = layer_of(weight, inputs)
    assert [each.matrix.shape for each in layer.curvatures] == [(1, 626, 626)] * 2
    assert in_bits(layer, 6).weight.shape == (3, columns)


def test_inputs_that_are_always_zero_or_too_few() -> None:
    inputs = np.zeros((5, 8), np.float32)
    weight = np.random.default_rng(1).standard_normal((3, 8)).astype(np.float32)
    weight[1] = 0
    for each in (in_bits(layer_of(weight, inputs), 4), cheapest(layer_of(weight, inputs), 0.1)):
        assert np.isfinite(each.weight.restore()).all()
    few = np.random.default_rng(0).standard_normal((2, 8)).astype(np.float32)
    assert np.isfinite(in_bits(layer_of(weight, few), 4).error)
    indefinite = -np.eye(3, dtype=np.float32) * 1e-3 + 1.0
    assert choose_codes(np.ones((1, 1, 3)), Curvature(indefinite[None]), np.ones((1, 1)), 0.0).codes.shape == (1, 1, 3)


def test_the_search_meets_its_target_or_says_none() -> None:
    setting, size, _ = approach(lambda slope: (1000 * slope**-0.3, None), 500.0, 1e-3, -0.35, near=0.99) or (0, 0, None)
    assert 495 <= size <= 500 and setting == pytest.approx(2 ** (1 / 0.3), rel=0.04)
    assert approach(lambda slope: (7.0, None), 5.0, 1.0, 1.0) is None


def test_agreement_takes_probabilities_and_logits() -> None:
    logits = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    odds = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    other = np.roll(logits, 1, axis=1)
    moved = np.roll(odds, 1, axis=1)
    assert agreement(logits, other).divergence == pytest.approx(agreement(odds, moved).divergence, rel=1e-4)
    assert agreement(logits, logits) == agreement(odds, odds) and agreement(logits, logits).changed == 0


def test_fixed_bits_of_a_layer_that_take_more_and_lose_less_are_no_better() -> None:
    inputs, weight = correlated(40), np.random.default_rng(2).standard_normal((16, 40)).astype(np.float32)
    layer = layer_of(weight, inputs)
    tried = _Tried(SimpleNamespace(layers=[layer]))  # type: ignore[arg-type]
    for slope in (0.1, 0.3, 1.0):
        assert tried._cheapest(0, layer, slope).bits == cheapest(layer, slope).bits
