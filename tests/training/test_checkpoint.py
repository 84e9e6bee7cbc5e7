"""Checkpoints: an interrupted run goes on to the very same result, and never into another run."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from sepnet.core.dataset import Dataset
from sepnet.core.errors import OutputError, UsageError, WeightsError
from sepnet.core.observer import Callbacks
from sepnet.core.packed_model import PackedModel
from sepnet.core.recipe import Recipe, Rest, Rule, Stage
from sepnet.core.train_options import TrainOptions
from sepnet.steps.compress import Compressed, compress
from sepnet.steps.inspect import inspect
from sepnet.steps.train import Trained, train
from sepnet.training.checkpoint import Checkpoint, fingerprint

Make = Callable[..., nn.Module]
RUN: dict[str, str | int | float] = {"net": "lenet5", "seed": 3, "lr": 0.5}


class InterruptedRunError(Exception):
    """Raised by a test's callback, where a user would press Ctrl-C."""


def stop_at(count: int) -> Callable[[Any], None]:
    """A callback that raises when it is called for the `count`-th time."""
    left = [count]

    def on_epoch(_: Any) -> None:
        left[0] -= 1
        if left[0] == 0:
            raise InterruptedRunError

    return on_epoch


def checkpoint(folder: Path, resume: bool = False) -> Checkpoint:
    return Checkpoint(folder / "out.sepnet", RUN, resume)


@pytest.mark.parametrize("stop", [1, 2, 4])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_training_goes_on_to_the_same_weights(
    tmp_path: Path, data: Dataset, network: Make, stop: int, optimizer: Any
) -> None:
    options = TrainOptions(optimizer=optimizer, lr=0.01, batch=16, shift=1, warmup=1.5)

    def run(saved: Checkpoint | None, on_epoch: Callable[[Any], None] = lambda _: None) -> Trained:
        return train(
            network(dropout=0.2), data, options, epochs=4, seed=7, checkpoint=saved, observer=Callbacks(epoch=on_epoch)
        )

    whole = run(None)
    with pytest.raises(InterruptedRunError):
        run(checkpoint(tmp_path), stop_at(stop))
    assert (tmp_path / "out.sepnet.checkpoint").exists() == (stop > 1)
    epochs: list[Any] = []
    saved = checkpoint(tmp_path, resume=True)
    again = run(saved, epochs.append)
    assert [log.epoch for log in epochs] == list(range(stop, 5))
    assert again.score == whole.score
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, again.model.state_dict()[name]), name
    saved.remove()
    assert list(tmp_path.iterdir()) == []
    saved.remove()


PRUNES: dict[str, dict[str, Any]] = {
    "one-shot": {"sparsity": 0.7},
    "iterative": {"sparsity": 0.8, "schedule": "iterative", "rounds": 3, "ramp": 0.9},
    "cubic": {"sparsity": 0.8, "schedule": "cubic", "ramp": 1.0},
    "quality": {"quality": 1.0, "schedule": "cubic"},
}
REST = Rest(weights=({"scheme": "linear", "bits": 8},), biases=({"scheme": "linear", "bits": 8},))
TRAIN = {"lr": 0.01, "batch": 16, "shift": 1, "distill": 0.3}


def chain(prune: str, after: dict[str, Any]) -> Recipe:
    rule = Rule(({"scheme": "prune", **PRUNES[prune]}, after), ("fc*", "conv"))
    stages = (Stage("first", ("prune",), 3), Stage("second", (after["scheme"],), 2, {"lr": 0.002}))
    return Recipe("t", (rule,), REST, stages, TRAIN, name=prune)


def patterns(how: str, scale: str) -> Recipe:
    rules = (
        Rule(({"scheme": "pattern", "train": how, "scale": scale},), ("stem", "conv")),
        Rule(({"scheme": "share", "bits": 3},), ("fc*",)),
    )
    stages = (Stage("first", ("pattern",), 3), Stage("second", ("share",), 2, {"optimizer": "adamw", "lr": 0.001}))
    return Recipe("t", rules, REST, stages, TRAIN, name=how)


