"""Networks from elsewhere: torchvision and timm (stand-ins of them), `.pt2` files, and catalogue networks without numbers."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sepnet.core.errors import MissingPackageError, NetworkError, UnknownNameError, UsageError
from sepnet.datasets import load
from sepnet.networks import NETWORKS, brings_weights, build, outline
from sepnet.steps.inspect import inspect
from sepnet.training.fit import check_classes
from sepnet.training.rewriting import copied


class Small(nn.Sequential):
    def __init__(self, width: int = 3, num_classes: int = 4) -> None:
        super().__init__(nn.Conv2d(3, width, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))
        self.width = width


@pytest.fixture
def torchvision(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    package, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")

    class Crop:
        crop_size = (17,)

    class Weights:
        DEFAULT = types.SimpleNamespace(transforms=lambda: Crop)

    def get_model_weights(name: str) -> Any:
        if name == "plain":
            raise ValueError("no weights")
        return Weights

    models.__dict__.update(
        list_models=lambda: ["small", "plain", "odd"],
        get_model=lambda name, **options: {} if name == "odd" else Small(**options),
        get_model_weights=get_model_weights,
    )
    monkeypatch.setitem(sys.modules, "torchvision", package)
    monkeypatch.setitem(sys.modules, "torchvision.models", models)
    return models


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    package = types.ModuleType("timm")

    def create_model(name: str, **options: Any) -> nn.Module:
        model = Small(**options)
        model.pretrained_cfg = {"input_size": (3, 9, 9)}
        return model

    package.__dict__.update(
        is_model=lambda name: name == "tiny.v1", list_models=lambda: ["tiny.v1"], create_model=create_model
    )
    monkeypatch.setitem(sys.modules, "timm", package)
    return package


def test_torchvision(torchvision: types.ModuleType) -> None:
    model = build("torchvision:small?width=5", num_classes=2)
    assert (model.width, model[3].out_features, model.input_shape) == (5, 2, (3, 17, 17))
    assert not hasattr(build("torchvision:plain"), "input_shape")
    meta = outline("torchvision:small")
    assert all(p.is_meta for p in meta.parameters()) and meta.input_shape == (3, 17, 17)
    with pytest.raises(UnknownNameError, match=r"torchvision network 'smal'; did you mean 'small'\? choices: odd, "):
        build("torchvision:smal")
    with pytest.raises(NetworkError, match=r"raised TypeError: .*'depth'"):
        build("torchvision:small?depth=3")
    with pytest.raises(NetworkError, match=r"returned dict; expected a torch.nn.Module"):
        build("torchvision:odd")


def test_timm(timm: types.ModuleType) -> None:
    model = build("timm:tiny.v1?width=5")
    assert (model.width, model.input_shape) == (5, (3, 9, 9))
    assert inspect(model, model.input_shape).params == 5 * 27 + 5 + 5 * 4 + 4
    with pytest.raises(UnknownNameError, match="timm network 'tiny'"):
        build("timm:tiny")


def test_an_outline_of_what_refuses_has_numbers(timm: types.ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str) -> nn.Module:
        return Small(width=int(torch.ones(1).sum().item()))  # as timm's rates of drop path

    monkeypatch.setattr(timm, "create_model", create_model)
    assert not any(p.is_meta for p in outline("timm:tiny.v1").parameters())


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_what_is_not_installed(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"{package}.models", raising=False)
    for make in (build, outline):
        with pytest.raises(MissingPackageError) as caught:
            make(f"{package}:resnet18")
        assert caught.value.exit_code == 2
        assert str(caught.value) == (
            f"network '{package}:resnet18' needs {package}, which is not installed; pip install {package}"
        )


def test_an_outline_has_the_shapes_of_the_network() -> None:
    for name in NETWORKS:
        model = outline(name)
        assert all(tensor.is_meta for tensor in (*model.parameters(), *model.buffers())), name
    for name in ("mixed_cnn", "squeezenet1_1", "googlenet_bn", "resnet20_cifar"):
        wanted = {key: (tensor.shape, tensor.dtype) for key, tensor in build(name).state_dict().items()}
        assert {key: (t.shape, t.dtype) for key, t in outline(name).state_dict().items()} == wanted


def test_an_outline_raises_what_build_raises() -> None:
    for spec, error in (
        ("lenet6", UnknownNameError),
        ("lenet5?colour=1", UsageError),
        ("lenet5?dropout=2", NetworkError),
    ):
        with pytest.raises(error):
            outline(spec)


def test_building_afterwards_gives_numbers() -> None:
    outline("lenet5")
    assert not any(p.is_meta for p in build("lenet5").parameters())


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """mixed_cnn with any batch, with a batch of three, and a network of two inputs of any length."""
    place = tmp_path_factory.mktemp("exported")
    torch.manual_seed(0)
    model = build("mixed_cnn").eval()
    torch.save(model.state_dict(), place / "mixed.pt")
    any_batch = ({0: torch.export.Dim.DYNAMIC},)
    images = torch.zeros(3, 1, 28, 28)
    torch.export.save(torch.export.export(model, (images,), dynamic_shapes=any_batch), place / "any.pt2")
    torch.export.save(torch.export.export(model, (images,)), place / "three.pt2")

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.fc = nn.Embedding(10, 4), nn.Linear(6, 2)

        def forward(self, ids: torch.Tensor, extra: torch.Tensor) -> torch.Tensor:
            return self.fc(torch.cat([self.words(ids).mean(1), extra], 1))

    free = ({0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}, {0: torch.export.Dim.DYNAMIC})
    ids, extra = torch.zeros(3, 7, dtype=torch.int64), torch.zeros(3, 2)
    torch.export.save(torch.export.export(Two().eval(), (ids, extra), dynamic_shapes=free), place / "free.pt2")
    torch.export.save(torch.export.export(Two().eval(), (ids[:1], extra[:1])), place / "two.pt2")
    return place


@pytest.mark.parametrize("name", ["any", "three"])
def test_pt2(exported: Path, name: str) -> None:
    model = build(str(exported / f"{name}.pt2"))
    original = build("mixed_cnn").eval()
    original.load_state_dict(torch.load(exported / "mixed.pt", weights_only=True))
    x = torch.randn(3, 1, 28, 28)
    with torch.no_grad():
        assert torch.equal(model(x), original(x))
    assert model.train() is model and model.eval() is model
    assert list(model.state_dict()) == [k for k in original.state_dict() if k in model.state_dict()]
    found, wanted = inspect(model, model.input_shape), inspect(original, (1, 28, 28))
    rows = [
        [(r.name, r.kind, r.weight_shape, r.params, r.macs, r.output_shape, r.activation_bytes) for r in report.layers]
        for report in (found, wanted)
    ]
    assert rows[0] == rows[1]
    assert (found.params, found.macs, found.input_types) == (20_602, 971_232, ("float32",))


def test_pt2_inputs(exported: Path) -> None:
    two = build(str(exported / "two.pt2"))
    assert (two.input_shapes, two.input_types, two.example_batch) == (((7,), (2,)), ("int64", "float32"), 1)
    assert inspect(two, two.input_shapes, input_types=two.input_types).macs == 12
    free = build(str(exported / "free.pt2"))
    assert not hasattr(free, "input_shapes") and not hasattr(free, "input_shape")
    report = inspect(free, [(9,), (2,)], input_types=("int64", "float32"))
    assert [(r.name, r.kind, r.params, r.macs, r.output_shape) for r in report.layers] == [
        ("words", "other", 40, 0, (9, 4)),
        ("fc", "fc", 14, 12, (2,)),
    ]


class Tied(nn.Module):
    """An embedding that is the classifier as well, and recurrent layers between."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.out = nn.Embedding(20, 8), nn.Linear(8, 20, bias=False)
        self.out.weight = self.words.weight
        self.a, self.b = nn.Linear(8, 8), nn.Linear(8, 8)
        self.b.weight = self.a.weight
        self.lstm = nn.LSTM(8, 4, 2, batch_first=True, bidirectional=True)
        self.gru, self.cell = nn.GRU(8, 8, batch_first=True), nn.GRUCell(8, 8)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.gru(self.lstm(self.b(self.a(self.words(ids))))[0])[0]
        return self.out(self.cell(x[:, -1]))


