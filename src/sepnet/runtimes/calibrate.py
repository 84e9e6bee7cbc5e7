"""A runtime that is ready to run, calibrated by training images where it computes in integers."""

from __future__ import annotations

from sepnet.core.dataset import Dataset, normalize
from sepnet.core.errors import DataError, UsageError
from sepnet.core.packed_model import PackedModel
from sepnet.core.runtime import Runtime
from sepnet.runtimes import RUNTIMES

__all__ = ["ready"]

CALIBRATED = 256


def ready(model: PackedModel, name: str, data: Dataset | None = None) -> Runtime:
    """The runtime of that name with the network in it; one that calibrates sees the first 256 training images of `data`.

    Images are normalized as the file says.

    Raises:
        DataError: the images do not fit the network.
        UsageError: the runtime calibrates and there is no data set.
    """
    runtime = RUNTIMES[name]
    if data is None:
        if runtime.calibrates:
            raise UsageError(
                f"the runtime {name} computes in integers, whose scales come from calibration images, and found none; "
                "expected a data set to calibrate by"
            )
        return runtime(model)
    wanted = model.header.input
    if wanted is not None and tuple(wanted.shape) != data.input_shape:
        raise DataError(
            f"the packed network takes images of shape {list(wanted.shape)}; those of {data.name} are {list(data.input_shape)}"
        )
    mean, std = data.normalization(wanted)
    training = data.train.part(slice(CALIBRATED)).batches()
    return runtime.calibrated(model, (normalize(images, mean, std) for images, _ in training))
