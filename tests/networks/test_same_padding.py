"""TensorFlow's padding SAME in the MobileNets: where the pixels are, and that nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sepnet.core.errors import NetworkError
from sepnet.core.header import InputSpec
from sepnet.core.packed_model import PackedModel
from sepnet.core.plan import make_plan
from sepnet.core.recipe import Recipe, Rest
from sepnet.networks import build
from sepnet.networks.same_padding import SameConv2d, conv3x3
from sepnet.packing.export import export_graph
from sepnet.packing.pack import PackInput, pack
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import ParametrizedNetwork, sites


@pytest.mark.parametrize(("side", "before", "behind"), [(8, 0, 1), (7, 1, 1), (2, 0, 1), (1, 1, 1), (224, 0, 1)])
def test_stride_two(side: int, before: int, behind: int) -> None:
    """As TensorFlow's documentation of `tf.nn.convolution` has it: what is odd goes behind."""
    torch.manual_seed(0)
    conv = SameConv2d(2, 3, 3, stride=2, bias=False)
    x = torch.randn(1, 2, side, side)
    padded = nn.functional.pad(x, (before, behind, before, behind))
    wanted = nn.functional.conv2d(padded, conv.weight, stride=2)
    assert conv(x).shape[2:] == ((side + 1) // 2, (side + 1) // 2)
    assert torch.equal(conv(x), wanted)


def test_sides_of_their_own_and_wide_strides() -> None:
    conv = SameConv2d(1, 1, (3, 5), stride=(1, 7), bias=False)
    x = torch.randn(1, 1, 6, 9)  # 9 columns, stride 7: two outputs, (2 - 1) * 7 + 5 - 9 = 3 zeros
    wanted = nn.functional.conv2d(nn.functional.pad(x, (1, 2, 1, 1)), conv.weight, stride=(1, 7))
    assert torch.equal(conv(x), wanted)


@pytest.mark.parametrize("name", ["mobilenet_v1?width=0.25", "mobilenet_v2?width=0.5"])
def test_the_mobilenets(name: str) -> None:
    """Same keys and shapes; other outputs; any side."""
    torch.manual_seed(0)
    plain, same = build(f"{name}&num_classes=7").eval(), build(f"{name}&num_classes=7&padding=tf")
    x = torch.randn(2, 3, 64, 64)
    settled(same, x)
    plain.load_state_dict(same.state_dict(), strict=True)
    strided = [m for m in same.modules() if isinstance(m, nn.Conv2d) and m.stride[0] > 1]
    assert len(strided) == 5 and all(isinstance(m, SameConv2d) for m in strided)
    with torch.no_grad():
        wanted = same(x)
        assert (wanted - plain(x)).abs().max() > 0.01 * wanted.abs().max()
        assert same(torch.randn(1, 3, 33, 47)).shape == (1, 7)


def settled(model: nn.Module, images: torch.Tensor) -> None:
    """Statistics of the norms as after training, so that outputs are not all about 0."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(images)
    model.eval()


def test_the_packed_file_gives_the_same() -> None:
    """With its batch norm folded, by ONNX Runtime, one side odd and one even."""
    torch.manual_seed(0)
    layers = SameConv2d(3, 8, 3, 2, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), nn.Flatten(), nn.Linear(8 * 9 * 8, 4)
    same, x = nn.Sequential(*layers), torch.randn(2, 3, 17, 16)
    settled(same, x)
    wanted = same(x).detach()
    report = inspect(same, (3, 17, 16))
    floats = ({"scheme": "keep", "dtype": "float32"},)
    network = ParametrizedNetwork(same, make_plan(Recipe("f", rest=Rest(floats, floats)), sites(same, report), SCHEMES))
    network.start_rest()
    about = PackInput("test", report.params, InputSpec((3, 17, 16)))
    graph = export_graph(same, (3, 17, 16))
    made = pack(about, graph, network.state(), network.coded(), code=network.code_anew, codecs=("dense",))
    found = OnnxRuntime(PackedModel.from_bytes(made.to_bytes())).run(x.numpy())
    assert np.abs(found - wanted.numpy()).max() < 1e-4 * np.abs(wanted.numpy()).max()


def test_stride_one_is_the_same() -> None:
    assert type(conv3x3(4, 4, 1, padding="tf")) is nn.Conv2d
    with pytest.raises(NetworkError, match=r"found padding='same'; expected torch or tf"):
        build("mobilenet_v2?padding=same")
    with pytest.raises(NetworkError, match=r"found last_padding=2; expected 0 or 1"):
        build("squeezenet1_0?last_padding=2")
