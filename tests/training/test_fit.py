"""The fitting loop: the same seed gives the same bytes, and what goes wrong is said."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from sepnet.core.dataset import Dataset, Split
from sepnet.core.epoch_log import EpochLog
from sepnet.core.errors import NetworkError
from sepnet.core.observer import Callbacks
from sepnet.core.progress import Tick
from sepnet.core.score import Score
from sepnet.core.train_options import TrainOptions
from sepnet.steps.evaluate_network import evaluate_network
from sepnet.steps.train import Trained, train
from sepnet.training.fit import Fit, check_classes, learning_rate, score

Make = Callable[..., nn.Module]
OPTIONS = TrainOptions(lr=0.02, batch=16, shift=1, weight_decay=1e-4, label_smoothing=0.1)


def state_bytes(model: nn.Module) -> bytes:
    return b"".join(tensor.numpy().tobytes() for tensor in model.state_dict().values())


def shortened(data: Dataset, images: int) -> Dataset:
    train_split = Split(data.train.images[:images], data.train.labels[:images])
    return Dataset(data.name, data.classes, train_split, data.test, data.mean, data.std, data.mirror)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_seed_decides_everything(data: Dataset, network: Make, optimizer: Any) -> None:
    options = msgspec.structs.replace(OPTIONS, optimizer=optimizer, lr=0.005)
    start = network(dropout=0.3)
    before = state_bytes(start)
    runs = []
    for seed in (0, 0, 1):
        torch.manual_seed(1234 + len(runs))  # whatever happened before must not matter
        torch.rand(len(runs))
        logs: list[EpochLog] = []
        done = train(start, data, options, epochs=2, seed=seed, observer=Callbacks(epoch=logs.append))
        runs.append((state_bytes(done.model), done.score, [log.train_loss for log in logs]))
    assert runs[0] == runs[1]
    assert runs[0][0] != runs[2][0] and runs[0][2] != runs[2][2]
    assert state_bytes(start) == before and start.training


def test_logs_and_ticks(data: Dataset, network: Make) -> None:
    logs: list[EpochLog] = []
    ticks: list[Tick] = []
    done = train(network(), data, OPTIONS, epochs=3, observer=Callbacks(tick=ticks.append, epoch=logs.append))
    assert isinstance(done, Trained) and isinstance(done.score, Score) and done.score.n == 60
    assert [(log.stage, log.epoch) for log in logs] == [("train", 1), ("train", 2), ("train", 3)]
    assert logs[-1].train_loss < logs[0].train_loss and all(log.seconds > 0 for log in logs)
    assert [log.lr for log in logs] == sorted((log.lr for log in logs), reverse=True)
    assert all(tick.total == 18 and tick.task == "train" for tick in ticks) and ticks[-1].done == 18
    assert [tick.done for tick in ticks] == sorted({tick.done for tick in ticks})
    assert not done.model.training and evaluate_network(done.model, data) == done.score


@pytest.mark.parametrize(
    "schedule, points",
    [
        ("constant", {0: 1.0, 5: 1.0, 10: 1.0}),
        ("cosine", {0: 1.0, 2.5: (1 + math.sqrt(0.5)) / 2, 5: 0.5, 10: 0.0}),
        ("step", {0: 1.0, 4.9: 1.0, 5: 0.1, 7.4: 0.1, 7.5: 0.01, 10: 0.01}),
    ],
)
def test_schedules(schedule: Any, points: dict[float, float]) -> None:
    options = TrainOptions(lr=0.2, schedule=schedule)
    for epoch, factor in points.items():
        assert learning_rate(options, epoch, 10) == pytest.approx(0.2 * factor, abs=1e-12)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize("warmup", [0.5, 2.0, 10.0, 50.0])
def test_warmup_rises_in_a_line(schedule: Any, warmup: float) -> None:
    options = TrainOptions(lr=0.2, schedule=schedule, warmup=warmup)
    times = np.arange(0, min(warmup, 10), 0.125)
    rates = [learning_rate(options, time, 10) for time in times]
    assert rates == pytest.approx(0.2 * times / warmup, abs=1e-3 * 0.2 / warmup + 1e-9) and min(rates) > 0
    assert all(0 <= learning_rate(options, time, 10) <= 0.2 * 1.001 for time in np.arange(0, 10, 0.01))


def test_weight_decay_shrinks_weights_only(data: Dataset, network: Make) -> None:
    fit = Fit(network(), data, TrainOptions(weight_decay=0.5), epochs=1, stage="s")
    decays = {id(p): group["weight_decay"] for group in fit.optimizer.param_groups for p in group["params"]}
    for name, parameter in fit.model.named_parameters():
        assert decays[id(parameter)] == (0.5 if name.endswith("weight") and not name.startswith("bn") else 0.0)


def loss_of(model: nn.Module, data: Dataset, options: TrainOptions, teacher: nn.Module | None = None) -> float:
    """The loss of the first epoch's only batch."""
    logs: list[EpochLog] = []
    Fit(model, data, options, epochs=1, stage="s", teacher=teacher).run(after_epoch=logs.append)
    return logs[0].train_loss


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("distill", [0.0, 0.3, 1.0])
def test_the_loss_is_the_formula(data: Dataset, network: Make, smoothing: float, distill: float) -> None:
    model, teacher = network(), network().eval()
    with torch.no_grad():
        teacher.fc2.weight.mul_(3.0)  # type: ignore[operator, union-attr]
    images, labels = torch.from_numpy(data.batch(data.train.images)), torch.from_numpy(data.train.labels)
    with torch.no_grad():
        logits, wanted = network()(images), teacher(images)
    probabilities, soft = functional.softmax(wanted / 4, 1), functional.log_softmax(logits / 4, 1)
    match = (probabilities * (probabilities.log() - soft)).sum(1).mean() * 16
    hard = functional.one_hot(labels, 4) * (1 - smoothing) + smoothing / 4
    plain = -(hard * functional.log_softmax(logits, 1)).sum(1).mean()
    options = TrainOptions(batch=96, label_smoothing=smoothing, distill=distill, precision="float32")
    assert loss_of(model, data, options, teacher) == pytest.approx(
        float((1 - distill) * plain + distill * match), rel=1e-4
    )
    assert loss_of(network(), data, options) == pytest.approx(float(plain), rel=1e-4)  # no teacher, no distillation


