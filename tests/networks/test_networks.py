"""The networks shelf: counts, shapes, and every way of asking wrongly."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sepnet.core.errors import MissingExtraError, NetworkError, UnknownNameError, UsageError
from sepnet.networks import NETWORKS, build

PARAMS = {
    "alexnet": 62_378_344,
    "alexnet_grouped": 60_965_224,
    "c_inception": 5_104_456,
    "googlenet": 6_998_552,
    "googlenet_aux": 13_378_280,
    "googlenet_bn": 6_624_904,
    "lenet300": 266_610,
    "lenet5": 431_080,
    "mixed_cnn": 20_602,
    "mobilenet_v1": 4_231_976,
    "mobilenet_v2": 3_504_872,
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnet20_cifar": 269_722,
    "resnet32_cifar": 464_154,
    "resnet44_cifar": 658_586,
    "resnet56_cifar": 853_018,
    "resnet110_cifar": 1_727_962,
    "sepnet_small": 1_303_848,
    "sepnet_large": 1_677_096,
    "sepnet_cifar": 655_690,
    "squeezenet1_0": 1_248_424,
    "squeezenet1_1": 1_235_496,
    "vgg11": 132_863_336,
    "vgg13": 133_047_848,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vgg11_cifar": 9_231_114,
    "vgg13_cifar": 9_416_010,
    "vgg16_cifar": 14_728_266,
    "vgg19_cifar": 20_040_522,
}
ON_DIGITS = ("lenet300", "lenet5", "mixed_cnn")
SIDES = {"alexnet": 227, "alexnet_grouped": 227}
QUICK = (
    "alexnet_grouped",
    "c_inception",
    "mobilenet_v2",
    "resnet20_cifar",
    "sepnet_small",
    "squeezenet1_0",
    "vgg11",
    *ON_DIGITS,
)
"""Enough of the shelf for the slower checks: one of each way of building."""

USER = """
import torch
from torch import nn
from pathlib import Path as Elsewhere

def good(width=3, *, bias=True): return nn.Linear(width, 2, bias=bias)
def anything(**options): return nn.Linear(len(options), 2)
def not_a_module(): return {"weights": 1}
def a_class(): return nn.Linear
def raises(): raise ValueError("bad\\n  thing")
def leaves(): raise SystemExit(3)
class Net(nn.Linear):
    def __init__(self, width=4): super().__init__(width, 2)
    @classmethod
    def wide(cls): return cls(400)