def rewritten() -> Recipe:
    rule = Rule(({"scheme": "pattern", "train": "straight-through"},), ("conv.kxk",))
    stages = (Stage("first", ("pattern",), 3), Stage("second", ("linear",), 2, {"lr": 0.002}))
    tables: tuple[dict[str, Any], ...] = (
        {"rewrite": "low_rank", "layers": ["conv"], "rank": 6},
        {"rewrite": "global_pool", "layers": ["fc1"], "positions": 16},
    )
    return Recipe("t", (rule,), REST, stages, TRAIN, name="rewritten", rewrite=tables)


def fewer_channels() -> Recipe:
    rules = (
        Rule(({"scheme": "pattern", "train": "straight-through"},), ("conv",)),
        Rule(({"scheme": "prune", "sparsity": 0.5, "schedule": "cubic"}, {"scheme": "linear", "bits": 5}), ("fc1",)),
    )
    stages = (Stage("first", ("pattern", "prune"), 3), Stage("second", ("linear",), 2, {"lr": 0.002}))
    table: dict[str, Any] = {"rewrite": "channels", "layers": ["*"], "macs": 0.5}
    return Recipe("t", rules, REST, stages, TRAIN, name="channels", rewrite=(table,))


RECIPES = {
    "one-shot, share": chain("one-shot", {"scheme": "share", "bits": 3}),
    "iterative, share": chain("iterative", {"scheme": "share", "bits": 3}),
    "cubic, linear": chain("cubic", {"scheme": "linear", "bits": 4}),
    "quality, linear": chain("quality", {"scheme": "linear", "bits": 4, "per": "filter"}),
    "frozen, share": patterns("frozen", "filter"),
    "frozen global, share": patterns("frozen", "global"),
    "straight-through, share": patterns("straight-through", "kernel"),
    "rewritten, linear": rewritten(),
    "fewer channels, pattern, prune": fewer_channels(),
}


def run_compress(
    model: nn.Module,
    data: Dataset,
    recipe: Recipe,
    saved: Checkpoint | None = None,
    on_epoch: Callable[[Any], None] = lambda _: None,
) -> Compressed:
    report = inspect(model, (1, 8, 8), "net")
    return compress(model, recipe, data, report, seed=5, checkpoint=saved, observer=Callbacks(epoch=on_epoch))


_whole: dict[str, Compressed] = {}


@pytest.mark.parametrize("stop", [2, pytest.param(3, marks=pytest.mark.slow), 4, 5])
@pytest.mark.parametrize("name", list(RECIPES))
def test_compressing_goes_on_to_the_same_file(
    tmp_path: Path, data: Dataset, trained: nn.Module, quick_export: None, name: str, stop: int
) -> None:
    """Stopped in the first stage (2, 3), between the two (4) and in the second (5)."""
    if name not in _whole:
        _whole[name] = run_compress(trained, data, RECIPES[name])
    whole = _whole[name]
    with pytest.raises(InterruptedRunError):
        run_compress(trained, data, RECIPES[name], checkpoint(tmp_path), stop_at(stop))
    epochs: list[Any] = []
    again = run_compress(trained, data, RECIPES[name], checkpoint(tmp_path, resume=True), epochs.append)
    assert len(epochs) == 6 - stop
    assert again.packed.to_bytes() == whole.packed.to_bytes()
    for row, same in zip(again.rows, whole.rows, strict=True):
        assert (row.stage, row.kept, row.bytes, row.ratio, row.top1) == (
            same.stage,
            same.kept,
            same.bytes,
            same.ratio,
            same.top1,
        )
    assert again.score == whole.score


def test_an_interrupted_resume_can_be_resumed(
    tmp_path: Path, data: Dataset, trained: nn.Module, quick_export: None
) -> None:
    recipe = RECIPES["cubic, linear"]
    for _ in range(4):
        with pytest.raises(InterruptedRunError):
            run_compress(trained, data, recipe, checkpoint(tmp_path, resume=True), stop_at(2))
    again = run_compress(trained, data, recipe, checkpoint(tmp_path, resume=True))
    assert again.packed.to_bytes() == run_compress(trained, data, recipe).packed.to_bytes()


