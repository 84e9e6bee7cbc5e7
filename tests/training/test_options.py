"""The options of training that go beyond a plain step: averages, best weights, norms measured anew, bfloat16, mixup."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from torch import nn

from sepnet.core.dataset import Dataset
from sepnet.core.epoch_log import EpochLog
from sepnet.core.errors import RecipeError
from sepnet.core.observer import Callbacks
from sepnet.core.train_options import TrainOptions, train_options
from sepnet.steps.train import train
from sepnet.training.average import WeightAverage, measure_norms
from sepnet.training.batches import Batches
from sepnet.training.checkpoint import Checkpoint
from sepnet.training.fit import Fit

Make = Callable[..., nn.Module]
PLAIN = TrainOptions(lr=0.05, batch=16, precision="float32", channels_last=False)


def with_(**options: Any) -> TrainOptions:
    return msgspec.structs.replace(PLAIN, **options)


def same(first: nn.Module, second: nn.Module) -> bool:
    other = second.state_dict()
    return all(torch.equal(tensor, other[name]) for name, tensor in first.state_dict().items())


@pytest.mark.parametrize(
    "options",
    [
        {"precision": "bfloat16"},
        {"channels_last": True, "precision": "bfloat16"},
        {"ema": 0.9},
        {"mixup": 0.4},
        {"cutout": 3},
        {"validation": 24},
        {"norm_batches": 3},
    ],
    ids=str,
)
def test_it_still_learns_and_the_seed_decides(data: Dataset, network: Make, options: dict[str, Any]) -> None:
    runs = [train(network(), data, with_(**options), epochs=5) for _ in range(2)]
    assert same(runs[0].model, runs[1].model) and runs[0].score.top1 > 0.6
    assert not same(runs[0].model, train(network(), data, PLAIN, epochs=5).model)
    assert all(parameter.dtype == torch.float32 for parameter in runs[0].model.parameters())


@pytest.mark.parametrize(
    "options", [{"ema": 0.9}, {"validation": 24, "patience": 9}, {"mixup": 0.4, "norm_batches": 2}], ids=str
)
def test_an_interrupted_run_goes_on_to_the_same_end(
    data: Dataset, network: Make, tmp_path: Path, options: dict[str, Any]
) -> None:
    whole = train(network(), data, with_(**options), epochs=4)

    class StopError(Exception):
        pass

    def stop(log: EpochLog) -> None:
        if log.epoch == 3:
            raise StopError

    output = tmp_path / "net.safetensors"
    with pytest.raises(StopError):
        train(
            network(),
            data,
            with_(**options),
            epochs=4,
            checkpoint=Checkpoint(output, {}),
            observer=Callbacks(epoch=stop),
        )
    again = train(network(), data, with_(**options), epochs=4, checkpoint=Checkpoint(output, {}, resume=True))
    assert same(again.model, whole.model)


def test_the_average_is_the_formula(network: Make) -> None:
    model = network()
    average = WeightAverage(model, 0.9)
    wanted = model.fc2.weight.detach().clone()  # type: ignore[union-attr, operator]
    for step in range(40):
        with torch.no_grad():
            model.fc2.weight.add_(1.0)  # type: ignore[union-attr, operator, arg-type]
        average.update(model)
        decay = min(0.9, (1 + step) / (10 + step))
        wanted = decay * wanted + (1 - decay) * model.fc2.weight.detach()  # type: ignore[union-attr, operator]
    average.apply(model)
    assert torch.allclose(model.fc2.weight, wanted, rtol=1e-5)  # type: ignore[arg-type]


def test_norms_are_the_plain_averages(data: Dataset, network: Make) -> None:
    model = network().train()
    model.fc1.eval()  # type: ignore[union-attr, operator]
    before = copy.deepcopy(model)
    batches = [images for images, _ in Batches(data, PLAIN, 0).epoch(0)]
    measure_norms(model, batches)
    outputs = [before.stem(batch) for batch in batches]  # type: ignore[operator]
    mean = torch.stack([out.mean((0, 2, 3)) for out in outputs]).mean(0)
    variance = torch.stack([out.var((0, 2, 3)) for out in outputs]).mean(0)
    assert torch.allclose(model.bn.running_mean, mean, atol=1e-5)  # type: ignore[union-attr, arg-type]
    assert torch.allclose(model.bn.running_var, variance, rtol=1e-4)  # type: ignore[union-attr, arg-type]
    assert model.bn.momentum == 0.1 and model.bn.training and not model.fc1.training  # type: ignore[union-attr]
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), before.parameters(), strict=True))


def test_patience_ends_early_with_the_best_weights(data: Dataset, network: Make) -> None:
    logs: list[EpochLog] = []
    options = with_(validation=32, patience=3, schedule="constant")
    fit = Fit(network(), data, options, epochs=60, stage="s")
    fit.run(after_epoch=logs.append)
    scores = [log.top1 for log in logs]
    best = max(score for score in scores if score is not None)
    assert len(logs) < 60 and len(logs) == scores.index(best) + 1 + 3
    assert fit.best.top1 == best and same(fit.model, _loaded(network(), fit.best.weights))


def _loaded(model: nn.Module, weights: dict[str, torch.Tensor]) -> nn.Module:
    model.load_state_dict(weights)
    return model


def test_the_best_is_looked_for_once_the_network_is_what_it_will_be(data: Dataset, network: Make) -> None:
    fit = Fit(network(), data, with_(validation=32, patience=50), epochs=8, stage="s", settled=0.5)
    fit.run()
    assert fit.best.epoch >= 4


def test_validation_images_are_not_trained_on(data: Dataset, network: Make) -> None:
    fit = Fit(network(), data, with_(validation=32), epochs=1, stage="s")
    assert len(fit.data.train) == len(data.train) - 32 and fit.batches.data is fit.data


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "float16"},
        {"cutout": -1},
        {"mixup": -0.1},
        {"ema": 1.0},
        {"norm_batches": -1},
        {"validation": -1},
        {"patience": 3},
        {"patience": -1, "validation": 5},
    ],
    ids=str,
)
def test_options_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match=next(iter(settings))):
        train_options(settings, "recipe")


def test_channels_last_leaves_weights_as_others_do(data: Dataset, network: Make) -> None:
    done = train(network(), data, with_(channels_last=True), epochs=2)
    assert all(parameter.is_contiguous() for parameter in done.model.parameters())
    plain = train(network(), data, PLAIN, epochs=2)
    for name, tensor in plain.model.state_dict().items():
        assert torch.allclose(done.model.state_dict()[name], tensor, atol=1e-3), name


@pytest.mark.slow
def test_a_compiled_step_learns_the_same(data: Dataset, network: Make) -> None:
    done, plain = (train(network(), data, with_(compiled=compiled), epochs=3) for compiled in (True, False))
    for name, tensor in plain.model.state_dict().items():
        assert torch.allclose(done.model.state_dict()[name], tensor, atol=1e-3), name