model = nn.Linear(2, 2)
number = 7
"""


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory with the user's modules; the import state is put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    for name in ("my_nets", "my_broken", "my_needy", "my_typo", "my_exit"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    (tmp_path / "my_nets.py").write_text(USER)
    (tmp_path / "my_broken.py").write_text("raise RuntimeError('at import')\n")
    (tmp_path / "my_needy.py").write_text("import surely_not_installed\n")
    (tmp_path / "my_typo.py").write_text("def f(:\n")
    (tmp_path / "my_exit.py").write_text("import sys; sys.exit('usage: ...')\n")
    return tmp_path


@pytest.mark.parametrize("name", list(NETWORKS))
def test_contract(name: str) -> None:
    """What every network on the shelf has: a count, an input shape, classes and channels to choose."""
    small = name in ON_DIGITS or name.endswith("_cifar")
    channels, side = (1, 28) if name in ON_DIGITS else (3, 32 if small else SIDES.get(name, 224))
    with torch.device("meta"):
        model = build(name)
        assert sum(p.numel() for p in model.parameters()) == PARAMS[name]
        assert model.input_shape == (channels, side, side)
        assert model(torch.zeros(2, *model.input_shape)).shape == (2, 10 if small else 1000)
        other = build(name, num_classes=3, in_channels=2)
        assert other.input_shape == (2, side, side)
        assert other(torch.zeros(2, *other.input_shape)).shape == (2, 3)


@pytest.mark.parametrize("name", QUICK)
def test_every_weight_has_a_gradient(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
        model(torch.zeros(2, *model.input_shape)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("name", [name for name in QUICK if PARAMS[name] < 8_000_000])
def test_same_seed_same_weights(name: str) -> None:
    states = []
    for _ in range(2):
        torch.manual_seed(5)
        states.append(build(name).state_dict())
    assert all(torch.equal(states[0][k], states[1][k]) for k in states[0])


def test_listing_needs_no_torch() -> None:
    code = "import sys, sepnet.networks as n; assert list(n.NETWORKS) and 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(Path(__file__).parents[2] / "src")})


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingExtraError, match=r"sepnet\[torch\]"):
        build("lenet5")
    with pytest.raises(UnknownNameError):  # a wrong name is said before
        build("lenet6")


def test_lenet_arguments() -> None:
    model = build("lenet5?num_classes=7&dropout=0.3&image_size=32", in_channels=3)
    assert (model.fc2.out_features, model.dropout.p, model.input_shape) == (7, 0.3, (3, 32, 32))
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
    assert build("lenet5?num_classes=7", num_classes=4).fc2.out_features == 4
    assert build("lenet5?image_size=16")(torch.zeros(1, 1, 16, 16)).shape == (1, 10)
    assert build("lenet300?image_size=1")(torch.zeros(4, 1)).shape == (4, 10)


@pytest.mark.parametrize("size", [(16, 16), (17, 31), (28, 28), (64, 40)])
def test_mixed_cnn_sizes(size: tuple[int, int]) -> None:
    assert build("mixed_cnn")(torch.zeros(2, 1, *size)).shape == (2, 10)


def test_mixed_cnn_has_what_it_promises() -> None:
    model = build("mixed_cnn")
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert {c.bias is not None for c in convs} == {True, False}
    assert model.depthwise.groups == model.depthwise.in_channels == 32
    assert model.pointwise.kernel_size == (1, 1)
    assert model.pre_bn.num_features == model.residual.out_channels + model.pointwise.out_channels


def test_mixed_cnn_export_with_a_dynamic_batch(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    model = build("mixed_cnn").eval()
    batch = torch.export.Dim("batch")
    program = torch.onnx.export(
        model, (torch.zeros(2, 1, 28, 28),), dynamo=True, dynamic_shapes=({0: batch},), verbose=False
    )
    program.save(tmp_path / "m.onnx")
    graph = onnx.load(tmp_path / "m.onnx").graph
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param
    assert "BatchNormalization" in {n.op_type for n in graph.node}, "pre_bn cannot be folded"
    runtime = pytest.importorskip("onnxruntime")
    x = torch.randn(5, 1, 28, 28)
    out = runtime.InferenceSession(tmp_path / "m.onnx").run(None, {graph.input[0].name: x.numpy()})[0]
    assert abs(out - model(x).detach().numpy()).max() < 1e-4


@pytest.mark.parametrize(
    "spec",
    [
        "lenet5?num_classes=0",
        "lenet5?num_classes=ten",
        "lenet5?num_classes=True",
        "lenet300?in_channels=1.5",
        "lenet5?image_size=15",
        "lenet5?dropout=1",
        "lenet5?dropout=nan",
        "lenet300?dropout=-0.1",
        "mixed_cnn?num_classes=-3",
        "alexnet?image_size=66",
        "alexnet?lrn=yes",
        "alexnet?variant=two_gpu",
        "alexnet?variant=one_weird_trick&lrn=True",
        "alexnet?variant=one_weird_trick&image_size=62",
        "alexnet_grouped?lrn=1",
        "c_inception?image_size=30",
        "googlenet?dropout=1.0",
        "googlenet_bn?aux=maybe",
        "mobilenet_v1?width=0",
        "mobilenet_v2?width=wide",
        "mobilenet_v2?width=17",
        "resnet18?num_classes=0",
        "resnet20_cifar?shortcut=C",
        "resnet20_cifar?shortcut=[1]",
        "squeezenet1_0?bypass=complex",
        "squeezenet1_1?image_size=20",
        "vgg16?batch_norm=2",
        "vgg16_cifar?image_size=31",
    ],
)
def test_values_that_cannot_be(spec: str) -> None:
    with pytest.raises(NetworkError, match=r"found .*; expected"):
        build(spec)


def test_unknown_name() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'lenet5'.*lenet300.*package.module:function"):
        build("lenet_5")


def test_unknown_argument() -> None:
    with pytest.raises(UsageError, match=r"'classes'.*lenet5 takes num_classes"):
        build("lenet5?classes=3")


def test_users_function(user: Path) -> None:
    assert build("my_nets:good").in_features == 3
    assert build("my_nets:good?width=5&bias=False").bias is None
    assert build("my_nets:anything?a=1&b=2").in_features == 2
    assert build("my_nets:Net?width=9").in_features == 9
    assert build("my_nets:Net.wide").in_features == 400


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("my_nets:missing", UsageError, "has no 'missing'; its functions and classes: Net, a_class, anything, good"),
        ("my_nets:number", UsageError, "found int, expected a function"),
        ("my_nets:good?depth=1", UsageError, "good takes width=3, bias=True"),
        ("my_nets:good?width=wide", NetworkError, "raised TypeError: "),
        ("my_nets:not_a_module", NetworkError, "returned dict; expected a torch.nn.Module"),
        ("my_nets:a_class", NetworkError, "returned type; expected"),
        ("my_nets:model", NetworkError, "found a Linear object; expected a function"),
        ("my_nets:raises", NetworkError, "raised ValueError: bad thing$"),
        ("my_nets:leaves", NetworkError, "raised SystemExit: 3"),
        ("my_gone:f", UsageError, "no module 'my_gone'"),
        ("my_nets.deeper:f", UsageError, "no module 'my_nets.deeper'"),
        ("my_broken:f", NetworkError, "importing 'my_broken' raised RuntimeError: at import"),
        ("my_needy:f", NetworkError, "ModuleNotFoundError: No module named 'surely_not_installed'"),
        ("my_typo:f", NetworkError, "SyntaxError"),
        ("my_exit:f", NetworkError, "SystemExit: usage"),
    ],
)
def test_users_mistakes(user: Path, spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words) as caught:
        build(spec)
    assert "\n" not in str(caught.value)
