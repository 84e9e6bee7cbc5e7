"""What the documentation shows works: its commands and programs are run, its recipes are read.

Blocks of one file run in order in one new folder.  `sh` blocks run as written, but every `sepnet train` and `sepnet
compress` gets `--epochs 1`, and so does `epochs=N` in `python` blocks, which share their variables; `sepnet pack` gets
`--allow-bad`, since answers of a network that is hardly trained change at a breath; lines that install, build
or fetch are left out, and so are those that need a converter that is not installed.  A block with `file=NAME` after its
language is written to NAME; other `toml` blocks must be recipes.  A block after the line `<!-- not run -->` is left out.

The pages that introduce sepnet (`PROVEN`) train as long as they say, and what they show in `text` blocks must come out.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from sepnet.cli import app
from sepnet.core.recipe import load_recipe

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(
    r"(?P<mark><!-- not run -->\s*\n)?^```(?P<language>\w+)(?: +file=(?P<file>\S+))? *\n(?P<text>.*?)^```", re.M | re.S
)
LEFT_OUT = (
    "make",
    "git",
    "pip",
    "python3 -m venv",
    "python -m venv",
    "python3 -m pip",
    "python -m pip",
    "source",
    "cd",
)
CONVERTERS = {"--to tflite": "litert_torch", "--to executorch": "executorch"}
PROVEN = ("README.md", "quickstart.md")
LEAST_TOP1 = 0.94
"""Of every network that a proven page trains or compresses: digits has 360 test images, and processors differ by a few."""
STAGE = re.compile(r"^(?P<stage>\w+) +[\d.]+% +(?P<bytes>[\d,]+) +[\d.]+x +(?P<top1>[\d.]+)%", re.M)
TRAINED = re.compile(r"top-1 +top-5 +loss\n *[\d,]+ +([\d.]+)%")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is the first of its text."""

    language: str
    file: str
    text: str
    line: int


def blocks(page: str) -> list[Block]:
    """The blocks of a page that are to be run."""
    found = []
    for match in BLOCK.finditer(page):
        line = page.count("\n", 0, match.start("text")) + 1
        if not match["mark"]:
            found.append(Block(match["language"], match["file"] or "", match["text"], line))
    return found


def commands(text: str, as_written: bool = False) -> list[str]:
    """The commands of a `sh` block, quick ones unless they are to stay `as_written`."""
    lines = text.replace("\\\n", " ").splitlines()
    lines = [line for line in lines if shlex.split(line, comments=True) and not line.strip().startswith(LEFT_OUT)]
    return lines if as_written else list(map(quick, lines))


def quick(command: str) -> str:
    """`sepnet train` and `sepnet compress` with one epoch, `sepnet pack` of what came of it whatever it loses."""
    words = shlex.split(command, comments=True)
    if words[:2] == ["sepnet", "pack"]:
        return f"{shlex.join(words)} --allow-bad"
    if words[:2] not in (["sepnet", "train"], ["sepnet", "compress"]):
        return command
    if "--epochs" not in words:
        return f"{shlex.join(words)} --epochs 1"
    words[words.index("--epochs") + 1] = "1"
    return shlex.join(words)


def run_sh(text: str, where: str, as_written: bool = False) -> str:
    """`sepnet` runs in this process, which has torch already; anything else in a shell.  What `sepnet` printed."""
    printed = ""
    for command in commands(text, as_written):
        words = shlex.split(command, comments=True)
        if any(option in command and not importlib.util.find_spec(CONVERTERS[option]) for option in CONVERTERS):
            continue
        if re.search(r"--data[ =]mnist", command) and not os.environ.get("SEPNET_DATA"):
            pytest.skip(f"{where}: {command} needs SEPNET_DATA")
        if words[0] == "sepnet" and not set("|><;&$`*") & set(command):
            done = CliRunner().invoke(app, words[1:])
            assert done.exit_code == 0, f"{where}: {command}\n{done.output}\n{done.exception!r}"
            printed += done.stdout
        else:
            shell = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120)
            assert shell.returncode == 0, f"{where}: {command}\n{shell.stdout}\n{shell.stderr}"
    return printed


def check_shown(shown: str, printed: str) -> None:
    """A table of stages, as a page shows it, is what a command printed but for what differs from processor to processor."""
    expected, found = ([match.groupdict() for match in STAGE.finditer(text)] for text in (shown, printed))
    assert expected and [row["stage"] for row in found] == [row["stage"] for row in expected], printed
    for row, own in zip(expected, found, strict=True):
        sizes = [int(each["bytes"].replace(",", "")) for each in (row, own)]
        assert abs(sizes[1] / sizes[0] - 1) < 0.03 and abs(float(row["top1"]) - float(own["top1"])) < 3, (row, own)


def accuracies(printed: str) -> list[float]:
    """Top-1, as fractions, of what `sepnet train`, `evaluate` and each stage of `sepnet compress` printed."""
    return [
        float(top1) / 100 for top1 in [*TRAINED.findall(printed), *(row["top1"] for row in STAGE.finditer(printed))]
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A new folder to work in, importable as when Python runs there; its modules are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    before, threads = set(sys.modules), torch.get_num_threads()
    torch.set_num_threads(1)
    yield tmp_path
    torch.set_num_threads(threads)
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_shows_works(page: Path, folder: Path) -> None:
    variables: dict[str, Any] = {"__name__": "__main__"}
    proven, printed, found = page.name in PROVEN, "", []
    for block in blocks(page.read_text(encoding="utf-8")):
        where = f"{page.name}:{block.line}"
        if block.file:
            (folder / block.file).write_text(block.text, encoding="utf-8")
        elif block.language == "sh":
            printed = run_sh(block.text, where, proven)
            found += accuracies(printed)
        elif block.language == "python":
            code = "\n" * (block.line - 1) + block.text
            code = code if proven else re.sub(r"\bepochs=\d+", "epochs=1", code)
            exec(compile(code, str(page), "exec"), variables)
        elif block.language == "text" and proven:
            check_shown(block.text, printed)
        elif block.language == "toml":
            (folder / "shown.toml").write_text(block.text, encoding="utf-8")
            load_recipe(folder / "shown.toml")
    if proven:
        found += [variables["packed"].rows[-1].top1, variables["again"].evaluate("digits").top1]
        assert len(found) >= 8 and min(found) >= LEAST_TOP1, found


def test_blocks_are_found() -> None:
    page = """
```sh
make demo   # words
sepnet train x --data digits \\
  -o 'a b' # words
# only words
sepnet compress x --epochs 20 -o b
  sepnet info b
```
<!-- not run -->
```python
1 / 0
```
```
no language
```
```toml file=a.toml
title = "t"
```
"""
    found = blocks(page)
    assert [(block.language, block.file, block.line) for block in found] == [("sh", "", 3), ("toml", "a.toml", 18)]
    assert commands(found[0].text) == [
        "sepnet train x --data digits -o 'a b' --epochs 1",
        "sepnet compress x --epochs 1 -o b",
        "  sepnet info b",
    ]
    assert found[1].text == 'title = "t"\n'
