"""evaluate: score a packed model on the test split."""

from __future__ import annotations

from sepnet.core.dataset import Dataset
from sepnet.core.errors import DataError
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Progress, silent
from sepnet.core.score import Score
from sepnet.runtimes import REFERENCE
from sepnet.runtimes.calibrate import ready
from sepnet.runtimes.measure import score_runtime

__all__ = ["evaluate"]


def evaluate(model: PackedModel, data: Dataset, runtime: str = REFERENCE, progress: Progress = silent) -> Score:
    """Score a packed model as a user of the file would: decoded from its bytes, run by `runtime`.

    Images are normalized as the file says; a runtime that calibrates sees the first 256 training images.  Raises `DataError` when the data set does not fit the network.
    """
    engine = ready(model, runtime, data)
    outputs = engine.first(data.batch(data.test.images[:1])).shape
    if outputs != (1, len(data.classes)):
        raise DataError(
            f"the packed network gives outputs of shape {list(outputs)} for one image; {data.name} has {len(data.classes)} classes"
        )
    return score_runtime(engine, data, model.header.input, progress)
