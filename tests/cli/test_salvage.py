"""Damaged files at the command line: --verify, --salvage, and files from a pipe."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden_model import GOLDEN
from safetensors.numpy import load_file

from sepnet.core.packed_model import PackedModel

FILE = GOLDEN / "v1.sepnet"
GOOD = FILE.read_bytes()


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """The golden file with a wrong byte in the chunk of mix.weight."""
    model = PackedModel.from_bytes(GOOD)
    names = [entry.name for entry in model.header.tensors]
    data, before = bytearray(GOOD), names.index("mix.weight")
    start = len(GOOD) - sum(len(payload) + 4 for payload in model.payloads[before:])
    data[start + 5] ^= 16
    path = tmp_path / "damaged.sepnet"
    path.write_bytes(data)
    return path


def test_verify_a_good_file(run: Any) -> None:
    tensors = len(PackedModel.from_bytes(GOOD).header.tensors)
    ran = run("info", FILE, "--verify")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.strip().endswith(f"all {tensors} tensors read, checksums match")
    ran = run("info", FILE, "--verify", "--json")
    assert ran.json == {"tensors": tensors, "read": tensors, "graph": "fine", "damage": []}


def test_verify_names_the_damage(run: Any, damaged: Path) -> None:
    ran = run("info", damaged, "--verify")
    assert (ran.code, ran.out) == (1, "")
    lines = ran.err.splitlines()
    assert lines[0] == "lost: tensor 'mix.weight': the checksum of its chunk does not match"
    assert lines[1] == "lost: tensor 'again.weight': tied to 'mix.weight', which cannot be read"
    assert lines[2].startswith("error: ") and "damaged in 2 places" in lines[2]
    ran = run("info", damaged, "--verify", "--json")
    assert ran.code == 1 and ran.json["graph"] == "unchecked"
    assert [each["tensor"] for each in ran.json["damage"]] == ["mix.weight", "again.weight"]


def test_verify_checks_the_graph(run: Any, tmp_path: Path) -> None:
    model = PackedModel.from_bytes(GOOD)
    PackedModel.of(model.header, model.graph.replace(b"Gather", b"Gathex"), model.payloads).write(tmp_path / "a.sepnet")
    ran = run("info", tmp_path / "a.sepnet", "--verify")
    assert ran.code == 1 and "damaged: ONNX Runtime refuses" in ran.err


def test_salvage_writes_all_other_tensors(run: Any, damaged: Path, tmp_path: Path) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert run("unpack", FILE, "-o", whole).code == 0
    ran = run("unpack", damaged, "-o", part)
    assert ran.code == 1 and not part.exists() and "checksum of tensor 'mix.weight'" in ran.error
    ran = run("unpack", damaged, "-o", part, "--salvage")
    assert ran.code == 1 and "lost: tensor 'mix.weight'" in ran.err and str(part) in ran.out
    expected, found = load_file(whole), load_file(part)
    assert set(expected) - set(found) == {"mix.weight", "again.weight"}
    assert all(np.array_equal(array, expected[name]) for name, array in found.items())
    shown = run("info", damaged, "--salvage", "--json")
    assert shown.code == 1 and len(shown.json["tensors"]) == len(PackedModel.from_bytes(GOOD).header.tensors) - 1


def test_salvage_of_a_good_file_is_unpack(run: Any, tmp_path: Path) -> None:
    for name, more in (("a", ()), ("b", ("--salvage",))):
        ran = run("unpack", FILE, "-o", tmp_path / name, *more)
        assert (ran.code, ran.err) == (0, "")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_salvage_of_a_truncated_file(run: Any, tmp_path: Path) -> None:
    model = PackedModel.from_bytes(GOOD)
    front = len(GOOD) - sum(len(payload) + 4 for payload in model.payloads)
    cut = front + sum(len(payload) + 4 for payload in model.payloads[:3]) + 1
    path = tmp_path / "cut.sepnet"
    path.write_bytes(GOOD[:cut])
    ran = run("unpack", path, "-o", tmp_path / "w", "--salvage")
    assert ran.code == 1 and f"the file at byte {cut}" in ran.err
    assert {entry.name for entry in model.header.tensors[:3]} <= set(load_file(tmp_path / "w"))
    path.write_bytes(GOOD[:front])
    ran = run("unpack", path, "-o", tmp_path / "none", "--salvage")
    assert ran.code == 1 and "nothing was written" in ran.err and not (tmp_path / "none").exists()
    path.write_bytes(GOOD[: front - 1])
    ran = run("unpack", path, "-o", tmp_path / "none", "--salvage")
    assert ran.code == 1 and "truncated packed file" in ran.error


def test_a_pipe(tmp_path: Path) -> None:
    def piped(data: bytes, *arguments: object) -> subprocess.CompletedProcess[bytes]:
        command = [sys.executable, "-m", "sepnet", *map(str, arguments)]
        return subprocess.run(command, input=data, capture_output=True, timeout=100)

    done = piped(GOOD, "unpack", "-", "-o", tmp_path / "w")
    assert (done.returncode, done.stderr) == (0, b"")
    done = piped(GOOD[:-9], "info", "-")
    assert done.returncode == 1 and done.stderr.startswith(b"error: standard input: truncated packed file")


def test_a_pipe_in_this_process(run: Any, tmp_path: Path) -> None:
    assert run("info", "-", "--verify", "--salvage").code == 2
