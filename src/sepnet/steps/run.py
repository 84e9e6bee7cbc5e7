"""run: classify images with a packed model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sepnet.core.dataset import Dataset, normalize
from sepnet.core.errors import FormatError, UsageError
from sepnet.core.examples import Arrays
from sepnet.core.packed_model import PackedModel
from sepnet.datasets.images import read_image
from sepnet.runtimes import REFERENCE, RUNTIMES
from sepnet.runtimes.calibrate import ready

__all__ = ["Guess", "Prediction", "run"]


@dataclass(frozen=True)
class Guess:
    """One class and its softmax probability."""

    label: str
    probability: float


@dataclass(frozen=True)
class Prediction:
    """The most probable classes of one image, best first."""

    image: str
    guesses: tuple[Guess, ...]


def run(
    model: PackedModel,
    images: Sequence[Path],
    topk: int = 5,
    runtime: str = REFERENCE,
    calibrate: Dataset | Arrays | None = None,
) -> tuple[Prediction, ...]:
    """Classify image files; each is converted and resized to what the network takes.

    `calibrate` is what a runtime in integers needs: training images or arrays by which it makes its scales.
    """
    if topk < 1:
        raise UsageError(f"topk = {topk}; expected 1 or more")
    if not images:
        raise UsageError("no images to classify; give one or more")
    if calibrate is not None and not RUNTIMES[runtime].calibrates:
        raise UsageError(
            f"found images to calibrate by and the runtime {runtime}, which computes with floats; expected none"
        )
    engine = ready(model, runtime, calibrate)
    wanted = model.header.input
    if wanted is None or not wanted.mean or len(wanted.shape) != 3:
        raise FormatError(
            "the packed file does not say how its network wants images (header key `input`); use sepnet.read(...).run(batch)"
        )
    shape = (wanted.shape[0], wanted.shape[1], wanted.shape[2])
    pixels = np.stack([read_image(path, shape) for path in images])
    logits = engine.first(normalize(pixels, wanted.mean, wanted.std)).astype(np.float64)
    names = model.header.classes or tuple(map(str, range(logits.shape[-1] if logits.ndim else 0)))
    if logits.shape != (len(images), len(names)) or not np.isfinite(logits).all():
        raise FormatError(
            f"the packed network gives outputs of shape {list(logits.shape)}, {int((~np.isfinite(logits)).sum())} of them NaN or Inf; "
            f"expected finite ones of shape {[len(images), len(names)]} (images, classes)"
        )
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    odds /= odds.sum(axis=1, keepdims=True)
    best = np.argsort(-odds, axis=1, kind="stable")[:, :topk]
    return tuple(
        Prediction(str(path), tuple(Guess(names[at], float(row[at])) for at in order))
        for path, row, order in zip(images, odds, best, strict=True)
    )
