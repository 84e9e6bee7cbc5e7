"""The rewrite noun: a trained network to another form of it with fewer parameters or macs, its weights carried over.

A rewrite is a frozen options object.  It works on one layer (`LayerRewrite`) or on layers that depend on each other
(`NetworkRewrite`), before any scheme starts; the schemes then find the new layers.
Rewrites know nothing of recipes' rules, training or files.
"""

from __future__ import annotations

import abc
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import msgspec

from sepnet.core.convert import convert
from sepnet.core.errors import NetworkError, RecipeError, UnknownNameError
from sepnet.core.network import KINDS, Kind

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = [
    "LayerRewrite",
    "NetworkRewrite",
    "Rewrite",
    "RewriteRow",
    "RewriteRule",
    "Rewritten",
    "make_rewrite",
    "rewrite_table",
]


@dataclass(frozen=True)
class Rewritten:
    """What takes a layer's place.

    Attributes:
        module: same input and output shapes as the layer.
        error: relative squared error, 0 for a rewrite that changes nothing; of the weights,
            |W - W'|^2 / |W|^2 with W' the new module written as one layer like the old, unless the rewrite says otherwise.
    """

    module: nn.Module
    error: float


@dataclass(frozen=True)
class RewriteRow:
    """One line of the table of rewrites.

    Attributes:
        layer: module path; "" is the network itself.
        rewrite: its name on the shelf.
        params_before, params_after: learnable numbers of the layer and of what took its place.
        error: see `Rewritten`.
        channels_before, channels_after: of the layer's output, where the rewrite changes them, else None.
        macs_before, macs_after: multiply-accumulates for one example, where the rewrite counts them, else None.
    """

    layer: str
    rewrite: str
    params_before: int
    params_after: int
    error: float
    channels_before: int | None = None
    channels_after: int | None = None
    macs_before: int | None = None
    macs_after: int | None = None


def rewrite_table(rows: Sequence[RewriteRow]) -> tuple[list[str], list[list[str]]]:
    """The names of the columns, two of words and then numbers, and a line a row; no columns that are empty in all rows.

    >>> rewrite_table([RewriteRow("conv2", "low_rank", 25000, 5500, 0.25)])
    (['layer', 'rewrite', 'params', 'after', 'relative error'], [['conv2', 'low_rank', '25,000', '5,500', '0.2500']])
    """
    pairs: dict[str, list[tuple[int | None, int | None]]] = {
        "channels": [(row.channels_before, row.channels_after) for row in rows],
        "params": [(row.params_before, row.params_after) for row in rows],
        "macs": [(row.macs_before, row.macs_after) for row in rows],
    }
    shown = {name: counts for name, counts in pairs.items() if any(pair != (None, None) for pair in counts)}
    lines = []
    for at, row in enumerate(rows):
        numbers = ["-" if count is None else f"{count:,}" for counts in shown.values() for count in counts[at]]
        lines.append([row.layer or "(network)", row.rewrite, *numbers, f"{row.error:.4f}"])
    return ["layer", "rewrite", *(name for pair in shown for name in (pair, "after")), "relative error"], lines


class Rewrite(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rewrite and its options.

    Contract, tested for every rewrite: shapes in and out stay, the error is the one measured on the new module, the given
    module is left untouched, and a network with the new module packs and reads back.
    """

    name: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]]
    """The kinds of layers that a glob finds when the recipe names no kinds."""


class LayerRewrite(Rewrite, frozen=True):
    """A rewrite of one layer by itself; what takes its place has the same inputs and outputs."""

    looks: ClassVar[bool] = False
    """Whether it can make use of what the layer gets as its input."""

    @abc.abstractmethod
    def refuse(self, module: nn.Module) -> str:
        """Why this rewrite cannot work on `module`, or "" if it can."""

    @abc.abstractmethod
    def replace(self, module: nn.Module, inputs: torch.Tensor | None) -> Rewritten:
        """The new module; `module` is one that is not refused."""

    def rewrite(self, module: nn.Module, inputs: torch.Tensor | None = None) -> Rewritten:
        """A new module for `module`, which stays as it is, in the same mode, trainable as that was.

        Args:
            module: a trained layer.
            inputs: what it gets for some images, for a rewrite that `looks`.

        Raises:
            NetworkError: the rewrite cannot work there; the message says why.
        """
        reason = self.refuse(module)
        if reason:
            raise NetworkError(f"rewrite {self.name!r} cannot work on this {type(module).__name__}: {reason}")
        made = self.replace(module, inputs)
        made.module.train(module.training)
        made.module.requires_grad_(any(parameter.requires_grad for parameter in module.parameters()))
        return made


class NetworkRewrite(Rewrite, frozen=True):
    """A rewrite of layers that depend on each other; it sees the whole network run."""

    @abc.abstractmethod
    def rewrite(
        self, model: nn.Module, layers: Collection[str], macs: Mapping[str, int], example: torch.Tensor
    ) -> tuple[nn.Module, tuple[RewriteRow, ...]]:
        """A new network for `model`, which stays as it is, in the same mode.

        Args:
            model: a trained network.
            layers: paths of the modules that may change, with all inside them.
            macs: multiply-accumulates of each layer for one example, by path.
            example: a batch of inputs.

        Returns:
            The new network; a row for it as a whole, its layer "", and one for each layer that changed.

        Raises:
            NetworkError: the rewrite cannot work there; the message says why.
        """


class RewriteRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A rewrite and where: names or globs of layers, narrowed to kinds."""

    rewrite: Rewrite
    layers: tuple[str, ...]
    kinds: tuple[str, ...] = ()


class _Where(msgspec.Struct, frozen=True):
    layers: tuple[str, ...]
    kinds: tuple[str, ...] = ()


def make_rewrite(table: Mapping[str, Any], shelf: Mapping[str, type[Rewrite]] | Any, where: str) -> RewriteRule:
    """A rewrite from its table in a recipe; `RecipeError` names the key or option that is wrong."""
    options = {key: value for key, value in table.items() if key not in ("rewrite", "layers", "kinds")}
    name = table.get("rewrite")
    if not isinstance(name, str):
        raise RecipeError(f"{where}: the table needs the key rewrite = NAME; choices: {', '.join(sorted(shelf))}")
    try:
        kind = shelf[name]
    except UnknownNameError as error:
        raise RecipeError(f"{where}: {error}") from error
    place = convert({key: table[key] for key in ("layers", "kinds") if key in table}, _Where, where)
    rewrite = convert(options, kind, f"{where}: rewrite {name!r}")
    unknown = [kind for kind in place.kinds if kind not in KINDS]
    if unknown:
        raise RecipeError(f"{where}: unknown kind {unknown[0]!r}; choices: {', '.join(KINDS)}")
    if not place.layers:
        raise RecipeError(f'{where}: the table names no layers; say layers = ["*"] for all')
    return RewriteRule(rewrite, place.layers, place.kinds)
