"""The datasets shelf: images and labels by name, and how to reach the user's own.  No torch.

A variant is a file here and a line in `DATASETS`.  Its loader is a function of keyword arguments that returns a
`Dataset`: its options, `path` if it takes what stands after the colon, `data_dir` if it reads from the data directory.
The option `holdout` belongs to no loader: it works for all of them.  Where the images would not fit in memory, the splits
hold `StreamedImages` in place of arrays (`FileImages`, or one's own).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from inspect import Parameter
from pathlib import Path
from typing import Any

import numpy as np

from sepnet.core.dataset import Dataset
from sepnet.core.errors import DataError, UnknownNameError, UsageError
from sepnet.core.registry import Shelf
from sepnet.core.spec import Spec, call, find_function, module_here, parse, signature_of

__all__ = ["DATASETS", "DatasetLoader", "hold_out", "load"]

DatasetLoader = Callable[..., Dataset]

DATASETS: Shelf[DatasetLoader] = Shelf(
    "data set",
    {
        "cifar10": "sepnet.datasets.cifar10:cifar10",
        "digits": "sepnet.datasets.digits:digits",
        "folder": "sepnet.datasets.folder:folder",
        "imagenet_sample": "sepnet.datasets.imagenet_sample:imagenet_sample",
        "mnist": "sepnet.datasets.mnist:mnist",
    },
)


def load(spec: str, data_dir: Path | None = None) -> Dataset:
    """Load a data set from its name, a folder of images, or the user's own function.

    Args:
        spec: a name on the shelf (`mnist`), `folder:PATH`, or `package.module:function` (the current directory is importable),
            each with `?key=value&...`.  `holdout=N` works for all of them, see `hold_out`.
        data_dir: where the downloaded sets lie; None means the environment variable SEPNET_DATA.  A function of the
            user's gets it if it has a parameter of that name.

    Returns:
        The data set; its `name` is `spec`.

    Raises:
        UnknownNameError: no such name; the message lists the choices.
        UsageError: no such module or function, options that it does not take, or no data directory.
        DataError: data that is missing, empty or broken, or a function that returned something else than a `Dataset`.
        MissingExtraError: the set needs a package that is not installed.

    >>> data = load("digits?holdout=100")
    >>> len(data.train), len(data.test), data.input_shape
    (1337, 100, (1, 28, 28))
    """
    request = parse(spec, "data set")
    options = dict(request.options)
    holdout = options.pop("holdout", None)
    loader = _loader(request)
    places = _places(loader, request, options, data_dir)
    named = dataclasses.replace(request, argument=None) if request.name in DATASETS else request
    loaded = call(loader, {**options, **places}, named, noun="data set", error=DataError, given={*places, "data_dir"})
    if not isinstance(loaded, Dataset):
        raise DataError(f"data set {spec!r} returned {type(loaded).__name__}; expected a sepnet.core.dataset.Dataset")
    loaded = dataclasses.replace(loaded, name=spec)
    return loaded if holdout is None else hold_out(loaded, holdout)


def _loader(request: Spec) -> DatasetLoader:
    if request.name in DATASETS:
        return DATASETS[request.name]
    if request.argument is None:
        if module := module_here(request.name):
            raise UsageError(
                f"data set {request.text!r}: found a module, and no function of it; expected {module}:FUNCTION"
            )
        raise UnknownNameError("data set", request.name, [*DATASETS, "package.module:function"])
    return find_function(request, "data set", DataError)


def _places(loader: DatasetLoader, request: Spec, options: dict[str, Any], data_dir: Path | None) -> dict[str, Any]:
    """The arguments `path` and `data_dir`, for a loader that has such parameters."""
    signature = signature_of(loader)
    parameters = signature.parameters if signature is not None else {}
    places: dict[str, Any] = {}
    if request.name in DATASETS:
        if "path" in parameters and request.argument is None:
            raise UsageError(f"data set {request.text!r}: expected {request.name}:PATH")
        if "path" not in parameters and request.argument is not None:
            raise UsageError(
                f"data set {request.text!r}: {request.name} takes nothing after a colon; found {request.argument!r}"
            )
        if "path" in parameters:
            places["path"] = request.argument
    if "data_dir" in parameters and "data_dir" not in options:
        given = data_dir if data_dir is not None else os.environ.get("SEPNET_DATA") or None
        if given is not None:
            places["data_dir"] = Path(given)
        elif parameters["data_dir"].default is Parameter.empty:
            raise UsageError(
                f"data set {request.text!r} is read from the data directory, and none is given: "
                "use --data-dir DIR (data_dir= in Python) or set the environment variable SEPNET_DATA"
            )
    return places


def hold_out(data: Dataset, holdout: int) -> Dataset:
    """Make the last `holdout` training images the test split, and take them from the training split.

    So choices (a threshold, a recipe) can be made without looking at the test images, which are left out altogether.
    mean and std stay.  The images are views, not copies (of streamed ones none is read).  The order of a data set from the shelf is mixed; that of the
    user's own function must be.

    Raises:
        UsageError: `holdout` is no integer, or not within 1..n-1 for n training images.
        DataError: no training image of some class would be left.
    """
    n = len(data.train)
    if not isinstance(holdout, int) or isinstance(holdout, bool) or not 1 <= holdout < n:
        raise UsageError(
            f"{data.name}: found holdout={holdout!r}; expected an integer from 1 to {n - 1} ({n} training images)"
        )
    labels = data.train.labels
    lost = np.setdiff1d(labels, labels[: n - holdout])
    if len(lost):
        names = ", ".join(data.classes[i] for i in lost[:5])
        raise DataError(
            f"{data.name}: holding out the last {holdout} of {n} training images leaves none of class {names}"
        )
    return dataclasses.replace(
        data, train=data.train.part(slice(n - holdout)), test=data.train.part(slice(n - holdout, n))
    )
