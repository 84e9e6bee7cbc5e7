"""Each command as it should go: exit code 0, the keys of its JSON, its table."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import sepnet
from sepnet.cli import terminal
from sepnet.core.errors import OutputError
from sepnet.core.stage_row import StageRow
from sepnet.datasets import DATASETS
from sepnet.networks import build
from sepnet.steps import report as report_step

COMMANDS = ["inspect", "train", "compress", "info", "evaluate", "run", "unpack", "export"]
SCORE = {"n", "top1", "top5", "loss"}
SETUP = {"device", "precision", "why", "channels_last", "compiled", "threads"}
DATA = ("--data", "digits?holdout=1100")


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_has_an_example(run: Any, command: str, option: str) -> None:
    ran = run(command, option)
    assert (ran.code, ran.err) == (0, "")
    assert f"Example: sepnet {command} " in " ".join(ran.out.split())


def test_help_lists_the_commands_and_exit_codes(run: Any) -> None:
    ran = run("--help")
    assert ran.code == 0
    assert all(command in ran.out for command in COMMANDS)
    assert "Exit codes: 0 fine, 1 the work failed, 2 wrong usage, 130 interrupted." in " ".join(ran.out.split())
    bare = run()
    assert (bare.out + bare.err).strip() == ran.out.strip()


def test_inspect(run: Any) -> None:
    ran = run("inspect", "lenet5", "--json")
    assert ran.code == 0
    assert ran.json.keys() >= {"network", "input_shape", "params", "macs", "bytes", "layers", "kinds"}
    assert (ran.json["params"], ran.json["bytes"]) == (431080, 4 * 431080)
    assert sum(layer["params"] for layer in ran.json["layers"]) == 431080
    table = run("inspect", "lenet5", "--input-shape", "1x28x28")
    assert table.code == 0
    assert "look here: fc holds 94.1 % of the parameters" in table.out


def test_train(run: Any, tmp_path: Path) -> None:
    output, log = tmp_path / "w.safetensors", tmp_path / "log.jsonl"
    arguments = ("train", "mixed_cnn", *DATA, "-o", output, "--epochs", 1, "--set", "lr=0.05", "--threads", 1)
    ran = run(*arguments, "--log", log, "--json")
    assert ran.code == 0, ran.err
    assert ran.json.keys() == {"output", "bytes", "training", *SCORE}
    (setup,) = ran.json["training"]
    assert setup.keys() == {"epochs", *SETUP} and (setup["epochs"], setup["threads"], setup["device"]) == (1, 1, "cpu")
    assert f"precision: {setup['precision']} ({setup['why']})" in ran.err
    assert json.loads(log.read_text().splitlines()[0])["setup"] == {key: setup[key] for key in SETUP}
    assert ran.json["bytes"] == output.stat().st_size
    assert load_file(output).keys() == build("mixed_cnn").state_dict().keys()
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["epoch", "score"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "w.safetensors"]
    first = output.read_bytes()
    again = run(*arguments)
    assert again.code == 0 and "top-1" in again.out
    assert output.read_bytes() == first


def test_compress(run: Any, compress: Any, weights: Path, recipe: Path, packed: Path, tmp_path: Path) -> None:
    output, log, report = tmp_path / "m.sepnet", tmp_path / "log.jsonl", tmp_path / "r.html"
    ran = run(*compress(weights, recipe, output), "--epochs", 0, "--log", log, "--report", report, "--json")
    assert ran.code == 0, ran.err
    assert ran.json.keys() == {"output", "bytes", "params", "ratio", "rewrites", "stages", "training", *SCORE}
    assert ran.json["training"] == []
    assert ran.json["bytes"] == output.stat().st_size
    assert ran.json["ratio"] == 4 * ran.json["params"] / ran.json["bytes"]
    assert ran.json["stages"][0].keys() == {"stage", "kept", "bytes", "ratio", "top1", "ms"}
    assert [row["stage"] for row in ran.json["stages"]] == ["float", "first", "second", "packed"]
    assert output.read_bytes() == packed.read_bytes()
    assert [json.loads(line)["event"] for line in log.read_text().splitlines()] == ["stage"] * 4
    assert "[[stage]]\nname = &quot;first&quot;" in report.read_text() and "sparsity = 0.5" in report.read_text()
    assert "http" not in report.read_text().replace("http://www.w3.org/2000/svg", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "m.sepnet", "r.html"]


def test_compress_into_a_container(
    run: Any, compress: Any, weights: Path, recipe: Path, packed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "m.safetensors"
    ran = run(*compress(weights, recipe, output), "--epochs", 0, "--container", "safetensors", "--json")
    assert ran.code == 0 and ran.json["bytes"] == output.stat().st_size, ran.err
    assert load_file(output)["sepnet"].numpy().tobytes() == packed.read_bytes()


def test_what_comes_from_a_pipe(run: Any, packed: Path, image: Path, tmp_path: Path) -> None:
    wrapped, state = tmp_path / "m.safetensors", tmp_path / "w.safetensors"
    assert run("pack", packed, "-o", wrapped, "--container", "safetensors").code == 0
    for options in (["info"], ["info", "--verify"], ["info", "--salvage"], ["evaluate", *DATA], ["run", image]):
        arguments = [options[0], packed, *options[1:], "--json"]
        named = run(*arguments)
        for path in (packed, wrapped):
            piped = run(arguments[0], "-", *arguments[2:], stdin=path.read_bytes())
            assert named.code == piped.code == 0 and piped.json == named.json, piped.err
    assert run("unpack", "-", "-o", state, stdin=wrapped.read_bytes()).code == 0
    assert load_file(state).keys() == build("mixed_cnn").state_dict().keys()
    for command in (["evaluate", "-", *DATA], ["run", "-", image], ["info", "-"]):
        assert "standard input: " in run(*command, stdin=wrapped.read_bytes()[:-1]).error
        assert "standard input: " in run(*command, stdin=b"").error


def test_info(run: Any, packed: Path) -> None:
    ran = run("info", packed, "--json")
    assert ran.code == 0
    assert {"bytes", "params", "ratio", "tensors"} <= ran.json.keys()
    assert ran.json["bytes"] == packed.stat().st_size
    parts = ran.json["fixed_bytes"] + ran.json["header_bytes"] + ran.json["graph_bytes"]
    assert parts + sum(tensor["bytes"] for tensor in ran.json["tensors"]) == ran.json["bytes"]
    keys = {"name", "shape", "scheme", "bits", "params", "kept", "codec", "bytes", "side_bytes"}
    assert all(tensor.keys() >= keys for tensor in ran.json["tensors"])
    for tensor in ran.json["tensors"]:
        stored = re.search(r"dense \((\d+)-bit codes\)", tensor["codec"])
        assert stored is None or int(stored[1]) <= tensor["bits"]
    table = run("info", packed)
    assert table.code == 0 and "…" not in table.out
    assert all(tensor["name"] in table.out and tensor["codec"] in table.out for tensor in ran.json["tensors"])
    assert f"{packed.stat().st_size:,}" in table.out


def test_evaluate(run: Any, packed: Path, weights: Path) -> None:
    of_file, of_network = (
        run("evaluate", packed, *DATA, "--json"),
        run("evaluate", "mixed_cnn", "--weights", weights, *DATA, "--json"),
    )
    for ran in (of_file, of_network):
        assert ran.code == 0, ran.err
        assert ran.json.keys() == SCORE
        assert ran.json["n"] == 1100 and 0 <= ran.json["top1"] <= ran.json["top5"] <= 1
    assert "top-1" in run("evaluate", packed, *DATA).out


def test_run(run: Any, packed: Path, image: Path) -> None:
    ran = run("run", packed, image, image, "--topk", 3, "--json")
    assert ran.code == 0
    assert [prediction["image"] for prediction in ran.json] == [str(image)] * 2
    assert [len(prediction["guesses"]) for prediction in ran.json] == [3, 3]
    guesses = ran.json[0]["guesses"]
    assert guesses[0].keys() == {"label", "probability"}
    assert sorted(guesses, key=lambda guess: -guess["probability"]) == guesses
    everything = run("run", packed, image, "--topk", 99, "--json").json[0]["guesses"]
    assert sum(guess["probability"] for guess in everything) == pytest.approx(1)
    table = run("run", packed, image)
    assert table.code == 0 and image.name in table.out and "%" in table.out


def test_unpack(run: Any, packed: Path, tmp_path: Path) -> None:
    output = tmp_path / "w.safetensors"
    ran = run("unpack", packed, "-o", output, "--json")
    assert ran.code == 0
    assert ran.json == {"output": str(output), "bytes": output.stat().st_size}
    build("mixed_cnn").load_state_dict(load_file(output), strict=True)
    scores = [
        run("evaluate", packed, *DATA, "--json").json,
        run("evaluate", "mixed_cnn", "--weights", output, *DATA, "--json").json,
    ]
    assert scores[0]["top1"] == pytest.approx(scores[1]["top1"], abs=2 / 1100)
    assert scores[0]["loss"] == pytest.approx(scores[1]["loss"], rel=1e-4)
    assert f"{output.stat().st_size:,} bytes" in run("unpack", packed, "-o", output).out


def test_version(run: Any) -> None:
    assert run("--version").out == f"sepnet {sepnet.__version__}\n"


def test_the_help_lists_all_data_sets(run: Any) -> None:
    for command in ("train", "compress", "evaluate"):
        assert all(name in run(command, "--help").out for name in DATASETS)


def test_the_examples_of_the_help_run(run: Any, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One after the other in an empty folder, but for what `make demo` leaves."""
    monkeypatch.chdir(tmp_path)
    for command in COMMANDS:
        words = shlex.split(re.search(r"Example: sepnet (.*)", " ".join(run(command, "--help").out.split()))[1])  # type: ignore[index]
        if command == "run":
            (tmp_path / "demo").mkdir()
            shutil.copy("lenet5.sepnet", "demo/lenet5-digits.sepnet")
            shutil.copy(image, "demo/digit-2.png")
        if command in ("train", "compress"):
            words = [*words, "--epochs", "1", "--threads", "1"]
        ran = run(*words)
        assert ran.code == 0, (words, ran.err)


