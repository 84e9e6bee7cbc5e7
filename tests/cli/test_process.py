"""What only a real process shows: pipes, signals, and going on after an interruption to the same bytes."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from golden_model import GOLDEN, golden_graph

from sepnet.core.packed_model import PackedModel

SEPNET = (sys.executable, "-m", "sepnet")
FILE = GOLDEN / "v1.sepnet"


def start(*arguments: object, **options: Any) -> subprocess.Popen[str]:
    """`sepnet ARGUMENTS` with pipes, and Ctrl-C not ignored, as it is in what a shell starts in the background."""
    if os.name == "posix":
        options["preexec_fn"] = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)
    environment = {name: value for name, value in os.environ.items() if name not in ("FORCE_COLOR", "PYTHONWARNINGS")}
    return subprocess.Popen(
        [*SEPNET, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**environment, "COLUMNS": "30", "TERM": "xterm-256color"},
        **options,
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """(exit code, stdout, stderr)."""
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def test_piped_info_is_whole_and_plain() -> None:
    code, out, err = finish(start("info", FILE))
    assert (code, err) == (0, "")
    assert "\x1b" not in out and "…" not in out
    names = [entry.name for entry in PackedModel.read(FILE).header.tensors]
    assert [line.split()[0] for line in out.splitlines()[2 : 2 + len(names)]] == names
    assert "spare.relative_index_huffman  4x6      linear          relative_index_huffman (3-bit gaps)" in out


def test_hostile_graphs_leave_one_line(tmp_path: Path) -> None:
    model = PackedModel.read(FILE)
    processes = []
    for at, graph in enumerate((b"\x3a\x7f", golden_graph()[:-20], golden_graph().replace(b"Gather", b"Gathex"))):
        path = tmp_path / f"{at}.sepnet"
        PackedModel.of(model.header, graph, model.payloads).write(path)
        processes.append(start("evaluate", path, "--data", "folder:missing"))
        processes.append(start("run", path, "missing.png"))
    for process in processes:
        code, out, err = finish(process)
        assert (code, out) == (1, "")
        assert err.startswith("error: ") and err.count("\n") == 1 and err.endswith("\n")


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals")
def test_a_terminal_shows_that_a_data_set_is_read() -> None:
    screen, terminal = os.openpty()
    arguments = ("evaluate", "zoo/lenet5-mnist.sepnet", "--data", "digits?holdout=1100", "--json")
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen([*SEPNET, *arguments], stdout=subprocess.PIPE, stderr=terminal, env=environment) as process:
        os.close(terminal)
        shown = b""
        with contextlib.suppress(OSError):  # what Linux says at the end
            while part := os.read(screen, 4096):
                shown += part
        assert process.stdout is not None and json.loads(process.stdout.read())["n"] == 1100
    os.close(screen)
    assert b"reading digits?holdout=1100" in shown
    assert finish(start(*arguments))[2] == ""


def test_a_reader_that_has_had_enough() -> None:
    process = start("info", FILE)
    assert process.stdout is not None
    process.stdout.close()
    process.wait(60)
    assert process.stderr is not None
    assert (process.returncode, process.stderr.read()) == (-signal.SIGPIPE if os.name == "posix" else 1, "")
    process.stderr.close()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
@pytest.mark.parametrize("command", [("info", FILE), ("info", FILE, "--json"), ("--help",), ("--version",)])
def test_an_output_that_cannot_be_written(command: tuple[object, ...]) -> None:
    for redirection, reason in ((">/dev/full", "No space left on device"), (">&-", "it is closed")):
        line = f"{shlex.join([*SEPNET, *map(str, command)])} {redirection}"
        done = subprocess.run(["sh", "-c", line], stderr=subprocess.PIPE, text=True, timeout=100)
        assert (done.returncode, done.stderr) == (1, f"error: cannot write to the standard output: {reason}\n")


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_ctrl_c_while_it_is_imported(tmp_path: Path) -> None:
    """A module that the command line imports first presses Ctrl-C, also where tests run with that signal ignored."""
    (tmp_path / "typer.py").write_text(
        "import os, signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\nos.kill(os.getpid(), signal.SIGINT)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path.rstrip(os.pathsep)}
    done = subprocess.run([*SEPNET, "--help"], env=environment, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_opening_a_file_imports_no_torch() -> None:
    code = "import sys; from sepnet.cli import app; app(['info', sys.argv[1]], standalone_mode=False); sys.exit('torch' in sys.modules or 'onnx' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code, str(FILE)], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stderr) == (0, "")


def test_bench_takes_from_the_current_folder_what_was_asked_for(tmp_path: Path) -> None:
    zoo = Path("zoo/lenet5-mnist.sepnet").resolve()
    (tmp_path / "numpy.py").write_text("open('RAN', 'w')")
    (tmp_path / "mine.py").write_text("from sepnet.datasets import load\n\ndef digits():\n    return load('digits')\n")
    command = [sys.executable, "-P", "-m", "sepnet", "bench", str(zoo), "--against", "", "--seconds", "0.02"]
    command += ["--data", "mine:digits", "--batch", "1", "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["inputs"] == "test images of mine:digits"
    assert not (tmp_path / "RAN").exists()


def interrupted(arguments: tuple[object, ...], checkpoint: Path) -> None:
    """Run until there is a checkpoint, and press Ctrl-C."""
    process = start(*arguments)
    deadline = time.monotonic() + 100
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    code, out, err = finish(process)
    assert (code, out) == (130, ""), err
    assert err.splitlines()[-1] == "stopped: interrupted; the same command with --resume goes on where it was"
    assert "Traceback" not in err


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_compress_goes_on_to_the_same_bytes(
    run: Any, compress: Any, weights: Path, recipe: Path, tmp_path: Path
) -> None:
    arguments = compress(weights, recipe, tmp_path / "m.sepnet", "digits")
    whole = run(*compress(weights, recipe, tmp_path / "whole.sepnet", "digits"))
    assert whole.code == 0, whole.err
    interrupted(arguments, tmp_path / "m.sepnet.checkpoint")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.sepnet.checkpoint", "whole.sepnet"]
    refused = run(*arguments)
    assert refused.code == 2
    assert (
        "m.sepnet.checkpoint holds an interrupted run; choices: resume it (--resume) or throw it away" in refused.error
    )
    other = run(*arguments, "--resume", "--seed", 5)
    assert other.code == 2 and "belongs to another run: its seed is 0, now 5" in other.error
    resumed = run(*arguments, "--resume")
    assert resumed.code == 0, resumed.err
    assert (tmp_path / "m.sepnet").read_bytes() == (tmp_path / "whole.sepnet").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.sepnet", "whole.sepnet"]


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.skipif(not find_spec("torch"), reason="trains")
def test_train_goes_on_to_the_same_bytes(run: Any, tmp_path: Path) -> None:
    def arguments(name: str) -> tuple[object, ...]:
        return (
            "train",
            "mixed_cnn",
            "--data",
            "digits?holdout=900",
            "-o",
            tmp_path / name,
            "--epochs",
            25,
            "--threads",
            1,
        )

    assert run(*arguments("whole")).code == 0
    interrupted(arguments("w"), tmp_path / "w.checkpoint")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.checkpoint", "whole"]
    refused = run(*arguments("w"))
    assert refused.code == 2 and "choices: resume it (--resume) or throw it away (--restart)" in refused.error
    assert run(*arguments("w"), "--resume").code == 0
    assert (tmp_path / "w").read_bytes() == (tmp_path / "whole").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w", "whole"]