def test_pt2_shared_weights_and_recurrent_layers(tmp_path: Path) -> None:
    original = Tied().eval()
    torch.export.save(torch.export.export(original, (torch.zeros(1, 6, dtype=torch.int64),)), tmp_path / "tied.pt2")
    model = build(str(tmp_path / "tied.pt2"))
    assert model.out.weight is model.words.weight and model.b.weight is model.a.weight
    found, wanted = (inspect(m, (6,), input_types=("int64",)) for m in (model, original))
    rows = [{r.name: (r.kind, r.params, r.macs, r.note) for r in report.layers} for report in (found, wanted)]
    assert rows[0] == rows[1]
    assert rows[0]["lstm"] == ("other", 4 * 4 * (8 + 4 + 2) * 4, 6 * 4 * 4 * 4 * (8 + 4), "")
    assert rows[0]["out"] == ("fc", 0, 160, "shares weights with words")
    assert rows[0]["b"] == ("fc", 8, 6 * 64, "shares weights with a")


def test_a_copy_of_a_pt2_network_knows_its_batch(exported: Path) -> None:
    twin = copied(build(str(exported / "three.pt2")))  # as compress does it
    with pytest.raises(NetworkError, match=r"exported for batches of 3; export it with dynamic_shapes="):
        check_classes(twin, load("digits"))
    assert (twin.fixed_batch, twin.example_batch, twin.input_shape) == (3, 3, (1, 28, 28))


def test_pt2_that_cannot_be_opened(
    exported: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(NetworkError, match=r"cannot read .*none\.pt2: No such file"):
        build(str(tmp_path / "none.pt2"))
    whole = (exported / "any.pt2").read_bytes()
    for at, data in enumerate((b"", b"hello", whole[: len(whole) // 2], b"PK\x05\x06" + bytes(18))):
        path = tmp_path / f"{at}.pt2"
        path.write_bytes(data)
        with pytest.raises(NetworkError, match=r"is not a network that torch.export.save wrote") as caught:
            build(str(path))
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "") and not caplog.records
    with pytest.raises(UsageError, match="takes no options"):
        build(f"{exported}/any.pt2?width=3")
    with pytest.raises(UsageError, match="takes no options"):
        build(f"{exported}/any.pt2", num_classes=3)


def test_onnx_is_for_inspection() -> None:
    for call in (build, outline, brings_weights):
        with pytest.raises(UsageError, match=r"an \.onnx file can be inspected"):
            call("some/net.onnx")


def test_who_brings_weights() -> None:
    yes = ["a/b.pt2", "mine:net", "torchvision:resnet18?weights=DEFAULT", "timm:vit?pretrained=True"]
    no = ["lenet5", "mobilenet_v1?width=0.5", "torchvision:resnet18", "timm:vit", "timm:vit?pretrained=False"]
    assert [brings_weights(spec) for spec in yes + no] == [True] * 4 + [False] * 5
