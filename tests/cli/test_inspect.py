"""The command inspect: what it prints for people and for machines, and every form of network that it takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sepnet.networks import build
from sepnet.packing import estimate

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
    page = tmp_path / "onnx.html"
    found = run("inspect", path, "--input-shape", "7,3", "--what-if", "--html", page, "--sort", "macs", "--json").json
    assert found["what_if"]["rows"][0]["method"] == "float16" and "15 params" in page.read_text()
    ran = run("inspect", path, "--input-shape", "7,3:float32")
    assert ran.code == 2 and "leave them out" in ran.error
    for command in (
        ("train", path, "--data", "digits", "-o", "w"),
        ("evaluate", path, "--data", "digits"),
        ("compress", path, "--data", "digits", "--recipe", recipe, "-o", "w"),
    ):
        ran = run(*command)
        assert ran.code == 2 and "can be inspected, and packed without training (sepnet pack)" in ran.error


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few weights really coded: these tests look at what is shown."""
    monkeypatch.setattr(estimate, "TYPICAL_WEIGHTS", 2000)
    monkeypatch.setattr(estimate, "_LEAST_WEIGHTS", 100)


def test_what_if_of_googlenet_counts_as_the_talk_does(run: Any, quick: None) -> None:
    """6.99 M -> 4.43 M, and why."""
    shown = run("inspect", "googlenet", "--what-if", "--depth", 1).out
    lines = [line.split() for line in shown.splitlines()]
    talk = "talk: 3x3 kernels at 9 bits + one float32 each 4,425,424 6,990,272 - 2,990,592 + 2,990,592/32 + 332,288"
    assert talk.split() in lines
    for words in (
        "the 9 3x3 layers hold 2,990,592 weights in 332,288 kernels; each kernel becomes 9 bits and one float32, so that "
        "6,990,272 numbers become 4,425,424.",
        "7.02x smaller, not 32x as one bit a weight suggests",
        "estimated from typical trained weights (logistic distribution)",
        "--weights FILE estimates from yours",
    ):
        assert words in shown
    found = run("inspect", "googlenet", "--what-if", "--json").json
    rows = {row["label"]: row["numbers"] for row in found["talk_accounting"]["rows"]}
    assert list(rows.values()) == [6_990_272, 4_425_424, 4_101_416, 4_103_736, 3_524_816, 3_408_566]
    assert found["talk_accounting"]["explanation"][0].endswith("6,990,272 numbers become 4,425,424.")
    assert [row["talk"] for row in found["talk_accounting"]["rows"]].index(True) == 1
    assert {row["method"] for row in found["what_if"]["rows"]} > {"prune", "linear 5 bits", "pattern, kernel scale"}


def test_what_if_without_patterns(run: Any, quick: None) -> None:
    assert run("inspect", "lenet300", "--what-if", "--json").json["talk_accounting"] is None
    assert "as the talk counts" not in run("inspect", "lenet300", "--what-if").out


def test_what_if_takes_the_weights_that_there_are(
    run: Any, weights: Path, exported: Path, mine: Path, compress: Any, tmp_path: Path
) -> None:
    """Those of a file, those of a .pt2 file, those that the user's own function brings; else typical ones."""
    (mine / "own_nets.py").write_text(
        "from sepnet.networks import build\n\ndef mine():\n    return build('mixed_cnn')\n"
    )
    given = run("inspect", "mixed_cnn", "--weights", weights, "--what-if", "--json").json["what_if"]
    assert given["measured_on"] == "its weights" and given["coded"] == given["weights"]
    inside = run("inspect", exported, "--what-if", "--json").json["what_if"]
    assert [row["bytes"] for row in inside["rows"][1:4]] == pytest.approx(
        [row["bytes"] for row in given["rows"][1:4]], rel=0.01
    )
    own = run("inspect", "own_nets:mine", "--input-shape", "1,28,28", "--what-if", "--json").json["what_if"]
    assert inside["measured_on"] == own["measured_on"] == "its weights"
    row = next(row for row in given["rows"] if (row["method"], row["scope"]) == ("linear 4 bits", "network"))
    lines = [
        f"[[rule]]\nlayers = {rule['layers']}\nschemes = [{{ scheme = 'linear', bits = 4 }}]" for rule in row["rules"]
    ]
    (tmp_path / "four.toml").write_text("title = 'what if'\n" + "\n".join(lines))
    output = tmp_path / "four.sepnet"
    ran = run(*compress(weights, tmp_path / "four.toml", output), "--epochs", 0)
    assert ran.code == 0, ran.err
    assert output.stat().st_size == pytest.approx(row["bytes"], rel=0.02)


