"""The command inspect: what it prints for people and for machines, and every form of network that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sepnet.networks import build

MINE = """
import torch
from torch import nn

class Tokens(nn.Module):
    def __init__(self, heads=2):
        super().__init__()
        self.words = nn.Embedding(9, 4)
        self.mix = nn.TransformerEncoderLayer(4, heads, 8, batch_first=True)
        self.fc = nn.Linear(6, 3)

    def forward(self, ids, extra):
        return self.fc(torch.cat([self.mix(self.words(ids)).mean(1), extra], 1))
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "my_tokens.py").write_text(MINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_json(run: Any) -> None:
    found = run("inspect", "lenet5", "--json").json
    assert {key: found[key] for key in found if key not in ("layers", "blocks", "kinds")} == {
        "network": "lenet5",
        "input_shape": [1, 28, 28],
        "input_shapes": [[1, 28, 28]],
        "input_types": ["float32"],
        "params": 431_080,
        "macs": 2_293_000,
        "bytes": 1_724_320,
        "activation_bytes": 4 * (11_520 + 3_200 + 510),
        "peak_activation_bytes": 4 * (784 + 11_520 + 2_880),
        "activation_macs": 0,
    }
    assert found["layers"][2] == {
        "name": "fc1",
        "kind": "fc",
        "weight_shape": [500, 800],
        "params": 400_500,
        "macs": 400_000,
        "output_shape": [500],
        "activation_bytes": 2000,
        "counted": True,
        "note": "",
        "percent": pytest.approx(92.906189),
        "bytes": 1_602_000,
    }
    kind = {"kind": "fc", "layers": 2, "params": 405_510, "macs": 405_000, "activation_bytes": 2040, "bytes": 1_622_040}
    assert found["kinds"][1].items() >= kind.items()
    assert [block["name"] for block in found["blocks"]] == ["conv1", "conv2", "fc1", "fc2"]


def test_the_table(run: Any) -> None:
    lines = [line.split() for line in run("inspect", "lenet5").out.splitlines()]
    assert ["layer", "kind", "weight", "output", "params", "%", "of", "params", "macs", "bytes", "activations"] in lines
    assert ["conv1", "conv", "kxk", "20x1x5x5", "20x24x24", "520", "0.12", "288,000", "2,080", "46,080"] in lines
    assert ["total", "431,080", "100.00", "2,293,000", "1,724,320", "60,920"] in lines
    assert ["fc", "2", "405,510", "94.07", "405,000", "1,622,040", "2,040"] in lines
    assert ["at", "most", "60,736", "bytes", "of", "activations", "at", "once", "(one", "example,", "float32)"] in lines


def test_blocks(run: Any) -> None:
    lines = [line.split() for line in run("inspect", "resnet20_cifar", "--depth", 1).out.splitlines()]
    assert ["block", "layers", "params", "%", "of", "params", "macs", "bytes", "activations"] in lines
    assert [line[:2] for line in lines[2:9]] == [["conv1", "1"], ["bn1", "1"], ["layer1", "12"], ["layer2", "12"], ["layer3", "12"], ["linear", "1"], ["total", "39"]]  # fmt: skip
    found = run("inspect", "resnet20_cifar", "--depth", 2, "--json").json
    assert found["blocks"][2]["name"] == "layer1.0" and len(found["layers"]) == 39
    assert sum(block["params"] for block in found["blocks"]) == found["params"]


@pytest.mark.parametrize(
    ("key", "first"), [("params", "fc1"), ("macs", "conv2"), ("bytes", "fc1"), ("activations", "conv1"), ("name", "conv1")]
)  # fmt: skip
def test_order(run: Any, key: str, first: str) -> None:
    assert run("inspect", "lenet5", "--sort", key, "--json").json["layers"][0]["name"] == first
    assert run("inspect", "lenet5", "--sort", key).out.splitlines()[2].split()[0] == first
    assert run("inspect", "lenet5", "--sort", key, "--depth", 1).out.splitlines()[2].split()[0] == first


def test_several_inputs(run: Any, mine: Path) -> None:
    arguments = ("inspect", "my_tokens:Tokens?heads=1", "--input-shape", "5:int64", "--input-shape", "2")
    found = run(*arguments, "--json").json
    assert (found["input_shapes"], found["input_types"]) == ([[5], [2]], ["int64", "float32"])
    assert found["activation_macs"] == 2 * 5 * 5 * 4
    assert found["macs"] == 5 * (48 + 16 + 32 + 32) + 18
    shown = run(*arguments).out
    assert "input 5 and 2" in shown and "200 macs between activations (attention) are not part of macs" in shown


def test_weights_that_fit_and_that_do_not(run: Any, tmp_path: Path) -> None:
    state = build("lenet5").state_dict()
    save_file(state, tmp_path / "fit.safetensors")
    torch.save(state, tmp_path / "fit.pt")
    save_file({**state, "fc2.bias": torch.zeros(11)}, tmp_path / "unfit.safetensors")
    for name in ("fit.safetensors", "fit.pt"):
        assert run("inspect", "lenet5", "--weights", tmp_path / name, "--json").json["params"] == 431_080
    ran = run("inspect", "lenet5", "--weights", tmp_path / "unfit.safetensors")
    assert ran.code == 1 and "fc2.bias has shape [11], expected [10]" in ran.error


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "mixed.pt2"
    torch.manual_seed(0)
    model, batch = build("mixed_cnn").eval(), {0: torch.export.Dim.DYNAMIC}
    torch.export.save(torch.export.export(model, (torch.zeros(2, 1, 28, 28),), dynamic_shapes=(batch,)), path)
    torch.export.save(torch.export.export(model, (torch.zeros(2, 1, 28, 28),)), path.with_name("two.pt2"))
    torch.manual_seed(0)
    save_file(model.state_dict(), path.with_name("mixed.safetensors"))
    return path


def test_pt2_files(run: Any, exported: Path, recipe: Path, tmp_path: Path) -> None:
    """Their own weights; inspect, evaluate and compress take them."""
    assert run("inspect", exported, "--json").json["macs"] == 971_232
    data = ("--data", "digits?holdout=1100")
    scores = [
        run("evaluate", exported, *data, "--json").json,
        run("evaluate", "mixed_cnn", "--weights", exported.with_name("mixed.safetensors"), *data, "--json").json,
    ]
    assert scores[0] == pytest.approx(scores[1])
    output = tmp_path / "m.sepnet"
    ran = run("compress", exported, *data, "--recipe", recipe, "-o", output, "--epochs", 0, "--threads", 1, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["bytes"] == output.stat().st_size and ran.json["params"] == 20_602
    ran = run("evaluate", exported.with_name("two.pt2"), *data)
    assert ran.code == 1 and "was exported for batches of 2; export it with dynamic_shapes=" in ran.error


def test_networks_without_weights(run: Any, recipe: Path, tmp_path: Path) -> None:
    ran = run("compress", "mixed_cnn", "--data", "digits", "--recipe", recipe, "-o", tmp_path / "m.sepnet")
    assert ran.code == 2 and "has no trained weights; give them as --weights FILE" in ran.error


def test_onnx_files(run: Any, recipe: Path, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    helper, path = onnx.helper, tmp_path / "my.net.onnx"
    weight = onnx.numpy_helper.from_array(np.ones((3, 5), np.float32), "fc.weight")
    values = [helper.make_tensor_value_info(name, 1, ["n", "t", side]) for name, side in (("x", 3), ("y", 5))]
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "fc.weight"], ["y"])], "g", *([v] for v in values), [weight]
    )
    onnx.save(helper.make_model(graph), path)
    found = run("inspect", path, "--input-shape", "7,3", "--json").json
    assert (found["params"], found["macs"], found["input_shape"]) == (15, 7 * 15, [7, 3])
    assert found["peak_activation_bytes"] == 4 * 7 * (3 + 5)
    ran = run("inspect", path)
    assert ran.code == 1 and "the size 't' of input 'x' is free; give --input-shape" in ran.error
    ran = run("inspect", path, "--input-shape", "7,3:float32")
    assert ran.code == 2 and "leave them out" in ran.error
    for command in (
        ("train", path, "--data", "digits", "-o", "w"),
        ("evaluate", path, "--data", "digits"),
        ("compress", path, "--data", "digits", "--recipe", recipe, "-o", "w"),
    ):
        ran = run(*command)
        assert ran.code == 2 and "an .onnx file can be inspected; only networks of torch can be trained" in ran.error


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inspect lenet5 --sort size", "--sort 'size': expected one of params, macs, bytes, activations, name"),
        ("inspect lenet5 --depth 0", "--depth"),
        (
            "inspect lenet5 --input-shape 1,28,28:",
            "expected positive integers with commas, such as 1,28,28 or 16:int64",
        ),
        ("inspect torchvision:resnet18", "needs torchvision, which is not installed; pip install torchvision"),
        ("inspect timm:resnet18", "needs timm, which is not installed; pip install timm"),
        ("inspect none.onnx --weights w", "holds its own weights"),
    ],
)
def test_wrong_usage(run: Any, command: str, words: str) -> None:
    ran = run(*command.split())
    assert ran.code == 2 and words in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inspect none.onnx", "cannot read none.onnx: No such file"),
        ("inspect none.pt2", "cannot read none.pt2: No such file"),
        ("inspect lenet5 --input-shape 1,28,28:int65", "expected 1 of torch's type names, as int64 or float32"),
    ],
)
def test_work_that_fails(run: Any, command: str, words: str) -> None:
    ran = run(*command.split())
    assert ran.code == 1 and words in ran.error
