"""What the run is watched for: weights wherever they are multiplied, and what cannot be counted.  Numbers by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrizations

from sepnet.core.errors import NetworkError, UsageError
from sepnet.core.network import LayerReport, NetworkReport
from sepnet.networks import build
from sepnet.steps.inspect import inspect


def row(report: NetworkReport, name: str = "") -> LayerReport:
    return next(layer for layer in report.layers if layer.name == name)


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        (nn.RNN(3, 5), (7, 3), 7 * 5 * (3 + 5)),
        (nn.GRU(3, 5), (7, 3), 7 * 3 * 5 * (3 + 5)),
        (nn.LSTM(3, 5), (7, 3), 7 * 4 * 5 * (3 + 5)),
        (nn.LSTM(3, 5, 2, bidirectional=True), (7, 3), 7 * 2 * (4 * 5 * (3 + 5) + 4 * 5 * (10 + 5))),
        (nn.LSTM(3, 5, proj_size=2), (7, 3), 7 * (4 * 5 * (3 + 2) + 5 * 2)),
        (nn.LSTM(3, 5, 2, proj_size=2), (7, 3), 7 * (4 * 5 * (3 + 2) + 5 * 2 + 4 * 5 * (2 + 2) + 5 * 2)),
        (nn.RNNCell(3, 5), (3,), 5 * 8),
        (nn.GRUCell(3, 5), (3,), 3 * 5 * 8),
        (nn.LSTMCell(3, 5), (3,), 4 * 5 * 8),
        (nn.Conv2d(8, 8, 3, groups=2, dilation=2), (8, 9, 9), 5 * 5 * 8 * 4 * 9),
        (nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, dilation=2, output_padding=1), (4, 5, 7), 4 * 35 * 3 * 9),
        (nn.Embedding(10, 4), (7,), 0),
    ],
)  # fmt: skip
def test_macs_by_hand(layer: nn.Module, shape: tuple[int, ...], macs: int) -> None:
    report = inspect(layer, shape)
    assert (report.macs, report.uncounted) == (macs, ())
    assert report.params == sum(p.numel() for p in layer.parameters())


def test_the_groups_are_noted() -> None:
    assert row(inspect(nn.Conv2d(8, 8, 3, groups=2), (8, 9, 9))).note == "2 groups"
    assert row(inspect(nn.Conv2d(8, 8, 1, groups=4), (8, 9, 9))).note == "4 groups"
    assert row(inspect(nn.Conv2d(8, 8, 3, groups=8), (8, 9, 9))).note == ""


class Attention(nn.Module):
    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True, **options)

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        return self.attention(q, k, v)[0]


def test_attention() -> None:
    """Projections at the layers that own them; the products of activations apart."""
    report = inspect(Attention(), [(5, 8), (7, 8), (7, 8)])
    assert {r.name: (r.kind, r.weight_shape, r.params, r.macs, r.output_shape) for r in report.layers} == {
        "attention": ("fc", (24, 8), 24 * 8 + 24, (5 + 7 + 7) * 8 * 8, (5, 8)),
        "attention.out_proj": ("fc", (8, 8), 72, 5 * 8 * 8, (5, 8)),
    }
    assert report.activation_macs == 2 * (5 * 7 * 8)
    other = inspect(Attention(kdim=6, vdim=3), [(5, 8), (7, 6), (7, 3)])
    assert row(other, "attention").macs == 5 * 8 * 8 + 7 * 6 * 8 + 7 * 3 * 8
    assert row(other, "attention").weight_shape == ()


def test_a_transformer_layer() -> None:
    report = inspect(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (5, 8))
    found = {r.name: r.macs for r in report.layers}
    assert found == {
        "self_attn": 5 * 8 * 24,
        "self_attn.out_proj": 5 * 64,
        "linear1": 5 * 128,
        "linear2": 5 * 128,
        "norm1": 0,
        "norm2": 0,
    }
    assert report.activation_macs == 2 * 5 * 5 * 8 and report.uncounted == ()


class Functional(nn.Module):
    """Weights without layers of torch's own, one of them from two factors."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.ones(6, 2, 3, 3))
        self.down, self.up = nn.Parameter(torch.ones(5, 2)), nn.Parameter(torch.ones(2, 6))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.conv2d(x, self.kernel).mean((2, 3))
        return x @ (self.down @ self.up).T