def test_history(run: Any) -> None:
    found = run("inspect", "--history", "--json").json
    assert [row["params"] for row in found if row["title"].startswith("GoogLeNet")] == [6_998_552, 13_378_280]
    shown = run("inspect", "--history").out
    for words in ("networks of the talk", "where the talk says something else", "sources of the accuracy", "450 MB"):
        assert words in shown


def test_pictures(run: Any, quick: None, tmp_path: Path) -> None:
    page, chart = tmp_path / "a page.html", tmp_path / "chart.svg"
    ran = run(
        "inspect", "mixed_cnn", "--what-if", "--html", page, "--svg", chart, "--json", "--sort", "macs", "--depth", 2
    )
    assert ran.code == 0 and set(ran.json) > {"layers", "blocks", "what_if", "talk_accounting"}
    assert page.read_text().startswith("<!doctype html>") and "What each method would leave" in page.read_text()
    assert chart.read_text().startswith("<svg ")
    assert run("inspect", "mixed_cnn", "--html", page).code == 0
    assert "What each method would leave" not in page.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a page.html", "chart.svg"]


@pytest.mark.parametrize("option", ["--html", "--svg"])
def test_pictures_that_cannot_be_written(run: Any, tmp_path: Path, option: str) -> None:
    ran = run("inspect", "lenet5", option, tmp_path / "none" / "a")
    assert (
        ran.code == 1 and ran.out == "" and f"the folder {tmp_path / 'none'} does not exist; make it first" in ran.error
    )
    ran = run("inspect", "lenet5", option, tmp_path)
    assert ran.code == 1 and "it is a folder; give a file name" in ran.error
    ran = run("inspect", "lenet5", "--html", tmp_path / "a", "--svg", tmp_path / "a")
    assert ran.code == 2 and "--html and --svg are both" in ran.error and not list(tmp_path.iterdir())


def test_pictures_of_files(run: Any, quick: None, exported: Path, tmp_path: Path) -> None:
    ran = run(
        "inspect",
        exported,
        "--html",
        tmp_path / "a.html",
        "--svg",
        tmp_path / "a.svg",
        "--sort",
        "params",
        "--depth",
        1,
    )
    assert ran.code == 0 and "20,602 params" in (tmp_path / "a.html").read_text()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inspect", "inspect needs NET: a catalogue name, package.module:function, or a file (or --history)"),
        ("inspect lenet5 --sort size", "--sort 'size': expected one of params, macs, bytes, activations, name"),
        ("inspect lenet5 --depth 0", "Invalid value for '--depth'"),
        ("inspect lenet5 --depth two", "Invalid value for '--depth': found two; expected an integer of 1 or more"),
        ("inspect lenet6", "unknown network 'lenet6'; did you mean 'lenet5'? choices: "),
        ("inspect lenet5?classes=3", "unexpected keyword argument 'classes'; lenet5 takes num_classes"),
        (
            "inspect lenet5 --input-shape 1,28,28:",
            "expected positive integers with commas, such as 1,28,28 or 16:int64",
        ),
        ("inspect lenet5 --input-shape 1,-28,28", "input shape '1,-28,28': expected positive integers"),
        ("inspect lenet5 --input-shape wide", "input shape 'wide': expected positive integers"),
        ("inspect lenet5 --history", "--history shows the talk's networks; expected nothing but --json, found NET"),
        ("inspect --history --what-if --depth 2", "expected nothing but --json, found --depth, --what-if"),
        ("inspect torchvision:resnet18", "needs torchvision, which is not installed; pip install torchvision"),
        ("inspect timm:resnet18 --what-if", "needs timm, which is not installed; pip install timm"),
        ("inspect none.onnx --weights w", "holds its own weights"),
        ("inspect lenet5 --input-shape 1,28,28:int65", "expected 1 of torch's type names, as int64 or float32"),
    ],
)
def test_wrong_usage(run: Any, command: str, words: str) -> None:
    ran = run(*command.split())
    assert ran.code == 2 and ran.out == "" and words in " ".join(ran.err.split())


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("inspect none.onnx", "cannot read none.onnx: No such file"),
        ("inspect none.pt2", "cannot read none.pt2: No such file"),
        ("inspect lenet5 --what-if --weights none.safetensors", "cannot read weights none.safetensors: No such file"),
        (
            "inspect lenet5 --input-shape 3,28,28",
            "layer 'conv1' (Conv2d) found (1, 3, 28, 28), expected (batch, 1, size, size)",
        ),
        (
            "inspect lenet5 --input-shape 1,28,28 --input-shape 2",
            "found (1, 1, 28, 28) and (1, 2), expected (batch, 1, 28, 28)",
        ),
    ],
)
def test_work_that_fails(run: Any, command: str, words: str) -> None:
    ran = run(*command.split())
    assert ran.code == 1 and words in ran.error
