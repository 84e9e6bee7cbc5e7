"""Which channels of a network go together: Torch-Pruning's dependency graph (DepGraph, Fang et al. 2023) in our own words."""

from __future__ import annotations

import copy
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import MissingExtraError, NetworkError
from sepnet.core.spec import describe

__all__ = ["Coupled", "Side", "coupled_channels", "is_depthwise"]

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = nn.modules.batchnorm._BatchNorm


@dataclass(frozen=True)
class Side:
    """What one layer has of the channels of a group.

    Attributes:
        layer: module path.
        reads: whether they are its inputs; else its outputs, which for norms and depthwise convolutions are both.
        places: for each channel of the group its indices along that side; () where it has none.
    """

    layer: str
    reads: bool
    places: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Coupled:
    """Channels of several layers, each of which can only be removed from all of them at once.

    Attributes:
        layer: the first layer that makes them.
        width: how many there are.
        align: channels c, c + width / align, ... must go together, for the groups of convolutions to stay equal.
        sides: the layers that make, scale and read them.
        fixed: why none can be removed, "" if they can.
    """

    layer: str
    width: int
    align: int
    sides: tuple[Side, ...]
    fixed: str = ""

    @property
    def makers(self) -> tuple[str, ...]:
        """Every layer whose outputs they are; norms and depthwise convolutions too."""
        return tuple(side.layer for side in self.sides if not side.reads)


def is_depthwise(module: nn.Module) -> bool:
    """Whether each output is made from the input of the same index alone.

    >>> is_depthwise(nn.Conv2d(8, 8, 3, groups=8)), is_depthwise(nn.Conv2d(8, 16, 3, groups=8))
    (True, False)
    """
    return isinstance(module, CONVS) and 1 < module.groups == module.in_channels == module.out_channels


def coupled_channels(model: nn.Module, example: torch.Tensor) -> list[Coupled]:
    """All groups of channels of `model`, from the narrowest on; `model` stays as it is.

    Raises `NetworkError` when the network cannot be traced, `MissingExtraError` without torch-pruning.
    """
    try:
        import torch_pruning
    except ImportError as error:
        raise MissingExtraError("rewrite 'channels'", "torch-pruning", "channels") from error
    twin = copy.deepcopy(model).eval()
    for parameter in twin.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    graph = torch_pruning.DependencyGraph()
    _see_padding(graph)
    try:
        with torch.enable_grad(), warnings.catch_warnings(action="ignore"):
            graph.build_dependency(twin, example, forward_fn=_run, verbose=False)
            _follow_padding(graph)
            return list(_groups(graph, twin))
    except NetworkError:
        raise
    except Exception as error:  # the user's forward, or what Torch-Pruning makes of it
        raise NetworkError(f"Torch-Pruning cannot trace this network: {describe(error)}") from error


def _run(model: nn.Module, example: torch.Tensor) -> torch.Tensor:
    """The output through one more operator, which the graph then knows to be the network's output."""
    output = model(example)
    if not isinstance(output, torch.Tensor) or output.grad_fn is None:
        raise NetworkError(f"the network gives a {type(output).__name__}; expected one tensor that its weights make")
    return output * 1


def _groups(graph: Any, model: nn.Module) -> Iterator[Coupled]:
    names = {module: name for name, module in model.named_modules()}
    tied = _tied(model)
    roots = [m for m in names if m in graph.module2node and isinstance(m, (*CONVS, nn.Linear)) and not is_depthwise(m)]
    seen: set[str] = set()
    for root in sorted(roots, key=_width):
        if names[root] in seen:
            continue
        width = _width(root)
        pruner = graph.get_pruner_of_module(root)
        items = graph.get_pruning_group(root, pruner.prune_out_channels, list(range(width)))
        sides, fixed = [], []
        for item in items:
            module, handler = item.dep.target.module, item.dep.handler
            fixed.append(_why_fixed(module, graph, names, tied))
            if module in names:
                places: list[list[int]] = [[] for _ in range(width)]
                for place, channel in zip(item.idxs, item.root_idxs, strict=True):
                    places[channel].append(place)
                reads = not graph.is_out_channel_pruning_fn(handler)
                if max(item.idxs) >= _width(module, reads):
                    fixed.append(f"Torch-Pruning's dependency graph gives {names[module]!r} more than it has")
                sides.append(Side(names[module], reads, tuple(tuple(sorted(each)) for each in places)))
        group = Coupled(names[root], width, 1, tuple(sides), next(filter(None, fixed), ""))
        seen.update(group.makers)
        yield _aligned(group, model)


