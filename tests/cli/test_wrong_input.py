"""What goes wrong: an exit code, one line that says what was found and what was expected, and no harm done."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import hostile
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sepnet.networks import build


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without SEPNET_DATA, and with relative paths that lead nowhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEPNET_DATA", raising=False)


USAGE: dict[str, tuple[str, str]] = {
    "no command": ("nonsense", "No such command 'nonsense'"),
    "no network": ("inspect", "inspect needs NET"),
    "unknown option": ("inspect lenet5 --shape 1", "No such option"),
    "unknown network": ("inspect lenet6", "unknown network 'lenet6'; did you mean 'lenet5'? choices: "),
    "network in an .onnx file": ("inspect lenet6", "FILE.onnx (inspect only), FILE.pt2, "),
    "no module": ("inspect no_module:f", "no module 'no_module'"),
    "unknown argument": ("inspect lenet5?colour=3", "colour"),
    "no shape": ("inspect torch.nn:Identity", "does not say its input shape; give it as --input-shape C,H,W"),
    "shape words": ("inspect lenet5 --input-shape one,two", "'one,two': expected positive integers with commas"),
    "shape zero": ("inspect lenet5 --input-shape 1,0,28", "'1,0,28': expected positive integers"),
    "shape empty": ("inspect lenet5 --input-shape ,", "expected positive integers"),
    "epochs word": ("train lenet5 --data digits -o w --epochs many", "found many; expected an integer of 1 or more"),
    "epochs below": ("train lenet5 --data digits -o w --epochs 0", "'--epochs': found 0; expected an integer of 1 or more"),
    "seed below": ("train lenet5 --data digits -o w --seed -1", "found -1; expected an integer from 0 to 9007199254740991"),
    "seed above": (f"train lenet5 --data digits -o w --seed {2**53}", f"found {2**53}; expected an integer from 0 to {2**53 - 1}"),
    "compress epochs": ("compress lenet5 --weights w --data digits --recipe r -o x --epochs -1", "found -1; expected an integer of 0 or more"),
    "resume and restart": ("train lenet5 --data digits -o w --resume --restart", "found --resume and --restart; expected one of them"),
    "teacher": ("train lenet5 --data digits -o w --set distill=0.9", "found distill = 0.9; expected 0: in training there is no float network"),
    "argument": ("inspect lenet5?num_classes=0", "num_classes=0; expected an integer >= 1"),
    "argument word": ("inspect lenet5?num_classes=abc", "num_classes='abc'; expected an integer >= 1"),
    "argument block": ("inspect sepnet_cifar?blocks=3", "blocks=3; expected three integers"),
    "input type": ("inspect lenet5 --input-shape 1,28,28:int63", "found input types ['int63']; expected"),
    "packed inspected": ("inspect x.sepnet", "that is a packed file, expected a network; info, evaluate, run"),
    "packed trained": ("train x.sepnet --data digits -o w", "that is a packed file, expected a network"),
    "packed weights": ("evaluate x.sepnet --weights w --data digits", "holds its own weights: found --weights w, leave it out"),
    "no folder": ("train lenet5 --data folder: -o w", "nothing after the colon; expected folder:PATH or package.module:function"),
    "no name": ("inspect timm:", "nothing after the colon; expected torchvision:NAME"),
    "history of": ("inspect lenet5 --history", "expected nothing but --json, found NET"),
    "threads": ("train lenet5 --data digits -o w --threads 0", "found 0; expected an integer of 1 or more"),
    "setting": ("train lenet5 --data digits -o w --set lr", "'lr': expected KEY=VALUE, such as lr=0.1"),
    "setting value": ("train lenet5 --data digits -o w --set lr=fast", "--set: found lr = 'fast'; expected a number"),
    "setting range": ("train lenet5 --data digits -o w --set lr=-1", "--set: found lr = -1.0; expected a number above 0"),
    "setting name": ("train lenet5 --data digits -o w --set speed=1", "--set: unknown key 'speed'; choices: batch, "),
    "setting choice": ("train lenet5 --data digits -o w --set optimizer=adam", "unknown optimizer 'adam'; did you mean 'adamw'? choices: adamw, sgd"),
    "unknown data": ("train lenet5 --data digit -o w", "unknown data set 'digit'; did you mean 'digits'? choices: "),
    "no data folder": ("train lenet5 --data mnist -o w", "--data-dir DIR"),
    "holdout": ("train lenet5 --data digits?holdout=9999 -o w", "expected an integer from 1 to 1436"),
    "network as file": ("evaluate lenet5 --data digits", "no packed file; for a network give its weights: --weights"),
    "topk": ("run a.sepnet b.png --topk 0", "found 0; expected an integer of 1 or more"),
    "no image": ("run a.sepnet", "Missing argument 'IMAGE...'"),
}  # fmt: skip

FAILS: dict[str, tuple[str, str]] = {
    "no such file": ("info missing.sepnet", "cannot read missing.sepnet: No such file"),
    "a folder": ("info .", "cannot read .: Is a directory"),
    "no such file to run": ("run missing.sepnet a.png", "cannot read missing.sepnet"),
    "no such file to unpack": ("unpack missing.sepnet -o w", "cannot read missing.sepnet"),
    "no such file to score": ("evaluate missing.sepnet --data digits", "cannot read missing.sepnet"),
    "a long name": (f"evaluate {'x' * 300}.sepnet --data digits", "File name too long"),
    "shape": ("inspect lenet5 --input-shape 3,28,28", "expected (batch, 1, size, size)"),
    "small": ("inspect lenet5 --input-shape 1,4,4", "does not fit the network"),
    "missing folder": ("train lenet5 --data digits -o no/where/w", "the folder no/where does not exist; make it first"),
    "output is a folder": ("train lenet5 --data digits -o .", "it is a folder; give a file name"),
    "output is a device": ("train lenet5 --data digits -o /dev/null", "it is no regular file"),
    "classes": ("train lenet5?num_classes=7 --data digits -o w", "7 outputs, digits has 10 classes; expected as many of both"),
    "no images": ("train lenet5 --data folder:nothing -o w", "nothing"),
    "folder of weights": ("evaluate lenet5 --weights . --data digits", "cannot read weights .: it is a folder; expected a file"),
    "no weights": ("evaluate lenet5 --weights none --data digits", "cannot read weights none"),
}  # fmt: skip


@pytest.mark.parametrize(("command", "words"), USAGE.values(), ids=USAGE)
def test_wrong_usage(run: Any, tmp_path: Path, command: str, words: str) -> None:
    ran = run(*command.split())
    assert ran.code == 2, ran.err
    assert words in " ".join(ran.err.split())
    assert ran.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("command", "words"), FAILS.values(), ids=FAILS)
def test_work_that_fails(run: Any, tmp_path: Path, command: str, words: str) -> None:
    ran = run(*command.split())
    assert ran.code == 1, ran.err
    assert words in ran.error
    assert ran.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nets", "nets.py"])
def test_a_module_without_its_function(run: Any, name: str) -> None:
    Path("nets.py").write_text("def net(): ...\n")
    for command in (("inspect", name), ("train", "lenet5", "--data", name, "-o", "w")):
        ran = run(*command)
        assert ran.code == 2 and "expected nets:FUNCTION" in ran.error and "did you mean" not in ran.error


def test_weights_that_nobody_gave_are_told(run: Any) -> None:
    Path("own_nets.py").write_text("from sepnet.networks import build\n\ndef net(): return build('lenet5')\n")
    ran = run("evaluate", "own_nets:net", "--data", "digits?holdout=1100", "--json")
    assert ran.code == 0 and ran.json["n"] == 1100
    assert ran.err.startswith("note: found no --weights; taken are those that own_nets:net makes, random")
    save_file(build("lenet5").state_dict(), "w.safetensors")
    ran = run("evaluate", "own_nets:net", "--weights", "w.safetensors", "--data", "digits?holdout=1100")
    assert ran.code == 0 and "note" not in ran.err
    options = ("--data", "digits?holdout=1100", "--recipe", "lenet5-digits", "--epochs", 0, "-o", "m.sepnet")
    ran = run("compress", "own_nets:net", *options)
    assert ran.code == 0 and ran.err.startswith("note: found no --weights")


PRUNE = '{ scheme = "prune", sparsity = 0.5 }'
RECIPES: dict[str, tuple[str, str]] = {
    "no toml": ("title = ", "not valid TOML"),
    "no title": ("", "the key 'title' is missing; expected a text in quotes"),
    "unknown key": ('title = "t"\nspeed = 1', "unknown key 'speed'; choices: description, "),
    "unknown layer": ('[[rule]]\nlayers = ["conv9"]\nschemes = [{ scheme = "linear" }]', "'conv9' matches no layer; the layers are: stem (conv kxk), "),
    "overlap": ('[[rule]]\nschemes = [{ scheme = "linear" }]\n[[rule]]\nlayers = ["fc"]\nschemes = [{ scheme = "linear" }]', "rules 1 and 2 both name layer 'fc'"),
    "unknown scheme": ('[[rule]]\nschemes = [{ scheme = "linar" }]', "unknown scheme 'linar'; did you mean 'linear'? choices: "),
    "no scheme": ("[[rule]]\nschemes = []", "the chain of schemes is empty"),
    "bits 0": ('[[rule]]\nschemes = [{ scheme = "linear", bits = 0 }]', "bits = 0; expected 2 to 8"),
    "bits 33": ('[[rule]]\nschemes = [{ scheme = "share", bits = 33 }]', "bits = 33; expected 1 to 8"),
    "unknown option": ('[[rule]]\nschemes = [{ scheme = "linear", bit = 4 }]', "scheme 'linear': unknown key 'bit'; did you mean 'bits'? choices: bits, per"),
    "unknown codec": ('[[rule]]\ncodec = "hufman"\nschemes = [{ scheme = "linear" }]', "unknown codec 'hufman'"),
    "unknown kind": ('[[rule]]\nkinds = ["dense"]\nschemes = [{ scheme = "linear" }]', "unknown kind 'dense'; choices: conv kxk"),
    "not fit": ('[[rule]]\nlayers = ["fc"]\nschemes = [{ scheme = "pattern" }]', "cannot work on layer 'fc'"),
    "stage": (f'[[rule]]\nschemes = [{PRUNE}]\n[[stage]]\nname = "a"\nstart = ["linear"]', "starts 'linear', which no rule uses; choices: keep, prune"),
    "train": ('[train]\nbatch = 0', "train: found batch = 0; expected 1 or more"),
    "rest": ('[rest]\nbias = []', "rest: unknown key 'bias'; did you mean 'biases'? choices: biases, weights"),
    "stage name": (f'[[rule]]\nschemes = [{PRUNE}]\n[[stage]]\nname = "a/b"\nstart = ["prune"]', "found stage name 'a/b'; expected 1 to 80 letters"),
    "epochs": (f'[[rule]]\nschemes = [{PRUNE}]\n[[stage]]\nname = "a"\nepochs = -1', "epochs = -1"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "words"), RECIPES.values(), ids=RECIPES)
def test_recipes(run: Any, compress: Any, weights: Path, tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "r.toml"
    path.write_text(text if text[:5] in ("", "title") else f'title = "t"\n{text}')
    ran = run(*compress(weights, path, tmp_path / "m.sepnet"))
    assert ran.code == 2, ran.err
    assert words in ran.error
    assert [path.name for path in tmp_path.iterdir()] == ["r.toml"]


def test_an_unknown_recipe(run: Any, compress: Any, weights: Path, tmp_path: Path) -> None:
    ran = run(*compress(weights, Path("lenet9"), tmp_path / "m.sepnet"))
    assert ran.code == 2
    assert "no recipe 'lenet9': neither a readable file nor one of " in ran.error
    assert "lenet300-mnist, " in ran.error


def drop(state: dict[str, torch.Tensor]) -> None:
    del state["fc.bias"]


def add(state: dict[str, torch.Tensor]) -> None:
    state["fc2.bias"] = torch.zeros(3)


def grow(state: dict[str, torch.Tensor]) -> None:
    state["fc.bias"] = torch.zeros(11)


def spoil(state: dict[str, torch.Tensor]) -> None:
    state["stem.weight"][0, 0, 0, 0] = float("nan")


def explode(state: dict[str, torch.Tensor]) -> None:
    state["stem.weight"][1] = float("inf")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop, "is of another network: it lacks fc.bias"),
        (add, "has fc2.bias which the network does not"),
        (grow, "fc.bias has shape [11], expected [10]"),
        (spoil, "stem.weight holds 1 NaN or Inf of 144 numbers"),
        (explode, "stem.weight holds 9 NaN or Inf of 144 numbers"),
    ],
)
def test_weights(run: Any, compress: Any, weights: Path, recipe: Path, tmp_path: Path, change: Any, words: str) -> None:
    state = load_file(weights)
    change(state)
    save_file(state, tmp_path / "w.safetensors")
    for command in (
        compress(tmp_path / "w.safetensors", recipe, tmp_path / "m.sepnet"),
        ("evaluate", "mixed_cnn", "--weights", tmp_path / "w.safetensors", "--data", "digits"),
    ):
        ran = run(*command)
        assert ran.code == 1
        assert words in ran.error and "w.safetensors" in ran.error
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_weights_that_are_no_weights(run: Any, compress: Any, recipe: Path, tmp_path: Path) -> None:
    for name in ("w.safetensors", "w.pt"):
        (tmp_path / name).write_bytes(b"\x80\x04 not weights at all")
        ran = run(*compress(tmp_path / name, recipe, tmp_path / "m.sepnet"))
        assert ran.code == 1
        assert f"{name} is not a weights file (expected safetensors, or .pt holding only tensors)" in ran.error


def pictures(folder: Path, classes: list[str], broken: bool = False) -> None:
    """A few small pictures a class, in train and test."""
    for split in ("train", "test"):
        for name in classes:
            (folder / split / name).mkdir(parents=True)
            for at in range(2):
                Image.fromarray(np.full((28, 28), 40 * at, np.uint8)).save(folder / split / name / f"{at}.png")
    if broken:
        (folder / "train" / classes[0] / "0.png").write_bytes(b"\x89PNG broken")


@pytest.mark.parametrize(
    ("classes", "broken", "words"),
    [([], False, "photos"), (["cat"], False, "cat"), (["cat", "dog"], True, "0.png")],
)
def test_folders_of_images(
    run: Any, packed: Path, tmp_path: Path, classes: list[str], broken: bool, words: str
) -> None:
    (tmp_path / "photos").mkdir()
    pictures(tmp_path / "photos", classes, broken)
    for command in (
        ("train", "lenet5?num_classes=2", "--data", "folder:photos", "-o", "w"),
        ("evaluate", packed, "--data", "folder:photos"),
    ):
        ran = run(*command)
        assert ran.code == 1
        assert words in ran.error
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


def test_data_of_another_network(
    run: Any, compress: Any, weights: Path, recipe: Path, packed: Path, tmp_path: Path
) -> None:
    pictures(tmp_path, ["cat", "dog", "cow"])
    ran = run("evaluate", packed, "--data", f"folder:{tmp_path}?size=28&channels=1")
    assert ran.code in (1, 2)
    assert "3 classes" in ran.error or "option" in ran.error or "takes" in ran.error


@pytest.mark.parametrize("content", [b"", b"\x89PNG broken", None])
def test_images_that_cannot_be_read(run: Any, packed: Path, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    ran = run("run", packed, "a.png")
    assert ran.code == 1
    assert "a.png" in ran.error


def test_outputs_that_cannot_be_written(
    run: Any, compress: Any, weights: Path, recipe: Path, packed: Path, tmp_path: Path
) -> None:
    for output, words in ((tmp_path / "no" / "m", "does not exist; make it first"), (tmp_path, "it is a folder")):
        for command in (compress(weights, recipe, output), ("unpack", packed, "-o", output)):
            ran = run(*command)
            assert ran.code == 1 and words in ran.error
        for option in ("--log", "--report"):
            ran = run(*compress(weights, recipe, tmp_path / "m"), option, output)
            assert ran.code == 1 and words in ran.error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(run: Any, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "shut").mkdir(mode=0o555)
    ran = run("unpack", packed, "-o", "shut/w")
    assert ran.code == 1 and "no permission" in ran.error


def test_a_full_disk(
    run: Any, compress: Any, weights: Path, recipe: Path, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    (tmp_path / "old").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    for command in (
        ("unpack", packed, "-o", "old"),
        (*compress(weights, recipe, Path("old")), "--epochs", 0),
        ("train", "mixed_cnn", "--data", "digits?holdout=1300", "-o", "old", "--epochs", 1, "--threads", 1),
    ):
        ran = run(*command)
        assert ran.code == 1
        assert "No space left on device; what was there before is intact" in ran.err.splitlines()[-1]
        assert [path.name for path in tmp_path.iterdir()] == ["old"]
        assert (tmp_path / "old").read_bytes() == b"old"


def test_an_output_that_is_something_else(
    run: Any, compress: Any, weights: Path, recipe: Path, packed: Path, tmp_path: Path
) -> None:
    """Nothing is written over an input or another output, by whatever name."""
    files = {"w.safetensors": weights, "m.sepnet": packed, "r.toml": recipe, "my_net.py": recipe}
    for name, path in files.items():
        (tmp_path / name).write_bytes(path.read_bytes())
    (tmp_path / "link").symlink_to("m.sepnet")
    (tmp_path / "hard.toml").hardlink_to(tmp_path / "r.toml")
    (tmp_path / "sub").mkdir()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    given = ("compress", "mixed_cnn", "--weights", "w.safetensors", "--data", "digits", "--recipe", "r.toml")
    trained = ("train", "mixed_cnn", "--data", "digits", "-o", "new")
    wrong: dict[tuple[object, ...], str] = {
        ("unpack", "m.sepnet", "-o", "sub/../m.sepnet"): "FILE and -o",
        ("unpack", "link", "-o", "m.sepnet"): "FILE and -o",
        (*given, "-o", "w.safetensors"): "--weights and -o",
        (*given, "-o", "hard.toml"): "--recipe and -o",
        (*given, "-o", "new", "--report", tmp_path / "new"): "-o and --report",
        (*given, "-o", "new", "--log", "w.safetensors"): "--weights and --log",
        (*given, "-o", "new", "--log", "new.checkpoint"): "the checkpoint of -o and --log",
        (*given, "-o", "sub/new", "--stages", "sub", "--report", "sub/new.first.sepnet"): "--report and the file of stage first",
        (*trained, "--log", "new"): "-o and --log",
        ("train", "my_net:net", "--data", "digits", "-o", "my_net.py"): "NET and -o",
        ("train", "net.pt2", "--data", "digits", "-o", "net.pt2"): "NET and -o",
        ("inspect", "lenet5", "--html", "same", "--svg", "sub/../same"): "--html and --svg",
        ("inspect", "net.onnx", "--html", "net.onnx"): "NET and --html",
        ("inspect", "lenet5", "--weights", "w.safetensors", "--svg", "w.safetensors"): "--weights and --svg",
    }  # fmt: skip
    for command, words in wrong.items():
        ran = run(*command)
        assert ran.code == 2 and ran.out == "", command
        assert f"{words} " in ran.error and "expected different files, so that nothing is lost" in ran.error
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_log_over_something_else(run: Any, tmp_path: Path) -> None:
    for content in (b"\x08\0\0\0\0\0\0\0{}", b"words\n", b"[1]\n", b'{"no": "event"}\n'):
        (tmp_path / "notes").write_bytes(content)
        ran = run("train", "mixed_cnn", "--data", "digits", "-o", "w", "--log", "notes")
        assert ran.code == 1 and "cannot write notes: it holds something else" in ran.error
        assert (tmp_path / "notes").read_bytes() == content


def test_a_folder_for_stages(run: Any, compress: Any, weights: Path, recipe: Path, tmp_path: Path) -> None:
    command = (*compress(weights, recipe, Path("m.sepnet")), "--epochs", 0)
    (tmp_path / "file").write_bytes(b"")
    for stages, words in (
        ("no/where", "the folder no does not exist"),
        ("file", "cannot write into file: it is no folder"),
    ):
        ran = run(*command, "--stages", stages)
        assert ran.code == 1 and words in ran.error
    assert run(*command, "--stages", "made").code == 0
    assert sorted(path.name for path in (tmp_path / "made").iterdir()) == ["m.first.sepnet", "m.second.sepnet"]


def test_weights_of_data_parallel(run: Any, weights: Path, tmp_path: Path) -> None:
    for prefix in ("module.", "_orig_mod.", "module._orig_mod."):
        save_file({prefix + name: tensor for name, tensor in load_file(weights).items()}, tmp_path / "w.safetensors")
        ran = run("inspect", "mixed_cnn", "--weights", "w.safetensors", "--what-if")
        assert ran.code == 0, ran.err
        assert ran.out == run("inspect", "mixed_cnn", "--weights", weights, "--what-if").out


def test_a_folder_in_place_of_an_image(run: Any, packed: Path, tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    ran = run("run", packed, "pics")
    assert ran.code == 1 and "pics: it is a folder; expected an image file, such as pics/*.png" in ran.error


def test_a_decision_by_the_values(run: Any, tmp_path: Path) -> None:
    (tmp_path / "deciding.py").write_text(
        "from torch import nn\nclass Net(nn.Linear):\n    def __init__(self): super().__init__(784, 10)\n"
        "    def forward(self, x):\n        y = super().forward(x.flatten(1))\n        return y if y.sum() > 0 else -y\n"
    )
    (tmp_path / "r.toml").write_text('title = "t"')
    ran = run("compress", "deciding:Net", "--data", "digits?holdout=1100", "--recipe", "r.toml", "-o", "x")
    assert ran.code == 1
    assert ran.err.splitlines()[-1].startswith(
        "error: the network's forward takes a decision by the values of its input"
    )


def hostile_files() -> dict[str, bytes]:
    """One of each kind of damage."""
    return {
        "empty": b"",
        "cut": hostile.GOOD[:-1],
        "flipped": hostile.GOOD[:-9] + b"\xff" + hostile.GOOD[-8:],
        "magic": b"PK" + hostile.GOOD[2:],
        "version": hostile.GOOD[:8] + b"\x02" + hostile.GOOD[9:],
        "header": hostile.with_text(b"{"),
        "huge": hostile.with_header(hostile.setting("spare.dense", "shape", [1 << 40])),
        "codec": hostile.with_header(hostile.setting("spare.dense", "codec", "zip\x1b[31m\n")),
        "values": hostile.with_header(hostile.setting("mix.weight", "values", "sign")),
    }


@pytest.mark.parametrize("kind", hostile_files())
@pytest.mark.parametrize("command", ["info X", "run X a.png", "evaluate X --data digits", "unpack X -o w"])
def test_hostile_files(run: Any, tmp_path: Path, image: Path, command: str, kind: str) -> None:
    (tmp_path / "bad.sepnet").write_bytes(hostile_files()[kind])
    ran = run(*(str(image) if word == "a.png" else word.replace("X", "bad.sepnet") for word in command.split()))
    if command.startswith("evaluate") and kind in ("codec", "values"):
        assert ran.code == 1 and "takes images of shape" in ran.error  # which is looked at first
        return
    assert ran.code == 1
    assert ran.out == "" and ran.error
    assert [path.name for path in tmp_path.iterdir()] == ["bad.sepnet"]


@pytest.mark.parametrize("graph", ["external", "garbage", "no input"])
def test_hostile_graphs(run: Any, tmp_path: Path, image: Path, graph: str) -> None:
    outside = hostile.graph_with(lambda proto: proto.graph.initializer.append(hostile.external_tensor()))
    graphs = {"external": outside, "garbage": b"\x3a\x7f", "no input": b""}
    (tmp_path / "bad.sepnet").write_bytes(hostile.with_graph(graphs[graph]))
    ran = run("run", "bad.sepnet", image)
    assert ran.code == 1 and ran.error
    assert graph != "external" or "refers to data in another file, which is refused" in ran.error


def test_names_that_would_steer_a_terminal(run: Any, tmp_path: Path) -> None:
    def change(header: dict[str, Any]) -> None:
        header.update(network="\x1b[2J[bold]:smile:[/]", made={"\x1b[31m": "a\nb"})
        hostile.tensor(header, "spare.dense").update(name="[/red]\x1b]0;title\x07", schemes=["\u202e"])

    (tmp_path / "odd.sepnet").write_bytes(hostile.with_header(change))
    ran = run("info", "odd.sepnet")
    assert ran.code == 0
    assert r"\x1b[2J[bold]:smile:[/]" in ran.out and r"[/red]\x1b]0;title\x07" in ran.out and r"a\nb" in ran.out
    assert "\x1b" not in ran.out and "\u202e" not in ran.out
