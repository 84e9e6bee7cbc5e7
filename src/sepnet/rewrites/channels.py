"""channels: whole channels removed, with all that makes and reads them, so that every runtime computes less."""

from __future__ import annotations

import copy
import math
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import nn

from sepnet.core.errors import NetworkError
from sepnet.core.network import Kind
from sepnet.core.rewrite import NetworkRewrite, RewriteRow
from sepnet.rewrites.convolution import relative_error
from sepnet.rewrites.cutting import Cuts, Sizes, cut, cuts_of, weight_of, what_differs
from sepnet.rewrites.dependencies import CONVS, NORMS, Coupled, Side, coupled_channels, is_depthwise

__all__ = ["Channels"]


class Channels(NetworkRewrite, frozen=True):
    """The least important channels leave the network, until what the target names is small enough.

    Layers that are added, concatenated or normalized together, depthwise convolutions and whatever reads them share
    channels; Torch-Pruning's dependency graph (Fang et al. 2023) says which, and a channel leaves all of them.  Channels of
    a convolution in groups leave every group alike.  The network's inputs and outputs stay.  The result is compared, on
    one batch, with the network in which zero weights read those channels: it must give the same.

    The error of a layer is that of its weights, |W - W'|^2 / |W|^2 with zeros in W' for what was removed.

    Options:
        keep, macs, params: the target, one of them: the share that stays, of the channels that may leave, or of the whole
            network's macs or params; above 0, below 1.  It is met with less than one step (see `round_to`) of one layer to spare.
        by: the importance of a channel, before it is divided by the mean of those it competes with in its layers.
            `magnitude`: |w|, over all weights that make or read it, averaged over layers (Li et al. 2017; Fang et al. 2023).
            `bn-scale`: |gamma| of batch normalization, averaged likewise (Liu et al. 2017); channels without one stay.
        ranking: `layer`: all layers lose the same share, each its least important channels; `network`: the least
            important leave first, wherever they are.
        round_to: the number of channels that stay is a multiple of it, where any leave; 8 suits most processors.
    """

    name: ClassVar[str] = "channels"
    kinds: ClassVar[tuple[Kind, ...]] = ("conv kxk", "conv 1x1", "depthwise", "fc")

    keep: float | None = None
    macs: float | None = None
    params: float | None = None
    by: Literal["magnitude", "bn-scale"] = "magnitude"
    ranking: Literal["layer", "network"] = "layer"
    round_to: int = 1

    def __post_init__(self) -> None:
        given = [(name, value) for name in TARGETS if (value := getattr(self, name)) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of {', '.join(TARGETS)}")
        for name, value in given:
            if not 0 < value < 1:
                raise ValueError(f"{name} = {value}; expected above 0, below 1")
        if self.round_to < 1:
            raise ValueError(f"round_to = {self.round_to}; expected 1 or more")

    def rewrite(
        self, model: nn.Module, layers: Collection[str], macs: Mapping[str, int], example: torch.Tensor
    ) -> tuple[nn.Module, tuple[RewriteRow, ...]]:
        """Choose, cut, and compare."""
        found = coupled_channels(model, example)
        groups = _free(found, layers, self.by, model)
        sizes = Sizes(model, macs)
        chosen = self._choose(groups, model, sizes)
        cuts = cuts_of(chosen)
        made = copy.deepcopy(model)
        cut(made, cuts)
        wrong = what_differs(model, made, cuts, example)
        if wrong:
            raise NetworkError(_blame(model, chosen, example) or f"without the channels removed {wrong}")
        return made, _rows(model, made, cuts, sizes=sizes, macs=macs)

    def _choose(self, groups: list[Coupled], model: nn.Module, sizes: Sizes) -> list[tuple[Coupled, list[int]]]:
        """The channels to remove of each group; `sizes` follows.

        Steps are taken in order, but for the last one: of the next steps of all groups it is the smallest that is enough.
        """
        target = next(name for name in TARGETS if getattr(self, name) is not None)
        channels = sum(group.width for group in groups)
        start = left = {"keep": channels, "params": sizes.params, "macs": sizes.macs}[target]
        enough = getattr(self, target) * start * (1 + 1e-9)
        steps = [list(self._steps(index, group, model)) for index, group in enumerate(groups)]
        chosen: list[tuple[Coupled, list[int]]] = [(group, []) for group in groups]

        def after(step: _Step) -> int:
            params, macs = sizes.after(groups[step.group], step.channels)
            return {"keep": channels - len(step.channels), "params": params, "macs": macs}[target]

        while left > enough:
            heads = [of_group[0] for of_group in steps if of_group]
            if not heads:
                raise NetworkError(
                    f"{target} = {getattr(self, target):g} cannot be met: {left / start:.3f} stays with as few channels as round_to = {self.round_to} allows in the layers named"
                )
            step = min(heads, key=lambda step: step.order)
            if after(step) <= enough:
                step = min(
                    (each for each in heads if after(each) <= enough), key=lambda each: (-after(each), each.order)
                )
            left = after(step)
            channels -= len(step.channels)
            sizes.remove(groups[step.group], step.channels)
            chosen[step.group][1].extend(steps[step.group].pop(0).channels)
        return [(group, gone) for group, gone in chosen if gone]

    def _steps(self, index: int, group: Coupled, model: nn.Module) -> Iterator[_Step]:
        """Every removal of a group, from its least important channels on."""
        together = group.width // group.align
        units = _importance(group, self.by, model).reshape(group.align, together).mean(0)
        order = [int(unit) for unit in torch.argsort(units, stable=True)]
        step = math.lcm(group.align, self.round_to)
        kept, removed = group.width, 0
        while kept > step:
            kept = (kept - 1) // step * step
            gone = (group.width - kept) // group.align
            chunk, removed = order[removed:gone], gone
            mean = float(units[chunk].mean())
            rank = mean if self.ranking == "network" else 1 - kept / group.width
            channels = tuple(unit + at * together for unit in chunk for at in range(group.align))
            yield _Step((rank, mean, index), index, channels)


TARGETS = ("keep", "macs", "params")


@dataclass(frozen=True)
class _Step:
    """One removal: `order` sorts it among those of all groups."""

    order: tuple[float, float, int]
    group: int
    channels: tuple[int, ...]


def _free(found: Iterable[Coupled], layers: Collection[str], by: str, model: nn.Module) -> list[Coupled]:
    """The groups all of whose makers are named, and whose channels can leave; an error that says why if there is none."""
    free, held = [], {}
    for group in found:
        makers = [name for name in group.makers if _makes(model.get_submodule(name))]
        others = [name for name in makers if not _inside(name, layers)]
        why = group.fixed or (f"{others[0]!r} makes the same channels and is not named" if others else "")
        if not why and by == "bn-scale" and not any(_scale(model, side) is not None for side in group.sides):
            why = "no batch normalization scales them"
        if why:
            held.update(dict.fromkeys((name for name in makers if name not in others), why))
        else:
            free.append(group)
    if not free:
        reasons = [f"those of {name!r}: {why}" for name, why in held.items()]
        more = f"; and {len(reasons) - 3} layers more" if len(reasons) > 3 else ""
        raise NetworkError(f"no channels can leave: {'; '.join(reasons[:3]) or 'no layer makes any that can'}{more}")
    return free


def _makes(module: nn.Module) -> bool:
    """Whether its filters decide what the channels are."""
    return isinstance(module, (*CONVS, nn.Linear)) and not is_depthwise(module)


def _inside(name: str, layers: Collection[str]) -> bool:
    return any(not path or name == path or name.startswith(f"{path}.") for path in layers)


def _importance(group: Coupled, by: str, model: nn.Module) -> torch.Tensor:
    """One number a channel, 1 on average."""
    total = torch.zeros(group.width, dtype=torch.float64)
    for side in group.sides:
        values = _scale(model, side) if by == "bn-scale" else _norms(model, side)
        if values is not None:
            own = torch.stack([values[list(places)].sum() for places in side.places])
            total += own / own.mean() if own.any() else own
    return total / total.mean() if total.any() else total


def _scale(model: nn.Module, side: Side) -> torch.Tensor | None:
    """|gamma| of each index, if the layer is a batch normalization that has them."""
    module = model.get_submodule(side.layer)
    return weight_of(module).abs() if isinstance(module, NORMS) and module.affine else None


def _norms(model: nn.Module, side: Side) -> torch.Tensor | None:
    """|w| of each index along a side of a layer, if it has filters."""
    module = model.get_submodule(side.layer)
    if not isinstance(module, (*CONVS, nn.Linear)):
        return None
    weight, groups = weight_of(module), module.groups if isinstance(module, CONVS) else 1
    if side.reads:
        weight = weight.reshape(groups, -1, *weight.shape[1:]).transpose(1, 2).flatten(0, 1)
    return weight.square().flatten(1).sum(1).sqrt()


def _rows(
    model: nn.Module, made: nn.Module, cuts: Cuts, *, sizes: Sizes, macs: Mapping[str, int]
) -> tuple[RewriteRow, ...]:
    """The network, then each layer with filters, in the network's order."""
    touched = {layer for layer, _ in cuts}
    rows, whole, lost = [], 0.0, 0.0
    for name, module in model.named_modules():
        if name in touched and isinstance(module, (*CONVS, nn.Linear)):
            fewer = made.get_submodule(name)
            squares = [float(weight_of(each).square().sum()) for each in (module, fewer)]
            whole, lost = whole + squares[0], lost + max(0.0, squares[0] - squares[1])
            error = relative_error(max(0.0, squares[0] - squares[1]), squares[0])
            before = sum(parameter.numel() for parameter in module.parameters(recurse=False))
            params, after = sizes.of(name)
            widths = len(weight_of(module)), len(weight_of(fewer))
            rows.append(RewriteRow(name, Channels.name, before, params, error, *widths, macs.get(name, 0), after))
    all_params = sum(parameter.numel() for parameter in model.parameters())
    widths = (sum(row.channels_before or 0 for row in rows), sum(row.channels_after or 0 for row in rows))
    counts = (all_params, sizes.params, relative_error(lost, whole), *widths, sum(macs.values()), sizes.macs)
    return (RewriteRow("", Channels.name, *counts), *rows)


def _blame(model: nn.Module, chosen: Iterable[tuple[Coupled, list[int]]], example: torch.Tensor) -> str:
    """The first group whose channels cannot leave by themselves, and why; "" if none is to blame alone."""
    for group, channels in chosen:
        made, cuts = copy.deepcopy(model), cuts_of([(group, channels)])
        cut(made, cuts)
        wrong = what_differs(model, made, cuts, example)
        if wrong:
            return f"channels of {group.layer!r} do more than Torch-Pruning's dependency graph knows: without {len(channels)} of {group.width} {wrong}; expected layers that name others only"
    return ""
