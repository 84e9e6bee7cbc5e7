"""What the networks of the catalogue compute: on small inputs, with their options, and as ONNX."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from sepnet.networks import build


def ready(spec: str, **options: object) -> nn.Module:
    torch.manual_seed(0)
    return build(spec, **options).eval()


@pytest.mark.parametrize(
    ("spec", "side"),
    [
        ("c_inception", 31),
        ("googlenet", 31),
        ("googlenet_bn", 15),
        ("mobilenet_v1?width=0.25", 1),
        ("mobilenet_v2?width=0.5", 33),
        ("resnet18", 40),
        ("resnet20_cifar", 1),
        ("resnet20_cifar?shortcut=B", 17),
        ("resnet20_cifar?shortcut=projection", 32),
        ("squeezenet1_0", 21),
        ("squeezenet1_1", 21),
        ("vgg11_cifar", 32),
    ],
)
def test_small_inputs(spec: str, side: int) -> None:
    model = ready(spec, num_classes=5, image_size=side)
    assert model.input_shape == (3, side, side)
    with torch.no_grad():
        out = model(torch.randn(2, 3, side, side))
        assert model(torch.randn(1, 3, side + 3, side + 10)).shape == (1, 5)
    assert out.shape == (2, 5)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize("spec", ["alexnet", "alexnet_grouped", "alexnet?variant=one_weird_trick", "vgg11"])
@pytest.mark.parametrize("side", [67, 96, 224, 227])
def test_any_size_meets_the_fc_layers(spec: str, side: int) -> None:
    with torch.device("meta"):
        model = build(spec, image_size=side)
        assert model(torch.zeros(2, *model.input_shape)).shape == (2, 1000)


@pytest.mark.parametrize("spec", ["googlenet_aux?num_classes=4", "googlenet_bn?num_classes=4&aux=True"])
def test_auxiliary_heads(spec: str) -> None:
    model = ready(spec)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        logits, first, second = model.heads(x)  # type: ignore[operator]
        assert torch.equal(logits, model(x))
    assert logits.shape == first.shape == second.shape == (2, 4)
    plain = ready("googlenet?num_classes=4")
    assert len(plain.heads(x)) == 1  # type: ignore[operator]
    assert model.train()(x).shape == (2, 4)


def test_local_response_normalization_is_optional() -> None:
    x = torch.randn(1, 3, 64, 64)
    having, without = ready("googlenet?num_classes=4"), ready("googlenet?num_classes=4&lrn=False")
    without.load_state_dict(having.state_dict())
    with torch.no_grad():
        assert not torch.equal(having(x), without(x))
    with torch.device("meta"):
        kinds = {spec: {type(m) for m in build(spec).modules()} for spec in ("alexnet", "alexnet?lrn=False")}
    assert nn.LocalResponseNorm in kinds["alexnet"]
    assert nn.LocalResponseNorm not in kinds["alexnet?lrn=False"]


def test_the_shortcut_without_parameters() -> None:
    """Every second pixel, new channels zero on both sides."""
    block = ready("resnet20_cifar").get_submodule("layer2.0")
    nn.init.zeros_(block.bn2.weight)  # type: ignore[arg-type]
    x = torch.rand(2, 16, 8, 8)
    with torch.no_grad():
        out = block(x)
    assert torch.equal(out[:, 8:24], x[:, :, ::2, ::2])
    assert not out[:, :8].any() and not out[:, 24:].any()


def test_simple_bypass_adds_the_input() -> None:
    plain, bypass = ready("squeezenet1_0"), ready("squeezenet1_0?bypass=simple")
    x = torch.rand(1, 128, 5, 5)
    with torch.no_grad():
        out = plain.get_submodule("features.4")(x)
        assert torch.equal(bypass.get_submodule("features.4")(x), out + x)
    on = [name for name, m in bypass.named_modules() if getattr(m, "bypass", False)]
    assert on == ["features.4", "features.7", "features.9", "features.12"], "fire 3, 5, 7 and 9"


@pytest.mark.slow
@pytest.mark.parametrize(
    "spec",
    [
        "alexnet_grouped?num_classes=10&image_size=96",
        "c_inception",
        "googlenet_bn",
        "mobilenet_v1?width=0.5",
        "mobilenet_v2",
        "resnet18",
        "resnet50",
        "resnet20_cifar",
        "resnet20_cifar?shortcut=projection",
        "squeezenet1_0?bypass=simple",
        "vgg16_cifar",
    ],
)
def test_onnx_with_a_dynamic_batch(spec: str) -> None:
    pytest.importorskip("onnxscript")
    runtime = pytest.importorskip("onnxruntime")
    model = ready(spec)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 2.0)  # type: ignore[arg-type]
    shape = (3, 64, 64) if model.input_shape[1] == 224 else model.input_shape
    dynamic = ({0: torch.export.Dim("batch")},)
    program = torch.onnx.export(
        model, (torch.zeros(2, *shape),), dynamo=True, dynamic_shapes=dynamic, verbose=False, opset_version=18
    )
    proto = program.model_proto
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param
    x = torch.randn(3, *shape)
    session = runtime.InferenceSession(proto.SerializeToString())
    out = session.run(None, {proto.graph.input[0].name: x.numpy()})[0]
    with torch.no_grad():
        expected = model(x).numpy()
    assert abs(out - expected).max() <= 1e-4 * max(1.0, abs(expected).max())