def test_a_teacher_is_not_trained(data: Dataset, network: Make) -> None:
    teacher = network().eval()
    before = state_bytes(teacher)
    loss_of(network(), data, TrainOptions(distill=0.5), teacher)
    assert state_bytes(teacher) == before and not teacher.training


@pytest.mark.parametrize("lr", [1e6, 1e18, 1e38])
def test_divergence_gives_advice(data: Dataset, network: Make, lr: float) -> None:
    with pytest.raises(NetworkError, match=r"stage 'train', epoch \d+: .* became .*; a smaller lr than .* may help"):
        train(network(), data, TrainOptions(lr=lr, batch=8, schedule="constant"), epochs=30)


@pytest.mark.parametrize("images, batch", [(17, 16), (5, 16), (2, 1000), (33, 8)])
def test_batch_norm_never_gets_a_single_last_image(data: Dataset, network: Make, images: int, batch: int) -> None:
    class Deep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.bn, self.end = nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.end(self.bn(self.fc(x.flatten(1))))  # type: ignore[no-any-return]

    done = train(Deep(), shortened(data, images), TrainOptions(batch=batch), epochs=2)
    assert all(torch.isfinite(tensor).all() for tensor in done.model.state_dict().values())


def test_batches_too_small_for_the_network_are_an_error(data: Dataset) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    for small, batch in ((data, 1), (shortened(data, 1), 16)):
        with pytest.raises(NetworkError, match="batch of 1 image"):
            train(model, small, TrainOptions(batch=batch), epochs=1)


def test_a_single_image_trains_a_network_without_batch_norm(data: Dataset) -> None:
    train(nn.Sequential(nn.Flatten(), nn.Linear(64, 4)), shortened(data, 1), TrainOptions(), epochs=2)


def test_nothing_to_train(data: Dataset, network: Make) -> None:
    model = network()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(NetworkError, match="no parameter that trains"):
        train(model, data, OPTIONS, epochs=1)


def test_frozen_parameters_stay(data: Dataset, network: Make) -> None:
    model = network()
    model.stem.weight.requires_grad_(False)  # type: ignore[operator, union-attr]
    done = train(model, data, OPTIONS, epochs=1)
    assert torch.equal(done.model.stem.weight, model.stem.weight)  # type: ignore[union-attr, arg-type]
    assert not torch.equal(done.model.conv.weight, model.conv.weight)  # type: ignore[union-attr, arg-type]


@pytest.mark.parametrize(
    "model, words",
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 7)), "7 outputs, stripes has 4 classes"),
        (nn.Sequential(nn.Flatten(), nn.Linear(65, 4)), r"does not take images of stripes \[1, 8, 8\]"),
        (nn.Sequential(nn.Conv2d(1, 4, 3)), r"output must be \(n, classes\); found \[2, 4, 6, 6\]"),
        (nn.LSTM(8, 4), "does not take images|output must be"),
    ],
)
def test_a_network_that_does_not_fit(data: Dataset, model: nn.Module, words: str) -> None:
    with pytest.raises(NetworkError, match=words):
        check_classes(model, data)


def test_score_leaves_the_mode(data: Dataset, network: Make) -> None:
    model = network(dropout=0.5)
    before = state_bytes(model)
    assert score(model, data, data.test) == score(model.train(), data, data.test)
    assert model.training and state_bytes(model) == before
    score(model.eval(), data, data.test)
    assert not model.training


def test_a_penalty_moves_the_weights_and_is_not_logged(data: Dataset, network: Make) -> None:
    logs: list[list[EpochLog]] = []
    weights = []
    for strength in (None, 0.0, 1.0):
        model, log = network(), []
        penalty = (lambda: None) if strength is None else (lambda: strength * model.fc1.weight.abs().sum() * 1e-3)  # noqa: B023
        Fit(model, data, OPTIONS, epochs=1, stage="s", penalty=penalty).run(after_epoch=log.append)
        logs.append(log)
        weights.append(model.fc1.weight.detach().abs().sum().item())
    assert weights[0] == weights[1] > weights[2]
    assert logs[0][0].train_loss == logs[1][0].train_loss
    assert logs[2][0].train_loss == pytest.approx(logs[0][0].train_loss, rel=0.2)
