"""The fitting loop: epochs of SGD or AdamW over a network, parametrized or not."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sepnet.core.dataset import Dataset, Split
from sepnet.core.errors import NetworkError
from sepnet.core.progress import Progress, Tick
from sepnet.core.recipe import TrainOptions
from sepnet.core.score import Score, score_batches
from sepnet.training.batches import Batches, eval_batches

__all__ = ["EpochLog", "Fit", "check_classes", "score"]


@dataclass(frozen=True)
class EpochLog:
    """One line of a training log.  `lr` is the last step's, `train_loss` the mean over the epoch, `seconds` wall time."""

    stage: str
    epoch: int
    lr: float
    train_loss: float
    seconds: float


class Fit:
    """Train `model` in place for `epochs` epochs.

    Args:
        model: the network; its trainable parameters are taken when the object is made.
        data: only the train split is looked at.
        options: see `TrainOptions`.
        seed: of the order of images, augmentation and dropout.
        stage: name for progress and logs.
        advance: called before every step with the time, 0 to 1 of the stage.
        teacher: the float network, for distillation.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        options: TrainOptions,
        epochs: int,
        seed: int,
        stage: str,
        advance: Callable[[float], None] = lambda _: None,
        teacher: nn.Module | None = None,
    ) -> None:
        self.model, self.options, self.epochs, self.stage = model, options, epochs, stage
        self.batches = Batches(data, options, seed)
        self.seed, self.advance, self.teacher = seed, advance, teacher
        self.optimizer = _optimizer(model, options)
        self.done = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep to go on exactly."""
        return {"done": self.done, "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.done = int(state["done"])
        self.optimizer.load_state_dict(state["optimizer"])

    def run(self, progress: Progress, after_epoch: Callable[[EpochLog], None]) -> None:
        """Run the epochs that are left."""
        while self.done < self.epochs:
            log = self._epoch(progress)
            self.done += 1
            after_epoch(log)

    def _epoch(self, progress: Progress) -> EpochLog:
        started, total, seen = time.perf_counter(), 0.0, 0
        torch.manual_seed(hash_seed(self.seed, self.done))
        self.model.train()
        steps = self.batches.steps
        running = torch.zeros(())
        for step, (images, labels) in enumerate(self.batches.epoch(self.done)):
            position = self.done + step / steps
            self.advance(position / self.epochs)
            lr = learning_rate(self.options, position, self.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            loss = self._loss(images, labels)
            if not loss.requires_grad:
                raise NetworkError(
                    f"stage {self.stage!r}: every weight is frozen, there is nothing to train; say epochs = 0"
                )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
            running += loss.detach()
            seen += 1
            if step % 16 == 0 or step == steps - 1:
                progress(
                    Tick(
                        self.stage,
                        self.done * steps + step + 1,
                        self.epochs * steps,
                        f"epoch {self.done + 1}/{self.epochs}",
                    )
                )
        total = float(running) / max(1, seen)
        if not math.isfinite(total) or not self._finite():
            what = "a weight became NaN or Inf" if math.isfinite(total) else f"the loss became {total}"
            raise NetworkError(
                f"stage {self.stage!r}, epoch {self.done + 1}: {what}; a smaller lr than {self.options.lr} may help"
            )
        return EpochLog(self.stage, self.done + 1, lr, total, time.perf_counter() - started)

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(t).all()) for t in self.model.state_dict().values() if t.is_floating_point())

    def _loss(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        try:
            logits = self.model(images)
        except ValueError as error:  # what batch normalization raises when there is nothing to average over
            reason = " ".join(str(error).split())[:200]
            raise NetworkError(
                f"stage {self.stage!r}: the network cannot train on a batch of {len(images)} image(s): {reason}"
            ) from error
        loss = functional.cross_entropy(logits, labels, label_smoothing=self.options.label_smoothing)
        if self.teacher is None or not self.options.distill:
            return loss
        with torch.no_grad():
            wanted = functional.log_softmax(self.teacher(images) / _TEMPERATURE, dim=1)
        found = functional.log_softmax(logits / _TEMPERATURE, dim=1)
        match = functional.kl_div(found, wanted, reduction="batchmean", log_target=True) * _TEMPERATURE**2
        return (1 - self.options.distill) * loss + self.options.distill * match


_TEMPERATURE = 4.0


def hash_seed(seed: int, epoch: int) -> int:
    """A seed for torch's global generator (dropout), different for every (seed, epoch)."""
    return (seed * 1_000_003 + epoch * 7_919 + 12_345) % 2**63


def learning_rate(options: TrainOptions, epoch: float, epochs: int) -> float:
    """Learning rate at a fractional epoch.

    >>> [round(learning_rate(TrainOptions(lr=0.1, schedule="cosine"), e, 10), 4) for e in (0.0, 5.0, 10.0)]
    [0.1, 0.05, 0.0]
    """
    if epoch < options.warmup:
        return options.lr * (epoch + 1e-3) / options.warmup
    time = (epoch - options.warmup) / max(1e-9, epochs - options.warmup)
    if options.schedule == "cosine":
        return options.lr * (1 + math.cos(math.pi * min(1.0, time))) / 2
    if options.schedule == "step":
        return options.lr * (0.1 if time >= 0.5 else 1.0) * (0.1 if time >= 0.75 else 1.0)
    return options.lr


def _optimizer(model: nn.Module, options: TrainOptions) -> torch.optim.Optimizer:
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not trainable:
        raise NetworkError("the network has no parameter that trains (requires_grad is False on all of them)")
    groups = [
        {"params": [p for p in trainable if p.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [p for p in trainable if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if options.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=options.lr)
    return torch.optim.SGD(groups, lr=options.lr, momentum=0.9, nesterov=True)


@torch.no_grad()
def score(model: nn.Module, data: Dataset, split: Split) -> Score:
    """Score of a torch network; it is left in the mode it was in."""
    training = model.training
    model.eval()
    try:
        return score_batches((model(images).numpy(), labels.numpy()) for images, labels in eval_batches(data, split))
    finally:
        model.train(training)


@torch.no_grad()
def check_classes(model: nn.Module, data: Dataset) -> None:
    """Raise `NetworkError` when the network's input or outputs do not fit the data set."""
    batch = getattr(model, "fixed_batch", None)
    if batch is not None:
        raise NetworkError(
            f"the network was exported for batches of {batch}; export it with dynamic_shapes=({{0: torch.export.Dim.DYNAMIC}},)"
        )
    still = copy.deepcopy(model).eval()
    try:
        outputs = still(torch.zeros(2, *data.input_shape))
    except Exception as error:  # whatever the user's forward raises
        raise NetworkError(
            f"the network does not take images of {data.name} {list(data.input_shape)}: {' '.join(str(error).split())[:200]}"
        ) from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        found = list(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise NetworkError(f"the network's output must be (n, classes); found {found}")
    if outputs.shape[1] != len(data.classes):
        raise NetworkError(
            f"the network has {outputs.shape[1]} outputs, {data.name} has {len(data.classes)} classes; say num_classes={len(data.classes)}"
        )
