"""Channels taken out of layers: the layers themselves, their sizes, and the proof that nothing else has changed."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

import torch
from torch import nn

from sepnet.core.spec import describe
from sepnet.rewrites.dependencies import CONVS, NORMS, Coupled, is_depthwise

__all__ = ["Cuts", "Sizes", "cut", "cuts_of", "weight_of", "what_differs"]

Cuts = dict[tuple[str, bool], set[int]]
"""Indices that a layer loses, by its path and whether they are of its inputs (else of its outputs)."""
ROOM = 1e-3
"""Rounding that removed channels may cause, relative to the greatest output."""


def cuts_of(chosen: Iterable[tuple[Coupled, Collection[int]]]) -> Cuts:
    """What every layer loses with the channels chosen of each group."""
    cuts: Cuts = {}
    for group, channels in chosen:
        for side in group.sides:
            cuts.setdefault((side.layer, side.reads), set()).update(at for c in channels for at in side.places[c])
    return {where: lost for where, lost in cuts.items() if lost}


def weight_of(module: nn.Module) -> torch.Tensor:
    """The weight of a layer that has one, in binary64."""
    return torch.as_tensor(module.weight).detach().double()


def cut(model: nn.Module, cuts: Cuts) -> None:
    """Take the channels out of the layers of `model`, in place."""
    for (layer, reads), lost in cuts.items():
        module = model.get_submodule(layer)
        if isinstance(module, CONVS):
            _cut_conv(module, lost, reads)
        elif isinstance(module, nn.Linear):
            kept = _kept(module.in_features if reads else module.out_features, lost)
            _keep(module, ("weight",) if reads else ("weight", "bias"), kept, 1 if reads else 0)
            setattr(module, "in_features" if reads else "out_features", len(kept))
        elif isinstance(module, NORMS):
            kept = _kept(module.num_features, lost)
            _keep(module, ("weight", "bias", "running_mean", "running_var"), kept)
            module.num_features = len(kept)
        elif isinstance(module, nn.PReLU) and module.num_parameters > 1:
            kept = _kept(module.num_parameters, lost)
            _keep(module, ("weight",), kept)
            module.num_parameters = len(kept)


def _cut_conv(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, lost: Collection[int], reads: bool) -> None:
    kept = _kept(module.in_channels if reads else module.out_channels, lost)
    if reads:
        own = [at for at in kept if at < module.in_channels // module.groups]  # the same in every group
        _keep(module, ("weight",), own, 1)
        module.in_channels = len(kept)
        return
    _keep(module, ("weight", "bias"), kept)
    if is_depthwise(module):
        module.in_channels = module.groups = len(kept)
    module.out_channels = len(kept)


def _kept(width: int, lost: Collection[int]) -> list[int]:
    return [at for at in range(width) if at not in lost]


def _keep(module: nn.Module, names: Iterable[str], kept: list[int], side: int = 0) -> None:
    for name in names:
        tensor = getattr(module, name)
        if tensor is None:
            continue
        fewer = tensor.detach().index_select(side, torch.tensor(kept, device=tensor.device))
        if isinstance(tensor, nn.Parameter):
            fewer = nn.Parameter(fewer, tensor.requires_grad)
        setattr(module, name, fewer)


def what_differs(model: nn.Module, made: nn.Module, cuts: Cuts, example: torch.Tensor) -> str:
    """How `made`, the network without the channels, differs from `model` where nothing reads them; "" if it does not.

    A channel that a zero weight reads can be left out; so both compute the same if all that goes together was found.
    """
    silent = copy.deepcopy(model).eval()
    for (layer, reads), lost in cuts.items():
        if reads:
            _silence(silent.get_submodule(layer), lost)
    with torch.no_grad():
        wanted = silent(example)
        try:
            found = copy.deepcopy(made).eval()(example)
        except Exception as error:  # whatever the user's forward raises
            return f"it does not run any more: {describe(error)}"
    if found.shape != wanted.shape:
        return f"its outputs have the shape {list(found.shape)}, not {list(wanted.shape)}"
    apart, most = float((wanted - found).abs().max()), float(wanted.abs().max())
    return "" if apart <= ROOM * most else f"outputs up to {most:.3g} are {apart:.3g} off"


@torch.no_grad()
def _silence(module: nn.Module, lost: Collection[int]) -> None:
    weight = torch.as_tensor(module.weight)  # the same numbers
    width = weight.shape[1]
    weight[:, [at for at in lost if at < width]] = 0  # of a convolution in groups each loses the same


class Sizes:
    """Params and macs of a network while channels leave it.

    Attributes:
        params, macs: of the whole network; macs of one example.
    """

    def __init__(self, model: nn.Module, macs: Mapping[str, int]) -> None:
        self._modules = dict(model.named_modules())
        self._macs = macs
        self._lost: Counter[tuple[str, bool]] = Counter()
        self.params = sum(parameter.numel() for parameter in model.parameters())
        self.macs = sum(macs.values())

    def after(self, group: Coupled, channels: Collection[int]) -> tuple[int, int]:
        """Params and macs of the whole network if channels of a group went away."""
        more = _counts(group, channels)
        layers = dict.fromkeys(layer for layer, _ in more)
        old, new = [self.of(layer) for layer in layers], [self.of(layer, more) for layer in layers]
        params, macs = (sum(b[at] - a[at] for a, b in zip(old, new, strict=True)) for at in (0, 1))
        return self.params + params, self.macs + macs

    def remove(self, group: Coupled, channels: Collection[int]) -> None:
        """Take channels of a group away."""
        self.params, self.macs = self.after(group, channels)
        self._lost.update(_counts(group, channels))

    def of(self, layer: str, more: Mapping[tuple[str, bool], int] = MappingProxyType({})) -> tuple[int, int]:
        """Params and macs of a layer as it stands, or if it lost some more."""
        module = self._modules[layer]
        made, read = (self._lost[layer, reads] + more.get((layer, reads), 0) for reads in (False, True))
        if isinstance(module, (*CONVS, nn.Linear)):
            rows, columns = module.weight.shape[:2]
            groups = 1 if isinstance(module, nn.Linear) or is_depthwise(module) else module.groups
            weights = (rows - made) * (columns - read // groups) * (module.weight[0, 0].numel())
            params = weights + (0 if module.bias is None else rows - made)
            return params, self._macs.get(layer, 0) * weights // module.weight.numel()
        shared = isinstance(module, nn.PReLU) and module.num_parameters == 1
        params = sum(p.numel() - (0 if shared else made) for p in module.parameters(recurse=False))
        return params, self._macs.get(layer, 0)


def _counts(group: Coupled, channels: Collection[int]) -> Counter[tuple[str, bool]]:
    """How many indices each side of each layer loses."""
    counts: Counter[tuple[str, bool]] = Counter()
    for side in group.sides:
        counts[side.layer, side.reads] += sum(len(side.places[channel]) for channel in channels)
    return counts
