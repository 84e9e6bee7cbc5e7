"""An exported file beside the packed one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from sepnet.core.calibrate import examples_of
from sepnet.core.dataset import normalize
from sepnet.core.examples import Feed
from sepnet.core.exporter import Check, Material
from sepnet.core.output_row import output_row
from sepnet.core.packed_model import PackedModel
from sepnet.core.ports import fitted
from sepnet.core.runtime import Runtime
from sepnet.quantizing.activations import Run
from sepnet.runtimes.measure import score_function

__all__ = ["compare"]

Floats = npt.NDArray[np.float32]
CHECKED = 8


def compare(model: PackedModel, reference: Runtime, run: Run, *, batch: int, material: Material) -> Check | None:
    """On examples, or on noise where there are none; None when nothing says what shape the input has.

    Args:
        model, reference: the packed file, and what runs it.
        run: what was exported, from an array for each input to outputs by name; of several outputs it may give some.
        batch: examples that the graph is fixed to, 0 when that is free.
        material: the test split, else what was calibrated by, is looked at; top-1 is of the whole test split.
    """
    given = _given(model, reference, batch, material)
    if given is None:
        return None
    numbers, count, where = given
    feed = fitted(numbers, reference.inputs)
    expected, found = reference.answers(feed), run(feed)
    rows = tuple(
        output_row(name, expected[name], array.reshape(expected[name].shape)) for name, array in found.items()
    )  # programs give maps of one pixel without its sides
    first = rows[0]
    outputs = rows if len(reference.outputs) > 1 else ()
    noisy = [row for row in rows if row.snr_db is not None]
    lowest = min(noisy, key=lambda row: row.snr_db or 0.0, default=None)
    check = Check(count, where, first.difference or 0.0, first.largest or 0.0, outputs=outputs, lowest=lowest)
    if material.test is None:
        return check
    name, wanted = reference.inputs[0].name, model.header.input

    def score(images: Floats) -> Floats:
        return np.asarray(next(iter(run(fitted({name: images}, reference.inputs)).values())), np.float32)

    return replace(
        check,
        packed=score_function(reference.first, material.test, wanted, material.progress),
        exported=score_function(score, material.test, wanted, material.progress),
    )


def _given(model: PackedModel, reference: Runtime, batch: int, material: Material) -> tuple[Feed, int, str] | None:
    """What to run both on, how many examples that is, and where they are from."""
    wanted, inputs = model.header.input, reference.inputs
    if material.test is not None:
        mean, std = material.test.normalization(wanted)
        images = normalize(material.test.test.images[: batch or CHECKED], mean, std)
        return {inputs[0].name: images}, len(images), material.test.name
    if material.calibrate is not None:
        examples = examples_of(material.calibrate.data, inputs, wanted)
        count = min(len(examples), examples.batch or CHECKED)
        return examples.feed(np.arange(count)), count, examples.name
    if wanted is None:
        return None
    random = np.random.default_rng(0)
    count = batch or CHECKED
    return {inputs[0].name: random.standard_normal((count, *wanted.shape)).astype(np.float32)}, count, "normal noise"
