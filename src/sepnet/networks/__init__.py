"""The networks shelf: what the package can build by name, and how to reach the user's own.

A variant is a file here and a line in `NETWORKS`.  Its factory takes at least `num_classes` and `in_channels` and
returns a `torch.nn.Module` with an attribute `input_shape`, (channels, height, width) of the input it was made for.
Importing this shelf does not import torch.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from sepnet.core.errors import MissingExtraError, NetworkError, UnknownNameError
from sepnet.core.network import NetworkFactory
from sepnet.core.registry import Shelf
from sepnet.core.spec import Spec, call, find_function, parse

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "build"]

NETWORKS: Shelf[NetworkFactory] = Shelf(
    "network",
    {
        "alexnet": "sepnet.networks.alexnet:alexnet",
        "alexnet_grouped": "sepnet.networks.alexnet:alexnet_grouped",
        "c_inception": "sepnet.networks.c_inception:c_inception",
        "googlenet": "sepnet.networks.googlenet:googlenet",
        "googlenet_aux": "sepnet.networks.googlenet:googlenet_aux",
        "googlenet_bn": "sepnet.networks.googlenet_bn:googlenet_bn",
        "lenet300": "sepnet.networks.lenet:lenet300",
        "lenet5": "sepnet.networks.lenet:lenet5",
        "mixed_cnn": "sepnet.networks.mixed:mixed_cnn",
        "mobilenet_v1": "sepnet.networks.mobilenet_v1:mobilenet_v1",
        "mobilenet_v2": "sepnet.networks.mobilenet_v2:mobilenet_v2",
        "resnet18": "sepnet.networks.resnet:resnet18",
        "resnet34": "sepnet.networks.resnet:resnet34",
        "resnet50": "sepnet.networks.resnet:resnet50",
        "resnet101": "sepnet.networks.resnet:resnet101",
        "resnet152": "sepnet.networks.resnet:resnet152",
        "resnet20_cifar": "sepnet.networks.resnet_cifar:resnet20_cifar",
        "resnet32_cifar": "sepnet.networks.resnet_cifar:resnet32_cifar",
        "resnet44_cifar": "sepnet.networks.resnet_cifar:resnet44_cifar",
        "resnet56_cifar": "sepnet.networks.resnet_cifar:resnet56_cifar",
        "resnet110_cifar": "sepnet.networks.resnet_cifar:resnet110_cifar",
        "squeezenet1_0": "sepnet.networks.squeezenet:squeezenet1_0",
        "squeezenet1_1": "sepnet.networks.squeezenet:squeezenet1_1",
        "vgg11": "sepnet.networks.vgg:vgg11",
        "vgg13": "sepnet.networks.vgg:vgg13",
        "vgg16": "sepnet.networks.vgg:vgg16",
        "vgg19": "sepnet.networks.vgg:vgg19",
        "vgg11_cifar": "sepnet.networks.vgg:vgg11_cifar",
        "vgg13_cifar": "sepnet.networks.vgg:vgg13_cifar",
        "vgg16_cifar": "sepnet.networks.vgg:vgg16_cifar",
        "vgg19_cifar": "sepnet.networks.vgg:vgg19_cifar",
    },
)


def build(spec: str, **overrides: Any) -> nn.Module:
    """Build a network from its name, or from the user's own function.

    Args:
        spec: a catalogue name with optional arguments (`lenet5`, `lenet5?num_classes=7&dropout=0.3`), or
            `package.module:function`, arguments likewise; the current directory is importable.  Values are Python
            literals, and strings where they are not.
        overrides: further arguments; they win over those in `spec`.

    Returns:
        The module, with the weights its own initialization gives (seed torch first for the same ones again).

    Raises:
        UnknownNameError: no such name; the message lists the choices.
        UsageError: no such module or function, or arguments that it does not take.
        NetworkError: the function raised, or returned something else than a `torch.nn.Module`.
        MissingExtraError: torch is not installed.

    >>> sum(p.numel() for p in build("lenet300?num_classes=7").parameters())
    266307
    """
    request = parse(spec, "network")
    if request.argument is None and request.name not in NETWORKS:
        raise UnknownNameError("network", request.name, [*NETWORKS, "package.module:function"])
    try:
        from torch import nn
    except ImportError:
        raise MissingExtraError(f"building network {spec!r}", "torch", "torch") from None
    function = NETWORKS[request.name] if request.argument is None else find_function(request, "network", NetworkError)
    if isinstance(function, nn.Module):
        raise NetworkError(
            f"network {spec!r}: found a {type(function).__name__} object; expected a function that makes one"
        )
    request = dataclasses.replace(request, options={**request.options, **overrides})
    return _checked(call(function, request.options, request, "network", NetworkError), request, nn.Module)


def _checked(built: Any, request: Spec, kind: type[nn.Module]) -> nn.Module:
    if not isinstance(built, kind):
        raise NetworkError(f"network {request.text!r} returned {type(built).__name__}; expected a torch.nn.Module")
    return built
