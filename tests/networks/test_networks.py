"""The networks shelf: counts, shapes, and every way of asking wrongly."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from sepnet.core.errors import MissingExtraError, NetworkError, UnknownNameError, UsageError
from sepnet.networks import NETWORKS, build

PARAMS = {"lenet300": 266_610, "lenet5": 431_080, "mixed_cnn": 20_602}

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
    """What every network on the shelf has: a count, an input shape, classes and channels to choose, a gradient."""
    model = build(name)
    assert sum(p.numel() for p in model.parameters()) == PARAMS[name]
    assert model.input_shape == (1, 28, 28)
    out = model(torch.zeros(2, *model.input_shape))
    assert out.shape == (2, 10)
    out.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    other = build(name, num_classes=3, in_channels=2)
    assert other(torch.zeros(2, *other.input_shape)).shape == (2, 3)


@pytest.mark.parametrize("name", list(NETWORKS))
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
