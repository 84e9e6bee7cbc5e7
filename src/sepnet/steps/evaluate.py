"""evaluate: score a packed model on the test split."""

from __future__ import annotations

from sepnet.core.dataset import Dataset, normalize
from sepnet.core.errors import DataError
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Progress, silent
from sepnet.core.score import Score
from sepnet.runtimes import REFERENCE, RUNTIMES
from sepnet.runtimes.measure import score_runtime

__all__ = ["evaluate"]

CALIBRATED = 256


def evaluate(model: PackedModel, data: Dataset, runtime: str = REFERENCE, progress: Progress = silent) -> Score:
    """Score a packed model as a user of the file would: decoded from its bytes, run by `runtime`.

    Images are normalized as the file says; a runtime that calibrates sees the first 256 training images.  Raises `DataError` when the data set does not fit the network.
    """
    wanted = model.header.input
    if wanted is not None and tuple(wanted.shape) != data.input_shape:
        raise DataError(
            f"the packed network takes images of shape {list(wanted.shape)}; those of {data.name} are {list(data.input_shape)}"
        )
    mean, std = (wanted.mean, wanted.std) if wanted is not None and wanted.mean else (data.mean, data.std)
    training = data.train.part(slice(CALIBRATED)).batches()
    ready = RUNTIMES[runtime].calibrated(model, (normalize(images, mean, std) for images, _ in training))
    outputs = ready.run(data.batch(data.test.images[:1])).shape
    if outputs != (1, len(data.classes)):
        raise DataError(
            f"the packed network gives outputs of shape {list(outputs)} for one image; {data.name} has {len(data.classes)} classes"
        )
    return score_runtime(ready, data, wanted, progress)