def test_a_checkpoint_is_not_overlooked(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(model={"w": torch.ones(2)})
    with pytest.raises(UsageError, match=r"--resume.*--restart"):
        checkpoint(tmp_path)
    assert checkpoint(tmp_path, resume=True).state is not None
    thrown = Checkpoint(tmp_path / "out.sepnet", RUN, restart=True)
    assert thrown.state is None
    assert Checkpoint(tmp_path / "other.sepnet", RUN, resume=True).state is None


@pytest.mark.parametrize("key, value", [("net", "lenet300"), ("seed", 4), ("lr", 0.25), ("epochs", 3)])
def test_another_runs_checkpoint_is_refused_with_the_key(tmp_path: Path, key: str, value: Any) -> None:
    checkpoint(tmp_path).save(model={})
    with pytest.raises(UsageError, match=f"its {key} is {RUN.get(key)!r}, now {value!r}.*--restart"):
        Checkpoint(tmp_path / "out.sepnet", {**RUN, key: value}, resume=True)


def test_a_damaged_checkpoint_is_an_error_not_a_crash(tmp_path: Path) -> None:
    checkpoint(tmp_path).save(model={"w": torch.arange(300.0)}, fit={"done": 1}, rows=[("a", 1.0)])
    path = tmp_path / "out.sepnet.checkpoint"
    whole = path.read_bytes()
    damaged = [
        b"",
        b"\x80",
        b"PK\x03\x04",
        b"words",
        whole[: len(whole) // 2],
        whole[:-30],
        whole[1:],
        whole + whole[:9],
    ]
    damaged += [whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :] for at in range(0, len(whole), 7)]
    for content in damaged:
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"checksum does not match.*--restart"):
            checkpoint(tmp_path, resume=True)
    torch.save({"no": "run"}, path)
    path.write_bytes(_signed(path.read_bytes()))
    with pytest.raises(UsageError, match="--restart"):
        checkpoint(tmp_path, resume=True)


def _signed(content: bytes) -> bytes:
    return hashlib.sha256(content).digest() + content


def test_a_checkpoint_without_what_the_run_needs(tmp_path: Path, data: Dataset, network: Make) -> None:
    for state in ({}, {"model": {"w": torch.ones(1)}, "fit": {"done": 1}}, {"model": 3, "fit": {}}):
        Checkpoint(tmp_path / "out.sepnet", RUN, restart=True).save(**state)
        with pytest.raises(UsageError, match="--restart"):
            train(network(), data, TrainOptions(), epochs=2, checkpoint=checkpoint(tmp_path, resume=True))


def test_nothing_in_a_checkpoint_is_executed(tmp_path: Path) -> None:
    path = tmp_path / "out.sepnet.checkpoint"
    torch.save({"run": RUN, "model": _Bomb(tmp_path / "executed")}, path)
    path.write_bytes(_signed(path.read_bytes()))
    with pytest.raises(UsageError, match="not a checkpoint"):
        checkpoint(tmp_path, resume=True)
    assert not (tmp_path / "executed").exists()


class _Bomb:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_saving_replaces_whole_files_only(tmp_path: Path) -> None:
    saved = checkpoint(tmp_path)
    saved.save(model={"w": torch.ones(2)})
    before = saved.path.read_bytes()
    with pytest.raises((TypeError, AttributeError, RuntimeError)):
        saved.save(model=(value for value in ()))
    assert saved.path.read_bytes() == before and [path.name for path in tmp_path.iterdir()] == [saved.path.name]
    with pytest.raises(OutputError):
        Checkpoint(tmp_path / "none" / "out", RUN).save(model={})


def test_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert fingerprint(tmp_path / "a") == "ba7816bf8f01cfea"
    with pytest.raises(WeightsError, match="cannot read"):
        fingerprint(tmp_path / "b")


def test_the_state_is_not_shared_with_the_run(
    tmp_path: Path, data: Dataset, trained: nn.Module, quick_export: None
) -> None:
    before = copy.deepcopy(trained.state_dict())
    made = run_compress(trained, data, RECIPES["cubic, linear"], checkpoint(tmp_path))
    assert isinstance(made.packed, PackedModel)
    assert all(torch.equal(tensor, before[name]) for name, tensor in trained.state_dict().items())
