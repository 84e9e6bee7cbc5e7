"""Two processes on halves of every batch end where one process on whole batches ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from sepnet.core.errors import MissingExtraError
from sepnet.training.parallel import Alone, team

TRAIN = "from sepnet.cli import main; main()"
ARGUMENTS = ["train", "lenet300", "--data", "digits", "--epochs", "2", "--threads", "1"]


def free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def start(folder: Path, *more: str, **environment: str) -> subprocess.Popen[str]:
    arguments = [*ARGUMENTS, "--set", "lr=0.05", "--set", "batch=50", *more]
    return subprocess.Popen(
        [sys.executable, "-c", TRAIN, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    pytest.importorskip("lightning_fabric", reason="the extra parallel is not installed")
    pytest.importorskip("sklearn", reason="the extra digits is not installed")
    alone = start(tmp_path, "-o", "one.safetensors", "--json")
    assert alone.wait(120) == 0, alone.stderr and alone.stderr.read()
    port = free_port()
    ranks = [
        start(
            tmp_path,
            "-o",
            "two.safetensors",
            "--json",
            "--log",
            "two.jsonl",
            RANK=str(rank),
            LOCAL_RANK=str(rank),
            WORLD_SIZE="2",
            LOCAL_WORLD_SIZE="2",
            MASTER_ADDR="127.0.0.1",
            MASTER_PORT=port,
            TORCHELASTIC_RUN_ID="test",
            GROUP_RANK="0",
        )
        for rank in (0, 1)
    ]
    outputs = [rank.communicate(timeout=120) for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0], outputs
    assert outputs[1][0] == "" and json.loads(outputs[0][0])["n"] > 0
    lines = [json.loads(line) for line in (tmp_path / "two.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["epoch", "epoch", "score"]
    one, two = (load_file(tmp_path / f"{name}.safetensors") for name in ("one", "two"))
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], atol=1e-4), name
    assert not list(tmp_path.glob("*.checkpoint"))


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(team(torch.device("cpu"))) is Alone
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match="parallel"):
        team(torch.device("cpu"))