def _width(module: nn.Module, reads: bool = False) -> int:
    """How many channels a layer makes, or reads; no bound for layers that cannot shrink."""
    if isinstance(module, CONVS):
        return module.in_channels if reads else module.out_channels
    if isinstance(module, nn.Linear):
        return module.in_features if reads else module.out_features
    width = getattr(module, "num_features", None) or getattr(module, "num_parameters", None)
    return int(width) if width is not None and width > 1 else sys.maxsize


def _why_fixed(module: Any, graph: Any, names: dict[nn.Module, str], tied: set[str]) -> str:
    """Why channels that reach `module` have to stay, or ""."""
    if isinstance(module, nn.Parameter):
        return f"they meet the parameter {graph._param_to_name[module]!r}, which belongs to no layer that can shrink"
    if module not in names:
        return "they are the network's outputs" if type(module).__name__ == "_OutputOp" else ""
    name = names[module]
    if not isinstance(module, (*CONVS, nn.Linear, NORMS, nn.PReLU)):
        return f"they meet {name!r}, a {type(module).__name__}, which cannot shrink"
    if name in tied:
        return f"the weights of {name!r} are shared with another layer"
    if hasattr(module, "parametrizations") or getattr(module, "weight", None) is not module._parameters.get("weight"):
        return f"the weight of {name!r} is computed from others"
    if isinstance(module, CONVS) and 1 < module.groups == module.out_channels and not is_depthwise(module):
        return f"{name!r} has {module.groups} groups of one filter each that read several channels"
    return ""


def _tied(model: nn.Module) -> set[str]:
    """The modules that have a parameter which another module has, too."""
    owners: dict[int, list[str]] = {}
    for name, module in model.named_modules():
        for parameter in module.parameters(recurse=False):
            owners.setdefault(id(parameter), []).append(name)
    return {name for found in owners.values() if len(found) > 1 for name in found}


def _aligned(group: Coupled, model: nn.Module) -> Coupled:
    """The group with `align` for the convolutions in groups, or fixed if they have only some of its channels."""
    align, fixed = 1, group.fixed
    for side in group.sides:
        module = model.get_submodule(side.layer)
        groups = module.groups if isinstance(module, CONVS) and not is_depthwise(module) else 1
        if groups > 1:
            align = math.lcm(align, groups)
            whole = module.in_channels if side.reads else module.out_channels
            if whole != group.width or side.places != tuple((at,) for at in range(group.width)):
                fixed = fixed or f"they are only some of the channels of {side.layer!r}, which has {groups} groups"
    return Coupled(group.layer, group.width, align, group.sides, fixed)


@dataclass(frozen=True)
class _Padding:
    """Zero channels that `torch.nn.functional.pad` puts beside others, which Torch-Pruning takes for an activation."""

    before: int
    after: int
    width: int

    @staticmethod
    def of(node: Any) -> _Padding | None:
        """What a node of the graph pads its channels with."""
        grad_fn: Any = getattr(node, "grad_fn", None)
        pads: tuple[int, ...] = getattr(grad_fn, "_saved_pad", ())
        shape: tuple[int, ...] = grad_fn._input_metadata[0].shape if pads else ()
        last = 2 * len(shape) - 4  # pads begin at the last dimension, channels are the second
        if not 0 <= last < len(pads) or not (pads[last] or pads[last + 1]):
            return None
        return _Padding(pads[last], pads[last + 1], int(shape[1]))


def _see_padding(graph: Any) -> None:
    """Have the graph infer the right widths behind padding."""
    made, read = graph.get_out_channels, graph.get_in_channels

    def out_channels(node: Any) -> Any:
        padding = _Padding.of(node)
        return padding.width if padding else made(node)

    def in_channels(node: Any) -> Any:
        padding = _Padding.of(node)
        return padding.width - padding.before - padding.after if padding else read(node)

    graph.get_out_channels, graph.get_in_channels = out_channels, in_channels


def _follow_padding(graph: Any) -> None:
    """Move the indices of channels that go through padding; the padding's own are those of its output."""
    for node in graph.module2node.values():
        padding = _Padding.of(node)
        if padding is None:
            continue
        for maker in node.inputs:
            for dependency in node.dependencies:
                if dependency.target is maker:
                    dependency.index_mapping[1] = _moved(
                        -padding.before, padding.width - padding.before - padding.after
                    )
            for dependency in maker.dependencies:
                if dependency.target is node:
                    dependency.index_mapping[1] = _moved(padding.before, padding.width)


def _moved(by: int, width: int) -> Callable[[list[Any]], list[Any]]:
    """Indices moved, those that are still inside of `width`."""
    return lambda indices: [each._replace(idx=each.idx + by) for each in indices if 0 <= each.idx + by < width]
