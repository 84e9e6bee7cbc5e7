"""The training options noun: how a stage of a recipe, or `sepnet train`, trains."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from sepnet.core.convert import convert

__all__ = ["TrainOptions", "train_options"]


class TrainOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a stage trains.

    Attributes:
        optimizer: sgd (momentum 0.9, Nesterov) or adamw.
        lr: learning rate at the start (after warm-up).
        schedule: constant, cosine (to 0 over the stage), or step (x0.1 at 1/2 and 3/4 of the stage).
        warmup: epochs of linear warm-up; may be a fraction.
        weight_decay: L2 for sgd, decoupled for adamw; on weights only, not on biases or norms.
        batch: images a step.
        label_smoothing: 0 to below 1.
        shift: augmentation; random shifts by up to that many pixels in each direction.
        mirror: augmentation; random left-right flips (only where the data set allows it).
        cutout: augmentation; the side in pixels of a square in each image that is greyed out.
        mixup: alpha of mixup (Zhang et al. 2018): each batch is blended with itself in another order, in shares drawn
            from Beta(alpha, alpha), and so are the labels.
        distill: 0 to 1, weight of matching the float network's outputs (at temperature 4) in the loss.
        precision: of the arithmetic of a step (weights stay float32): auto is bfloat16 where the processor or GPU has
            it, where a step takes half to two thirds of the time, and float32 elsewhere, where it takes a tenth.
        channels_last: whether images and weights have their channels last in memory; auto does so where it is known to be
            faster (processors, and GPUs in bfloat16), if the network takes it.
        compiled: whether torch.compile makes the step, which needs a C++ compiler on a processor, and a minute at
            first; auto does not.
        ema: decay of an exponential moving average of the weights over the steps, which is what the stage leaves
            (0.999, say); 0 for none.
        norm_batches: batches over which the statistics of BatchNorm are measured anew when the stage is over.
        validation: the last so many training images are not trained on but scored after every epoch.
        patience: the stage ends after that many epochs without a better score on them, and leaves the best weights.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.01
    schedule: Literal["constant", "cosine", "step"] = "cosine"
    warmup: float = 0.0
    weight_decay: float = 0.0
    batch: int = 128
    label_smoothing: float = 0.0
    shift: int = 0
    mirror: bool = False
    distill: float = 0.0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    compiled: bool | Literal["auto"] = "auto"
    cutout: int = 0
    mixup: float = 0.0
    ema: float = 0.0
    norm_batches: int = 0
    validation: int = 0
    patience: int = 0

    def __post_init__(self) -> None:
        wanted = {
            "lr": (0 < self.lr < math.inf, "a number above 0"),
            "batch": (self.batch >= 1, "1 or more"),
            "warmup": (0 <= self.warmup < math.inf, "0 or more"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "0 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "0 to below 1"),
            "shift": (self.shift >= 0, "0 or more"),
            "distill": (0 <= self.distill <= 1, "0 to 1"),
            "cutout": (self.cutout >= 0, "0 or more"),
            "mixup": (0 <= self.mixup < math.inf, "0 or more"),
            "ema": (0 <= self.ema < 1, "0 to below 1"),
            "norm_batches": (self.norm_batches >= 0, "0 or more"),
            "validation": (self.validation >= 0, "0 or more"),
            "patience": (self.patience >= 0, "0 or more"),
        }
        for key, (fits, expected) in wanted.items():
            if not fits:
                raise ValueError(f"found {key} = {getattr(self, key)}; expected {expected}")
        if self.patience and not self.validation:
            raise ValueError("patience needs validation = N, training images to score on")


def train_options(settings: dict[str, Any], where: str) -> TrainOptions:
    """Training options from key-value pairs; `RecipeError` names the one that is wrong.

    >>> train_options({"lr": 0.1}, "--set").lr
    0.1
    """
    return convert(settings, TrainOptions, where)
