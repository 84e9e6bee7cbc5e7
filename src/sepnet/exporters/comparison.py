"""An exported file beside the packed one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sepnet.core.dataset import normalize
from sepnet.core.exporter import Check, Material
from sepnet.core.packed_model import PackedModel
from sepnet.core.runtime import Runtime
from sepnet.runtimes.measure import score_function

__all__ = ["compare"]

Floats = npt.NDArray[np.float32]
CHECKED = 8


def compare(
    model: PackedModel, reference: Runtime, run: Callable[[Floats], Floats], *, material: Material
) -> Check | None:
    """On images, or on noise where there are none; None when nothing says what shape the input has.

    Args:
        model, reference: the packed file, and what runs it.
        run: what was exported, from inputs to outputs.
        material: the test split, else training images, are looked at; top-1 is of the whole test split.
    """
    fixed, of_output = reference.inputs[0].fixed, reference.outputs[0].fixed
    count = CHECKED if not fixed or fixed == of_output == 1 else fixed
    wanted, data = model.header.input, material.test or (material.calibrate.data if material.calibrate else None)
    if data is not None:
        split = data.test if material.test else data.train
        mean, std = data.normalization(wanted)
        inputs, where = normalize(split.images[:count], mean, std), data.name
    elif wanted is not None:
        random = np.random.default_rng(0)
        inputs, where = random.standard_normal((count, *wanted.shape)).astype(np.float32), "normal noise"
    else:
        return None
    expected, found = reference.first(inputs), run(inputs)
    check = Check(len(inputs), where, float(np.abs(found - expected).max()), float(np.abs(expected).max()))
    if material.test is None:
        return check
    return replace(
        check,
        packed=score_function(reference.first, material.test, wanted, material.progress),
        exported=score_function(run, material.test, wanted, material.progress),
    )
