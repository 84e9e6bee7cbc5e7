"""What goes from one machine to another while a row trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sepnet.training.checkpoint import Checkpoint

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture
def resume_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """The module, its files in a new folder."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    import job
    import resume_file

    monkeypatch.setattr(job, "RECORDS", tmp_path)
    (tmp_path / "runs").mkdir()
    (tmp_path / "weights").write_bytes(b"of this machine")
    return resume_file


def a_job(resume_file: Any, folder: Path, **run: str | int) -> Any:
    """A job that compresses for nine epochs."""
    output, log, weights = folder / "runs/out.sepnet", folder / "runs/out.jsonl", folder / "weights"
    return resume_file.Job("a-row", "compress", (), output, log, 9, {"recipe": "d1", "seed": 0, **run}, weights)


def save(job: Any, at: int, sides: int = 3) -> dict[str, Any]:
    """A checkpoint after `at` epochs, as compress writes it, and the log so far."""
    torch.manual_seed(at)
    model = nn.Sequential(nn.Conv2d(3, 4, sides), nn.BatchNorm2d(4))
    model.register_buffer("frozen", torch.ones(5, 5, dtype=torch.int8))
    momentum = {0: {"momentum_buffer": torch.randn(4, 3, sides, sides)}}
    state: dict[str, Any] = {
        "stage": 1,
        "model": model.state_dict(),
        "rows": [("float", 1.0, 10, 1.0, 0.9, 0.1)],
        "epochs": [("binarized", epoch + 1, 0.1, 1.0, 0.5, 2.0, None) for epoch in range(at)],
        "fit": {
            "done": at,
            "optimizer": {"state": momentum, "param_groups": [{"lr": 0.1, "params": [0]}]},
            "average": {"steps": 3, "values": [p.detach() * 2 for p in model.parameters()]},
            "best": {"top1": -1.0, "epoch": 0, "weights": {}},
        },
    }
    run: dict[str, str | int | float] = {"recipe": "d1", "seed": 0, "weights": "of another machine"}
    Checkpoint(job.output, run, restart=True).save(**state)
    job.log.write_text('{"event": "epoch", "seconds": 2.0}\n' * at)
    return state


def saved(job: Any) -> dict[str, Any] | None:
    """The checkpoint that is there."""
    return Checkpoint(job.output, {}, resume=True).state


def test_a_checkpoint_comes_back_without_the_runs(resume_file: Any, tmp_path: Path) -> None:
    job = a_job(resume_file, tmp_path)
    before = save(job, 4)
    resume_file.keep(job)
    log = job.log.read_text()
    job.checkpoint.unlink()
    job.log.unlink()
    assert resume_file.so_far(job) == (4, log)
    resume_file.put_back(job)
    after = saved(job)
    assert after is not None and job.log.read_text() == log
    for name, tensor in before["model"].items():
        assert after["model"][name].dtype == tensor.dtype, name
        assert torch.equal(after["model"][name], tensor.half().float() if tensor.ndim > 1 else tensor), name
    assert not torch.equal(after["model"]["0.weight"], before["model"]["0.weight"])
    for found, value in zip(after["fit"]["average"]["values"], before["fit"]["average"]["values"], strict=True):
        torch.testing.assert_close(found, value, rtol=1e-3, atol=1e-6)
    assert [tuple(row) for row in after["rows"]] == before["rows"] and after["epochs"] == before["epochs"]
    assert (after["stage"], after["fit"]["done"], after["fit"]["best"]) == (1, 4, before["fit"]["best"])
    assert after["fit"]["optimizer"]["param_groups"] == before["fit"]["optimizer"]["param_groups"]
    assert before["fit"]["optimizer"]["state"] and not after["fit"]["optimizer"]["state"]
    assert after["run"] == {"recipe": "d1", "seed": 0, "weights": resume_file.fingerprint(job.weights)}


def test_the_newer_wins(resume_file: Any, tmp_path: Path) -> None:
    job = a_job(resume_file, tmp_path)
    save(job, 4)
    resume_file.keep(job)
    for here, expected in ((3, 4), (4, 4), (5, 5)):
        whole = save(job, here)
        resume_file.put_back(job)
        after = saved(job)
        assert after is not None and len(after["epochs"]) == expected
        full_precision = here == expected
        assert torch.equal(after["model"]["0.weight"], whole["model"]["0.weight"]) == full_precision
    written = job.resume_file.stat().st_mtime_ns
    save(job, 3)
    resume_file.keep(job)
    assert job.resume_file.stat().st_mtime_ns == written
    save(job, 5)
    resume_file.keep(job)
    assert resume_file.so_far(job)[0] == 5


def test_a_damaged_checkpoint_gives_way(resume_file: Any, tmp_path: Path) -> None:
    job = a_job(resume_file, tmp_path)
    save(job, 4)
    resume_file.keep(job)
    job.checkpoint.write_bytes(job.checkpoint.read_bytes()[:-9])
    resume_file.put_back(job)
    after = saved(job)
    assert after is not None and len(after["epochs"]) == 4


def test_another_run_is_refused(resume_file: Any, tmp_path: Path) -> None:
    job = a_job(resume_file, tmp_path)
    save(job, 4)
    resume_file.keep(job)
    with pytest.raises(SystemExit, match=r"its recipe is 'd1', now 'd2'; remove it to start over"):
        resume_file.put_back(a_job(resume_file, tmp_path, recipe="d2"))
    job.resume_file.write_bytes(b"nothing")
    with pytest.raises(SystemExit, match="cannot be read"):
        resume_file.put_back(job)


def test_no_file_above_2_mb(resume_file: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    job = a_job(resume_file, tmp_path)
    resume_file.MOST_BYTES, most = 1000, resume_file.MOST_BYTES
    try:
        save(job, 4)
        resume_file.keep(job)
    finally:
        resume_file.MOST_BYTES = most
    assert most == 2_000_000 and not job.resume_file.exists()
    assert "a-row: no resume file; it would take" in capsys.readouterr().out
