"""A runtime that is ready to run, calibrated by examples where it computes in integers."""

from __future__ import annotations

import numpy as np

from sepnet.core.calibrate import examples_of
from sepnet.core.dataset import Dataset
from sepnet.core.errors import UsageError
from sepnet.core.examples import Arrays
from sepnet.core.packed_model import PackedModel
from sepnet.core.runtime import Runtime
from sepnet.graphs.ports import check_graph, one_float_input, ports_of
from sepnet.runtimes import RUNTIMES

__all__ = ["ready"]

CALIBRATED = 256
NUMBERS_A_BATCH = 5_000_000


def ready(model: PackedModel, name: str, data: Dataset | Arrays | None = None) -> Runtime:
    """The runtime of that name with the network in it; one that calibrates sees the first 256 examples of `data`.

    Images are normalized as the file says.

    Raises:
        FormatError: a file of weights alone.
        DataError: the examples do not fit the network.
        UsageError: the runtime calibrates and there are none.
    """
    runtime = RUNTIMES[name]
    check_graph(model)
    if data is None:
        if runtime.calibrates:
            raise UsageError(
                f"the runtime {name} computes in integers, whose scales come from examples, and found none; "
                "expected a data set or arrays to calibrate by"
            )
        return runtime(model)
    if not runtime.calibrates:
        examples_of(data, ports_of(model.graph)[0], model.header.input)
        return runtime(model)
    inputs, _ = one_float_input(model, name)
    examples = examples_of(data, inputs, model.header.input)
    rows = np.arange(min(CALIBRATED, len(examples)))
    return runtime.calibrated(model, (feed[inputs[0].name] for feed, _ in examples.batches(rows, NUMBERS_A_BATCH)))
