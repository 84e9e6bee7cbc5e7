"""The networks shelf: what the package can build by name, and how to reach the user's own.

A variant is a file here and a line in `NETWORKS`.  Its factory takes at least `num_classes` and `in_channels` and
returns a `torch.nn.Module` with an attribute `input_shape`, (channels, height, width) of the input it was made for.
Importing this shelf does not import torch.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sepnet.core.errors import MissingExtraError, NetworkError, UnknownNameError, UsageError
from sepnet.core.network import NetworkFactory
from sepnet.core.registry import Shelf
from sepnet.core.spec import Spec, call, find_function, module_here, parse

if TYPE_CHECKING:
    from torch import nn

__all__ = ["NETWORKS", "SOURCES", "brings_weights", "build", "is_own", "outline"]

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
        "sepnet_small": "sepnet.networks.sepnet:sepnet_small",
        "sepnet_large": "sepnet.networks.sepnet:sepnet_large",
        "sepnet_cifar": "sepnet.networks.sepnet:sepnet_cifar",
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


SOURCES: Shelf[Callable[[Spec], Any]] = Shelf(
    "source of networks",
    {
        ".pt2": "sepnet.networks.from_pt2:from_pt2",
        "timm": "sepnet.networks.from_timm:from_timm",
        "torchvision": "sepnet.networks.from_torchvision:from_torchvision",
    },
)
"""Where networks come from besides: what stands before the ":", or how the file's name ends, to a function of the spec."""


def build(spec: str, **overrides: Any) -> nn.Module:
    """Build a network from its name, from the user's own function, from another package, or from a file.

    Args:
        spec: a catalogue name with optional arguments (`lenet5`, `lenet5?num_classes=7&dropout=0.3`);
            `package.module:function`, arguments likewise, the current directory is importable;
            `torchvision:NAME` or `timm:NAME`, arguments likewise; or the path of a `.pt2` file that
            `torch.export.save` wrote (which torch may unpickle: open only those you trust).  Values are Python
            literals, and strings where they are not.
        overrides: further arguments; they win over those in `spec`.

    Returns:
        The module, with the weights its own initialization gives (seed torch first for the same ones again).

    Raises:
        UnknownNameError: no such name; the message lists the choices.
        UsageError: no such module or function, arguments that it does not take, or an `.onnx` file.
        NetworkError: the function raised, or returned something else than a `torch.nn.Module`.
        MissingExtraError: torch is not installed.  MissingPackageError: torchvision or timm is not.

    >>> sum(p.numel() for p in build("lenet300?num_classes=7").parameters())
    266307
    """
    request = _parse(spec)
    source = _source(request)
    if source is None and request.argument is None and request.name not in NETWORKS:
        if module := module_here(request.name):
            raise UsageError(f"network {spec!r}: found a module, and no function of it; expected {module}:FUNCTION")
        forms = ("package.module:function", "torchvision:NAME", "timm:NAME", "FILE.pt2", "FILE.onnx (inspect only)")
        raise UnknownNameError("network", request.name, [*NETWORKS, *forms])
    try:
        from torch import nn
    except ImportError:
        raise MissingExtraError(f"building network {spec!r}", "torch", "torch") from None
    request = dataclasses.replace(request, options={**request.options, **overrides})
    if source is not None:
        return _checked(SOURCES[source](request), request, nn.Module)
    function = NETWORKS[request.name] if request.argument is None else find_function(request, "network", NetworkError)
    if isinstance(function, nn.Module):
        raise NetworkError(
            f"network {spec!r}: found a {type(function).__name__} object; expected a function that makes one"
        )
    return _checked(call(function, request.options, request, noun="network", error=NetworkError), request, nn.Module)


def outline(spec: str) -> nn.Module:
    """Build a network with shapes only where that can be done: parameters on the meta device, no memory, no numbers.

    The catalogue's can; those of torchvision and timm where they do not refuse.  Others are built as `build` does.
    Errors as `build`'s.

    >>> next(outline("vgg16").parameters()).device.type
    'meta'
    """
    request = _parse(spec)
    if request.name in NETWORKS or _source(request) in ("torchvision", "timm"):
        with contextlib.suppress(ImportError):  # `build` says it better
            from sepnet.networks.shapes_only import Outline

            with contextlib.suppress(NetworkError), Outline():
                return build(spec)
    return build(spec)


def brings_weights(spec: str) -> bool:
    """Whether a network comes with trained weights: a `.pt2` file, `torchvision:…?weights=…`, `timm:…?pretrained=True`,
    or the user's own function, which may load them.

    >>> brings_weights("lenet5"), brings_weights("torchvision:resnet18?weights=DEFAULT"), brings_weights("nets/my.pt2")
    (False, True, True)
    """
    request = _parse(spec)
    source = _source(request)
    if source == "torchvision":
        return request.options.get("weights") is not None
    return bool(request.options.get("pretrained")) if source == "timm" else bool(source or request.argument)


def is_own(spec: str) -> bool:
    """Whether a network is made by the user's own function, which may load weights or leave them random.

    >>> is_own("nets:small"), is_own("lenet5"), is_own("timm:vit")
    (True, False, False)
    """
    request = _parse(spec)
    return request.argument is not None and _source(request) is None


def _parse(spec: str) -> Spec:
    """As `parse`, but a path that ends like a network file is taken as it is."""
    if spec.lower().endswith(".sepnet"):
        raise UsageError(
            f"network {spec!r}: that is a packed file, expected a network; info, evaluate, run and unpack take packed files"
        )
    if spec.lower().endswith(".onnx"):
        raise UsageError(
            f"network {spec!r}: an .onnx file can be inspected, and packed without training (sepnet pack); training and fine-tuning need the network's class in PyTorch"
        )
    return Spec(spec, spec) if spec.lower().endswith(".pt2") else parse(spec, "network")


def _source(request: Spec) -> str | None:
    if request.name.lower().endswith(".pt2"):
        return ".pt2"
    return request.name if request.argument is not None and request.name in SOURCES else None


def _checked(built: Any, request: Spec, kind: type[nn.Module]) -> nn.Module:
    if not isinstance(built, kind):
        raise NetworkError(f"network {request.text!r} returned {type(built).__name__}; expected a torch.nn.Module")
    return built
