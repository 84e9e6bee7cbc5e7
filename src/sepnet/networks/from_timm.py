"""Networks of timm, where it is installed: `timm:vit_tiny_patch16_224?pretrained=True`."""

from __future__ import annotations

import importlib
from typing import Any

from sepnet.core.errors import MissingPackageError, NetworkError, UnknownNameError
from sepnet.core.spec import Spec, call

__all__ = ["from_timm"]


def from_timm(spec: Spec) -> Any:
    """The network that `timm.create_model` makes of `spec.argument` and `spec.options`.

    Gives it an attribute `input_shape` from timm's own configuration.  Raises `MissingPackageError`,
    `UnknownNameError` with the nearest choice.
    """
    try:
        timm = importlib.import_module("timm")
    except ImportError as problem:
        if problem.name != "timm":
            raise NetworkError(f"network {spec.text!r}: timm cannot be imported: {problem}") from problem
        raise MissingPackageError(f"network {spec.text!r}", "timm") from None
    name = spec.argument or ""
    if not timm.is_model(name):
        raise UnknownNameError("timm network", name, timm.list_models())
    built = call(
        lambda **options: timm.create_model(name, **options), spec.options, spec, noun="network", error=NetworkError
    )
    config = getattr(built, "pretrained_cfg", None) or getattr(built, "default_cfg", None) or {}
    if not hasattr(built, "input_shape") and config.get("input_size"):
        built.input_shape = tuple(config["input_size"])
    return built