def test_weights_used_through_functions() -> None:
    report = inspect(Functional(), (2, 5, 5))
    assert [(r.kind, r.params, r.macs) for r in report.layers] == [("conv kxk", 108 + 22, 9 * 6 * 18 + 6 * 5)]


class TiedOutput(nn.Module):
    """The classifier of a language model is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.middle = nn.Embedding(11, 4), nn.Linear(4, 4)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return F.linear(self.middle(self.words(ids)), self.words.weight)


def test_macs_belong_to_the_layer_that_owns_the_weight() -> None:
    report = inspect(TiedOutput(), (3,), input_types=("int64",))
    assert [(r.name, r.kind, r.params, r.macs) for r in report.layers] == [
        ("words", "other", 44, 3 * 4 * 11),
        ("middle", "fc", 20, 3 * 16),
    ]
    assert report.input_types == ("int64",)


def test_shared_weights_say_so() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    report = inspect(model, (3,))
    assert [(r.params, r.macs, r.note) for r in report.layers] == [(12, 9, ""), (3, 9, "shares weights with 0")]


def test_a_layer_that_never_runs_says_so() -> None:
    class Spare(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self[0](x)

    report = inspect(Spare(nn.Linear(3, 3), nn.Linear(3, 9)), (3,))
    assert [(r.params, r.macs, r.note, r.counted) for r in report.layers] == [
        (12, 9, "", True),
        (36, 0, "not run", True),
    ]


def test_weights_in_buffers_have_a_row_but_no_params() -> None:
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("matrix", torch.ones(4, 3))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.matrix.T

    (only,) = inspect(nn.Sequential(Frozen()), (3,)).layers
    assert (only.name, only.params, only.macs, only.note) == (
        "0",
        0,
        12,
        "its weights are buffers, which are no parameters",
    )


@torch.library.custom_op("sepnet_test::strange", mutates_args=())
def strange(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x * weight.sum()


@strange.register_fake
def _(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Strange(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return strange(x, self.weight)


def test_what_cannot_be_counted_is_listed() -> None:
    report = inspect(nn.Sequential(nn.Linear(3, 3), Strange()), (3,))
    assert (row(report, "1").params, row(report, "1").macs, row(report, "1").counted) == (6, 0, False)
    assert row(report, "1").note == "not counted: sepnet_test::strange"
    assert report.uncounted == (row(report, "1"),)
    assert report.macs == 9


def test_output_shapes_and_activation_bytes() -> None:
    report = inspect(build("lenet5"), (1, 28, 28))
    assert [(r.output_shape, r.activation_bytes) for r in report.layers] == [
        ((20, 24, 24), 4 * 11520),
        ((50, 8, 8), 4 * 3200),
        ((500,), 2000),
        ((10,), 40),
    ]
    assert report.activation_bytes == 4 * (11520 + 3200 + 510)
    twice = nn.Linear(3, 3)
    assert row(inspect(nn.Sequential(twice, twice), (3,)), "0").activation_bytes == 2 * 12
    both = row(inspect(nn.LSTM(3, 5), (7, 3)))
    assert (both.output_shape, both.activation_bytes) == ((7, 5), 4 * (7 * 5 + 2 * 7 * 5))


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.fc(x)


class Frees(nn.Module):
    """Lets its first value go before it makes the third."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(4, 100), nn.Linear(100, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.wide(self.narrow(self.wide(x)))


@pytest.mark.parametrize(
    ("model", "shape", "numbers"),
    [
        (nn.Identity(), (5,), 5),
        (nn.Linear(3, 5), (3,), 3 + 5),
        (nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (4,), 4 + 8 + 8),
        (nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 2)), (4,), 4 + 8 + 2),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3)), (1, 4, 4), 16 + 8 + 3),
        (nn.MaxPool2d(2), (1, 4, 4), 16 + 4),
        (nn.BatchNorm2d(2), (2, 3, 3), 18 + 18),
        (nn.LayerNorm(4), (4,), 4 + 4),
        (Residual(), (4,), 4 + 4 + 4),
        (Frees(), (4,), 4 + 100 + 4),
        (parametrizations.weight_norm(nn.Linear(3, 5)), (3,), 3 + 5),
        (nn.Linear(3, 5).to(torch.float64), (3,), 3 + 5),
        (nn.Linear(3, 5).to(torch.bfloat16), (3,), 3 + 5),
        (nn.Embedding(9, 4), (3,), 2 * 3 + 3 * 4),  # an int64 is as long as two float32
    ],
)  # fmt: skip
def test_peak_by_hand(model: nn.Module, shape: tuple[int, ...], numbers: int) -> None:
    assert inspect(model, shape).peak_activation_bytes == 4 * numbers


