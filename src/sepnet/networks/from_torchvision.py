"""Networks of torchvision, where it is installed: `torchvision:resnet18?weights=DEFAULT`."""

from __future__ import annotations

import contextlib
import importlib
from typing import Any

from sepnet.core.errors import MissingPackageError, NetworkError, UnknownNameError
from sepnet.core.spec import Spec, call

__all__ = ["from_torchvision"]


def from_torchvision(spec: Spec) -> Any:
    """The network that `torchvision.models.get_model` makes of `spec.argument` and `spec.options`.

    Gives it an attribute `input_shape` where torchvision says to what size its own transforms crop.  Raises
    `MissingPackageError`, `UnknownNameError` with the nearest choice, `UsageError` for unknown arguments.
    """
    try:
        importlib.import_module("torchvision")
        models = importlib.import_module("torchvision.models")
    except ImportError as problem:
        if problem.name != "torchvision":
            raise NetworkError(f"network {spec.text!r}: torchvision cannot be imported: {problem}") from problem
        raise MissingPackageError(f"network {spec.text!r}", "torchvision") from None
    name = spec.argument or ""
    if name not in models.list_models():
        raise UnknownNameError("torchvision network", name, models.list_models())
    built = call(
        lambda **options: models.get_model(name, **options), spec.options, spec, noun="network", error=NetworkError
    )
    if not hasattr(built, "input_shape"):
        with contextlib.suppress(Exception):  # a network without published weights does not say
            side = models.get_model_weights(name).DEFAULT.transforms().crop_size[0]
            built.input_shape = (3, side, side)
    return built
