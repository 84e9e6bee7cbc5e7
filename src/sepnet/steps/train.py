"""train: fit a float network to a data set."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import dataclass

from torch import nn

from sepnet.core.dataset import Dataset
from sepnet.core.epoch_log import EpochLog, epoch_logs
from sepnet.core.errors import UsageError
from sepnet.core.observer import UNWATCHED, Observer
from sepnet.core.score import Score
from sepnet.core.train_options import TrainOptions
from sepnet.training.checkpoint import Checkpoint
from sepnet.training.fit import Fit, check_classes, score
from sepnet.training.weights import check_finite

__all__ = ["Trained", "train"]


@dataclass(frozen=True)
class Trained:
    """A trained network (the caller's own is untouched), its score on the test split, and its epochs."""

    model: nn.Module
    score: Score
    epochs: tuple[EpochLog, ...] = ()


def train(
    model: nn.Module,
    data: Dataset,
    options: TrainOptions,
    *,
    epochs: int,
    seed: int = 0,
    checkpoint: Checkpoint | None = None,
    observer: Observer = UNWATCHED,
    device: str = "cpu",
) -> Trained:
    """Train a copy of `model` on the train split for `epochs` epochs.

    With a checkpoint the state is saved after every epoch, and an interrupted run goes on to the same result.
    `observer` is told what happens.
    """
    if options.distill:
        raise UsageError(
            f"found distill = {options.distill}; expected 0: in training there is no float network to match, as there is in compress"
        )
    check_classes(model, data)
    model = copy.deepcopy(model)
    fit = Fit(model, data, options, epochs=epochs, seed=seed, stage="train", device=device)
    logs: list[EpochLog] = []
    if checkpoint is not None and checkpoint.state is not None:
        with checkpoint.loading():
            model.load_state_dict(checkpoint.state["model"])
            fit.load(checkpoint.state["fit"])
            logs = epoch_logs(checkpoint.state.get("epochs", ()))

    def after_epoch(log: EpochLog) -> None:
        logs.append(log)
        if checkpoint is not None:
            checkpoint.save(model=model.state_dict(), fit=fit.state(), epochs=list(map(dataclasses.astuple, logs)))

    fit.run(observer, after_epoch)
    check_finite(model.state_dict(), "after training")
    return Trained(model.eval(), score(model, data, data.test), tuple(logs))
