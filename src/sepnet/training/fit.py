"""The fitting loop: epochs of SGD or AdamW over a network, parametrized or not."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from sepnet.core.dataset import Dataset, Split
from sepnet.core.epoch_log import EpochLog
from sepnet.core.errors import NetworkError, brief
from sepnet.core.observer import UNWATCHED, Observer
from sepnet.core.progress import Tick
from sepnet.core.score import Score, score_batches
from sepnet.core.train_options import TrainOptions
from sepnet.datasets import hold_out
from sepnet.training.augment import Mixed, mix
from sepnet.training.average import Best, WeightAverage, measure_norms
from sepnet.training.batches import Batches, eval_batches
from sepnet.training.machine import find_setup
from sepnet.training.parallel import team
from sepnet.training.teacher import Teacher

__all__ = ["Fit", "check_classes", "score"]


class Fit:
    """Train `model` in place for `epochs` epochs.

    Args:
        model: the network; its trainable parameters are taken when the object is made.
        data: only the train split is looked at.
        options: see `TrainOptions`.
        seed: of the order of images, augmentation and dropout.
        stage: name for progress and logs.
        advance: called before every step with the time, 0 to 1 of the stage.
        teacher: the network whose outputs `distill` matches.
        settled: the time from which `advance` changes no more how the network computes; the best epoch is looked for after it.
        device: where to compute; the network is there until `run` is over, then on the processor again.
        penalty: called for every step; what it returns, if anything, is added to the loss that is minimized (not to the logged one).
    """

    def __init__(
        self,
        model: nn.Module,
        data: Dataset,
        options: TrainOptions,
        *,
        epochs: int,
        seed: int = 0,
        stage: str,
        advance: Callable[[float], None] = lambda _: None,
        teacher: nn.Module | None = None,
        settled: float = 0.0,
        device: str = "cpu",
        penalty: Callable[[], torch.Tensor | None] = lambda: None,
    ) -> None:
        self.device, self.penalty = torch.device(device), penalty
        self.setup = find_setup(options, self.device, model, data.input_shape)
        self.format = torch.channels_last if self.setup.channels_last else torch.contiguous_format
        self.model, self.options, self.epochs, self.stage = self._placed(model), options, epochs, stage
        self.teacher = (
            Teacher(teacher, self.device, data.input_shape) if teacher is not None and options.distill else None
        )
        self.data = hold_out(data, options.validation) if options.validation else data
        self.batches = Batches(self.data, options, seed)
        self.seed, self.advance, self.settled = seed, advance, settled
        self.optimizer = _optimizer(self.model, options)
        self.team = team(self.device)
        self.wrapped = self.team.prepare(self.model)
        if self.setup.compiled:
            self.wrapped = torch.compile(self.wrapped)  # type: ignore[assignment]
        self.average = WeightAverage(self.model, options.ema) if options.ema else None
        self.best = Best()
        self.done = 0

    def state(self) -> dict[str, Any]:
        """What a checkpoint must keep to go on exactly."""
        average = None if self.average is None else self.average.state()
        return {
            "done": self.done,
            "optimizer": self.optimizer.state_dict(),
            "average": average,
            "best": self.best.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from `state`."""
        self.done = int(state["done"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.best.load(state["best"])
        if self.average is not None:
            self.average.load(state["average"])

    def run(self, observer: Observer = UNWATCHED, after_epoch: Callable[[EpochLog], None] = lambda _: None) -> None:
        """Run the epochs that are left; fewer if `patience` ends.

        `after_epoch` is where the caller saves the state; the observer was told of the epoch before.
        """
        observer.setup(self.setup)
        try:
            while self.done < self.epochs and not self._patience_over():
                log = self._epoch(observer)
                self.done += 1
                if self.options.validation:
                    log = self._validated(log)
                observer.epoch(log)
                after_epoch(log)
            self._finish()
        finally:
            self.model.to("cpu").to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]

    def _placed(self, model: nn.Module) -> nn.Module:
        return model.to(self.device).to(memory_format=self.format)  # type: ignore[call-overload, no-any-return]

    def _there(self, images: torch.Tensor) -> torch.Tensor:
        return images.to(self.device, memory_format=self.format)

    def _epoch(self, observer: Observer) -> EpochLog:
        started, seen = time.perf_counter(), 0
        torch.manual_seed(hash_seed(self.seed, self.done))
        self.model.train()
        steps = self.batches.steps
        running = torch.zeros(2, device=self.device)
        for step, (images, labels) in enumerate(self.batches.epoch(self.done)):
            position = self.done + step / steps
            self.advance(position / self.epochs)
            lr = learning_rate(self.options, position, self.epochs)
            for group in self.optimizer.param_groups:
                group["lr"] = lr
            running += self._step(self._there(images), labels.to(self.device))
            seen += len(images)
            if step % 16 == 0 or step == steps - 1:
                now, all_steps = self.done * steps + step + 1, self.epochs * steps
                observer.tick(Tick(self.stage, now, all_steps, f"epoch {self.done + 1}/{self.epochs}"))
        loss, top1 = (self.team.total(running) / max(1, seen)).tolist()
        if not math.isfinite(loss) or not self._finite():
            what = "a weight became NaN or Inf" if math.isfinite(loss) else f"the loss became {loss}"
            raise NetworkError(
                f"stage {self.stage!r}, epoch {self.done + 1}: {what}; a smaller lr than {self.options.lr} may help"
            )
        seconds = time.perf_counter() - started
        return EpochLog(self.stage, self.done + 1, lr, loss, top1, seconds, setup=self.setup)

    def _step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One step of the optimizer; returns the sum of the loss over this process's images, and how many were right."""
        whole = mix(images, labels, self.options.mixup) if self.options.mixup else Mixed(images, labels)
        mixed = whole.part(self.team.share)
        logits = self._logits(mixed.images)
        loss = self._loss(logits, mixed)
        if not loss.requires_grad:
            raise NetworkError(
                f"stage {self.stage!r}: every weight is frozen, there is nothing to train; say epochs = 0"
            )
        self.optimizer.zero_grad(set_to_none=True)
        extra = self.penalty()
        self.team.backward(loss if extra is None else loss + extra, len(logits), len(images))
        self.optimizer.step()
        if self.average is not None:
            self.average.update(self.model)
        copies = self.team.size if len(logits) == len(images) else 1  # of a batch too small to be shared
        right = (logits.detach().argmax(1) == mixed.labels).float().sum()
        return torch.stack([loss.detach() * len(logits), right]) / copies

    def _validated(self, log: EpochLog) -> EpochLog:
        top1 = score(self.model, self.data, self.data.test).top1
        if self.options.patience and self.done >= self.settled * self.epochs:
            self.best.offer(top1, self.done, self.model)
        return dataclasses.replace(log, top1=top1)

    def _patience_over(self) -> bool:
        patience = self.options.patience
        return bool(patience and self.best.weights and self.done - self.best.epoch >= patience)

    def _finish(self) -> None:
        """What is left when the last step is done: the best weights or the average, and the statistics of BatchNorm."""
        self.advance(1.0)
        if self.options.patience and self.best.weights:
            self.model.load_state_dict(self.best.weights)
        elif self.average is not None:
            self.average.apply(self.model)
        if self.options.norm_batches:
            batches = itertools.islice(self.batches.epoch(self.done), self.options.norm_batches)
            measure_norms(self.model, (self._there(images) for images, _ in batches))

    def _finite(self) -> bool:
        return all(bool(torch.isfinite(t).all()) for t in self.model.state_dict().values() if t.is_floating_point())

    def _loss(self, logits: torch.Tensor, mixed: Mixed) -> torch.Tensor:
        smoothing = self.options.label_smoothing
        loss = functional.cross_entropy(logits, mixed.labels, label_smoothing=smoothing)
        if mixed.others is not None:
            other = functional.cross_entropy(logits, mixed.others, label_smoothing=smoothing)
            loss = mixed.share * loss + (1 - mixed.share) * other
        if self.teacher is None:
            return loss
        with torch.no_grad():
            images = mixed.images.to(memory_format=self.teacher.format)
            wanted = functional.log_softmax(self._forward(self.teacher.model, images) / _TEMPERATURE, dim=1)
        found = functional.log_softmax(logits / _TEMPERATURE, dim=1)
        match = functional.kl_div(found, wanted, reduction="batchmean", log_target=True) * _TEMPERATURE**2
        return (1 - self.options.distill) * loss + self.options.distill * match

    def _logits(self, images: torch.Tensor) -> torch.Tensor:
        try:
            return self._forward(self.wrapped, images)
        except ValueError as error:  # what batch normalization raises when there is nothing to average over
            reason = brief(error)
            raise NetworkError(
                f"stage {self.stage!r}: the network cannot train on a batch of {len(images)} image(s): {reason}"
            ) from error
        except RuntimeError as error:
            if not self.setup.compiled or "BackendCompilerFailed" not in {
                kind.__name__ for kind in type(error).__mro__
            }:
                raise
            raise NetworkError(f"compiled = true: {brief(error)}; expected false or auto, or a C++ compiler") from error

    def _forward(self, model: nn.Module, images: torch.Tensor) -> torch.Tensor:
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.setup.precision == "bfloat16"):
            logits: torch.Tensor = model(images)
        return logits.float()


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
        device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
        return score_batches(
            (model(images.to(device)).cpu().numpy(), labels.numpy()) for images, labels in eval_batches(data, split)
        )
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
            f"the network does not take images of {data.name} {list(data.input_shape)}: {brief(error)}"
        ) from error
    if not isinstance(outputs, torch.Tensor) or outputs.ndim != 2:
        found = list(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise NetworkError(f"the network's output must be (n, classes); found {found}")
    if outputs.shape[1] != len(data.classes):
        raise NetworkError(
            f"the network has {outputs.shape[1]} outputs, {data.name} has {len(data.classes)} classes; expected as many of both: NET?num_classes={len(data.classes)} for a network of the catalogue"
        )