def test_the_peak_of_layer_norm_keeps_no_statistics() -> None:
    """Mean and deviation that nobody reads are gone before the next operator."""
    model = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 4))
    assert inspect(model, (6, 4)).peak_activation_bytes == 4 * (24 + 24 + 24)


def test_the_peak_where_meta_cannot() -> None:
    class Branches(nn.Sequential):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) if float(x.sum()) == 0 else x

    report = inspect(Branches(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), (4,))
    assert (report.peak_activation_bytes, report.macs) == (4 * (4 + 8 + 8), 48)


def test_the_peak_is_the_same_without_meta() -> None:
    class Real(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            bool(x.sum() == 0)
            return self.inner(x)

    for name in ("lenet5", "mixed_cnn", "resnet20_cifar"):
        model = build(name)
        meta, real = inspect(model, model.input_shape), inspect(Real(model), model.input_shape)
        assert real.peak_activation_bytes == meta.peak_activation_bytes, name
        assert real.macs == meta.macs, name


def test_vgg16_peak() -> None:
    """The second convolution: 3x224x224 in, 64x224x224 twice (ReLU in place)."""
    with torch.device("meta"):
        model = build("vgg16")
    assert inspect(model, (3, 224, 224)).peak_activation_bytes == 4 * (3 + 64 + 64) * 224 * 224


def test_several_inputs_and_their_types() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.fc = nn.Embedding(10, 4), nn.Linear(6, 2)

        def forward(self, ids: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.cat([self.words(ids).mean(1), extra], 1))

    for types in (("int64", "float32"), ("int32", ""), ()):
        report = inspect(Two(), [(7,), (2,)], input_types=types)
        assert report.input_shapes == ((7,), (2,)) and report.input_shape == (7,)
        assert report.input_types == ((types[0] if types else "int64"), "float32")
        assert report.macs == 12
    with pytest.raises(NetworkError, match="expected 2 of torch's type names, as int64"):
        inspect(Two(), [(7,), (2,)], input_types=("int64", "int65"))
    with pytest.raises(NetworkError, match="expected 2 of torch's type names"):
        inspect(Two(), [(7,), (2,)], input_types=("int64",))
    with pytest.raises(NetworkError, match="does not fit the network"):
        inspect(Two(), [(7,), (2,)], input_types=("float32", "float32"))
    assert inspect(nn.Linear(1, 2), ()).input_shapes == ((),)


def test_blocks_kinds_and_order() -> None:
    report = inspect(build("resnet20_cifar"), (3, 32, 32))
    blocks = report.by_block(1)
    assert [b.name for b in blocks] == ["conv1", "bn1", "layer1", "layer2", "layer3", "linear"]
    assert sum(b.params for b in blocks) == report.params and sum(b.macs for b in blocks) == report.macs
    assert sum(b.activation_bytes for b in report.by_kind()) == report.activation_bytes
    assert [b.name for b in report.by_block(2)][2:5] == ["layer1.0", "layer1.1", "layer1.2"]
    assert len(report.by_block(9)) == len(report.layers)
    assert report.by_block(1)[2].bytes == 4 * report.by_block(1)[2].params
    numbers = [layer.params for layer in report.sorted_layers("params")]
    assert numbers == sorted(numbers, reverse=True)
    names = [layer.name for layer in report.sorted_layers("name")]
    assert names == sorted(names)
    assert report.sorted_layers("activations")[0].activation_bytes == max(r.activation_bytes for r in report.layers)
    assert report.sorted_layers("bytes") == report.sorted_layers("params")
    with pytest.raises(UsageError, match="found depth 0"):
        report.by_block(0)


def test_a_report_made_by_hand_needs_no_more_than_before() -> None:
    report = NetworkReport("net", (3,), (LayerReport("fc", "fc", (2, 3), 8, 6),))
    assert report.input_shapes == ((3,),) and report.peak_activation_bytes is None
    assert (report.params, report.macs, report.bytes) == (8, 6, 32)
