"""Resume files: a row's newest weights and position in at most 2 MB, to be committed until the row is done.

`benchmarks/resume/ROW.VERB.xz` is a checkpoint of `sepnet train` or `sepnet compress` made small: xz over what torch
saves.  A dictionary with

    version     1
    about       the row, the command, the epoch, and what is left out, in words
    at, epochs  epochs done, and in all
    log         the lines of the log so far
    checkpoint  the checkpoint but for the optimizer's momentum (and AdamW's second moments):
        run         network, data, weights it started from, digest of the recipe, epochs, seed
        model       the state dict: the weights behind the schemes (of signs, the latent ones), what each scheme keeps
                    (frozen signs, masks, steps), biases, norms and their statistics
        stage, rows, epochs   of compress: the stage, the table and the curve so far
        fit         epochs done in the stage, the groups of the optimizer, the moving average, the best weights

Numbers of two and more dimensions are binary16, all others as they were.  Who goes on from such a file starts the
momentum at 0 and has rounded the weights once; the order of images, the learning rate and the schemes' schedules are
those of the epoch.
"""

from __future__ import annotations

import io
import lzma
from collections.abc import Callable
from typing import Any

import torch
from job import Job

from sepnet.core.errors import UsageError
from sepnet.core.files import write_bytes
from sepnet.training.checkpoint import Checkpoint, fingerprint

MOST_BYTES = 2_000_000
LEFT_OUT = "weights in half precision, without the optimizer's momentum"
VERSION = 1


def keep(job: Job) -> None:
    """Renew the resume file if the checkpoint is ahead of it."""
    state, found = _checkpoint(job), _read(job)
    if state is None or (found is not None and found["at"] >= _epochs_in(state)):
        return
    at = _epochs_in(state)
    content = {
        "version": VERSION,
        "about": f"{job.row}: sepnet {job.verb}, epoch {at} of {job.epochs}; {LEFT_OUT}",
        "at": at,
        "epochs": job.epochs,
        "log": job.log.read_text() if job.log.exists() else "",
        "checkpoint": _smaller(state),
    }
    buffer = io.BytesIO()
    torch.save(content, buffer)
    data = lzma.compress(buffer.getvalue())
    if len(data) > MOST_BYTES:
        print(f"{job.row}: no resume file; it would take {len(data):,} bytes, at most are {MOST_BYTES:,}", flush=True)
        return
    job.resume_file.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(job.resume_file, data)


def put_back(job: Job) -> None:
    """Make a checkpoint of the resume file if it is ahead of the one that is here."""
    found = _read(job)
    if found is None or (job.verb == "train" and job.output.exists()):
        return
    state = _larger(found["checkpoint"])
    run = state.pop("run")
    for key, now in job.run.items():
        if run.get(key) != now:
            raise SystemExit(
                f"{job.resume_file} belongs to another run: its {key} is {run.get(key)!r}, now {now!r}; remove it to start over"
            )
    here = _checkpoint(job)
    if here is not None and _epochs_in(here) >= found["at"]:
        return
    if job.weights is not None:
        run["weights"] = fingerprint(job.weights)  # trained or unpacked on this machine, its last digits may differ
    Checkpoint(job.output, run, restart=True).save(**state)
    job.log.write_text(found["log"])
    print(f"{job.row}: on from epoch {found['at']} of {job.epochs} in {job.resume_file} ({LEFT_OUT})", flush=True)


def so_far(job: Job) -> tuple[int, str]:
    """Epochs done and the log, of the checkpoint here or of the resume file, whichever is ahead."""
    log = job.log.read_text() if job.log.exists() else ""
    if job.verb == "train" and job.output.exists():
        return job.epochs, log
    found, here = _read(job), _checkpoint(job)
    at = 0 if here is None else _epochs_in(here)
    if found is not None and found["at"] > at:
        return found["at"], found["log"]
    return at, log if at else ""


def _read(job: Job) -> dict[str, Any] | None:
    if not job.resume_file.exists():
        return None
    try:
        content = lzma.decompress(job.resume_file.read_bytes())
        found: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True)
        version = found["version"]
    except Exception as error:  # a damaged pickle raises almost anything
        raise SystemExit(f"{job.resume_file} cannot be read ({error}); remove it to start over") from error
    if version != VERSION:
        raise SystemExit(f"{job.resume_file} has version {version}, expected {VERSION}; remove it to start over")
    return found


def _checkpoint(job: Job) -> dict[str, Any] | None:
    """What sepnet saved last on this machine; a damaged file is none, for a resume file takes its place."""
    try:
        return Checkpoint(job.output, {}, resume=True).state
    except UsageError as error:
        print(error, flush=True)
        return None


def _epochs_in(state: dict[str, Any]) -> int:
    return len(state["epochs"]) if "epochs" in state else int(state["fit"]["done"])


def _smaller(state: dict[str, Any]) -> dict[str, Any]:
    fit = state["fit"]
    fit = {**fit, "optimizer": {**fit["optimizer"], "state": {}}}
    whole: dict[str, Any] = _each({**state, "fit": fit}, _half)
    return whole


def _larger(state: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = _each(state, lambda tensor: tensor.float() if tensor.dtype == torch.float16 else tensor)
    return whole


def _half(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.dtype != torch.float32 or tensor.ndim < 2 or tensor.abs().max() > torch.finfo(torch.float16).max:
        return tensor
    return tensor.half()


def _each(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """Nested dictionaries and lists with every tensor changed."""
    if isinstance(value, torch.Tensor):
        return change(value)
    if isinstance(value, dict):
        return {key: _each(item, change) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_each(item, change) for item in value)
    return value