def test_what_fails_at_the_end_can_be_resumed(
    run: Any, compress: Any, weights: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The report cannot be written: the training is not lost, and the log tells of no epoch twice."""
    output, log, stages = tmp_path / "m.sepnet", tmp_path / "log.jsonl", tmp_path / "stages"
    places = ("--epochs", 2, "--log", log, "--report", tmp_path / "r.html", "--stages", stages)
    command = (*compress(weights, recipe, output), *places)

    def full(*_: object, **__: object) -> None:
        raise OutputError("cannot write r.html: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(report_step, "write_report", full)
        ran = run(*command)
    assert ran.code == 1 and "No space left" in ran.err.splitlines()[-1]
    assert ran.err.count("precision: ") == 1
    left = ["log.jsonl", "m.sepnet", "m.sepnet.checkpoint", "stages"]
    assert sorted(path.name for path in tmp_path.iterdir()) == left
    assert sorted(path.name for path in stages.iterdir()) == ["m.first.sepnet", "m.second.sepnet"]
    before = [path.read_bytes() for path in sorted(stages.iterdir())]
    resumed = run(*command, "--resume", "--json")
    assert resumed.code == 0, resumed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log.jsonl", "m.sepnet", "r.html", "stages"]
    assert [path.read_bytes() for path in sorted(stages.iterdir())] == before
    found = [json.loads(line) for line in log.read_text().splitlines()]
    (setup,) = resumed.json["training"]
    assert setup.pop("epochs") == 2
    assert [event["setup"] for event in found if event["event"] == "epoch"] == [setup, setup]
    assert f"2 epochs, precision: {setup['precision']} (" in (tmp_path / "r.html").read_text()
    expected = ["stage float", "epoch first", "stage first", "epoch second", "stage second", "stage packed"]
    assert [f"{event['event']} {event['stage']}" for event in found] == expected
    assert [event["top1"] for event in found if event["event"] == "stage"] == [
        row["top1"] for row in resumed.json["stages"]
    ]


def test_a_ratio_below_one_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    row = StageRow("float", 1.0, 100, 0.94, 0.9, 0.1)
    terminal.print_rows([row], "t")
    assert "names and norms' statistics" in capsys.readouterr().out
    terminal.print_rows([StageRow("float", 1.0, 100, 0.996, 0.9, 0.1)], "t")
    assert "names and norms' statistics" not in capsys.readouterr().out


def test_runtimes(run: Any, packed: Path, weights: Path, image: Path) -> None:
    for command in (["evaluate", packed, *DATA], ["run", packed, image]):
        default, torch, wrong = (
            run(*command, "--json", *options) for options in ([], ["--runtime", "torch"], ["--runtime", "x"])
        )
        assert default.code == torch.code == 0 and default.json != {} and torch.json != {}, torch.err
        assert wrong.code == 2 and "choices: c99, integer, litert, onnxruntime, openvino, torch" in wrong.error
    integer = ("--runtime", "integer", "--json")
    guess = run("run", packed, image, *integer, "--calibrate", "digits")
    assert guess.code == 0 and set(guess.json[0]) == set(run("run", packed, image, "--json").json[0]), guess.err
    assert "expected a data set" in run("run", packed, image, *integer).error
    assert "computes with floats" in run("run", packed, image, "--calibrate", "digits").error
    refused = run("evaluate", "mixed_cnn", "--weights", weights, *DATA, "--runtime", "torch")
    assert refused.code == 2 and "expected a packed file" in refused.error


def test_bench(run: Any, packed: Path, tmp_path: Path) -> None:
    chart, quick = tmp_path / "b.svg", ("--seconds", 0.01, "--batch", "1")
    ran = run("bench", packed, *quick, "--svg", chart, "--json")
    assert ran.code == 0 and [row["form"] for row in ran.json["rows"]] == ["packed", "float", "int8"], ran.err
    assert ran.json["rows"][0]["bytes"] == packed.stat().st_size and chart.read_text().startswith("<svg")
    table = run("bench", packed, *quick, "--against", "")
    assert table.code == 0 and "onnxruntime gets faster by" in table.out and "float" not in table.out
    assert "expected whole numbers" in run("bench", packed, "--batch", "x").error
    assert "different files" in run("bench", packed, "--svg", packed).error
