"""A network's layers rewritten as a recipe says, before any scheme starts."""

from __future__ import annotations

import copy
import dataclasses
import fnmatch
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from sepnet.core.dataset import Dataset
from sepnet.core.errors import NetworkError, RecipeError, brief
from sepnet.core.network import LayerReport, NetworkReport
from sepnet.core.recipe import Recipe
from sepnet.core.rewrite import LayerRewrite, NetworkRewrite, RewriteRow, RewriteRule, make_rewrite
from sepnet.counting.kinds import kind_of
from sepnet.counting.trace import trace
from sepnet.rewrites import REWRITES
from sepnet.training.parametrized import tied_names

__all__ = ["RewrittenNetwork", "copied", "rewrite_layers", "rewrite_network"]

_GLOB = frozenset("*?[")
_IMAGES, _BATCH = 1024, 32


@dataclasses.dataclass(frozen=True)
class RewrittenNetwork:
    """A network before and after its rewrites; the same twice where the recipe has none.

    Attributes:
        model: the network that is trained and packed.
        before: the network as it came.
        report: of `before`.
        layers: the report whose names and kinds are those of `model`; sizes of layers that were not replaced are the old ones.
        rows: the rewrites.
    """

    model: nn.Module
    before: nn.Module
    report: NetworkReport
    layers: NetworkReport
    rows: tuple[RewriteRow, ...] = ()

    def unwritten(self) -> RewrittenNetwork:
        """The network as it came, alone."""
        return RewrittenNetwork(copy.deepcopy(self.before), self.before, self.report, self.report)


def rewrite_network(model: nn.Module, recipe: Recipe, data: Dataset, report: NetworkReport) -> RewrittenNetwork:
    """Rewrite `model`, which is the caller's own, as `recipe` says, and see that it still runs.

    Raises:
        RecipeError: as `rewrite_layers`; or the network does not run any more.
    """
    before = copy.deepcopy(model).eval()
    model, rows = rewrite_layers(model, recipe, data)
    if not rows:
        return RewrittenNetwork(model, before, report, report)
    try:
        with torch.no_grad():
            copy.deepcopy(model).eval()(torch.zeros(2, *data.input_shape))
    except Exception as error:  # whatever the user's forward raises
        reason = brief(error)
        raise RecipeError(f"recipe {recipe.name}: after its rewrites the network does not run: {reason}") from error
    return RewrittenNetwork(model, before, report, _report_after(report, model, rows), rows)


def copied(model: nn.Module) -> nn.Module:
    """A deep copy; the weights that torch.nn.utils.prune and the old weight_norm compute cannot be copied."""
    try:
        return copy.deepcopy(model)
    except Exception as error:  # the user's module may define its own copying
        reason = brief(error)
        raise NetworkError(
            f"the network cannot be copied (make what torch.nn.utils did to its weights permanent first): {reason}"
        ) from error


def rewrite_layers(
    model: nn.Module, recipe: Recipe, data: Dataset | None = None, input_shape: tuple[int, ...] | None = None
) -> tuple[nn.Module, tuple[RewriteRow, ...]]:
    """Rewrite the layers of `model` in the order of the recipe's tables; each sees what those before it left.

    Args:
        model: a network of the caller's own; it is changed, or another is returned.
        recipe: its `rewrite` tables.
        data: up to 1,024 images of its train split are shown to rewrites that look at a layer's inputs.
        input_shape: of one example, for rewrites of the whole network; that of `data` if there is any.

    Raises:
        RecipeError: unknown rewrite or option, no such layer, or a layer that cannot be rewritten, and why.
    """
    rows: list[RewriteRow] = []
    for index, table in enumerate(recipe.rewrite):
        where = f"recipe {recipe.name}: rewrite {index + 1}"
        rule = make_rewrite(table, REWRITES, where)
        names = _matches(model, rule, where)
        if isinstance(rule.rewrite, LayerRewrite):
            model, made = _each(model, rule.rewrite, names, data, where=where)
        elif isinstance(rule.rewrite, NetworkRewrite):
            model, made = _whole(model, rule.rewrite, names, data.input_shape if data else input_shape, where=where)
        else:
            kind = type(rule.rewrite).__name__
            raise RecipeError(f"{where}: found a {kind}; expected a LayerRewrite or a NetworkRewrite")
        rows += made
    return model, tuple(rows)


def _each(
    model: nn.Module, rewrite: LayerRewrite, names: Sequence[str], data: Dataset | None, *, where: str
) -> tuple[nn.Module, tuple[RewriteRow, ...]]:
    """One layer after the other, in place."""
    rows = []
    for name in names:
        module = model.get_submodule(name)
        reason = _shared(model, name) or rewrite.refuse(module)
        if reason:
            raise RecipeError(f"{where}: rewrite {rewrite.name!r} cannot work on layer {name!r}: {reason}")
        made = rewrite.rewrite(module, _inputs(model, module, data) if rewrite.looks and data is not None else None)
        model = _put(model, name, made.module)
        rows.append(RewriteRow(name, rewrite.name, _params(module), _params(made.module), made.error))
    return model, tuple(rows)


def _whole(
    model: nn.Module, rewrite: NetworkRewrite, names: Sequence[str], shape: tuple[int, ...] | None, *, where: str
) -> tuple[nn.Module, tuple[RewriteRow, ...]]:
    """The layers together."""
    if shape is None:
        raise RecipeError(f"{where}: rewrite {rewrite.name!r} runs the network; expected data or an input shape")
    batch = getattr(model, "example_batch", 2)
    example = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(0))
    try:
        counted = trace(model, (shape,), [None], batch).macs
        macs = {name: layer // batch for name, layer in counted.items()}
        return rewrite.rewrite(model, names, macs, example)
    except NetworkError as error:
        raise RecipeError(f"{where}: rewrite {rewrite.name!r}: {error}") from error


def _report_after(report: NetworkReport, model: nn.Module, rows: tuple[RewriteRow, ...]) -> NetworkReport:
    """`report` with the layers of the rewritten `model` in place of those that were replaced; their macs are not counted."""
    gone = [row.layer for row in rows if issubclass(REWRITES[row.rewrite], LayerRewrite)]
    layers = [layer for layer in report.layers if not any(_inside(layer.name, name) for name in gone)]
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if own and any(_inside(name, old) for old in gone):
            weight = getattr(module, "weight", None)
            shape = tuple(weight.shape) if isinstance(weight, torch.Tensor) else ()
            params = sum(parameter.numel() for parameter in own)
            layers.append(LayerReport(name, kind_of(module), shape, params, 0, counted=False, note="rewritten"))
    return dataclasses.replace(report, layers=tuple(layers))


def _inside(name: str, path: str) -> bool:
    return name == path or not path or name.startswith(f"{path}.")


def _matches(model: nn.Module, rule: RewriteRule, where: str) -> list[str]:
    """A name stands for that module; a glob for the layers of the right kinds."""
    modules = dict(model.named_modules())
    layers = {name: kind_of(module) for name, module in modules.items() if _params(module, recurse=False)}
    kinds = rule.kinds or rule.rewrite.kinds
    found: dict[str, None] = {}
    for pattern in rule.layers:
        if not _GLOB & set(pattern):
            hits = [pattern] if pattern in modules and (not rule.kinds or layers.get(pattern) in rule.kinds) else []
        else:
            hits = [name for name, kind in layers.items() if kind in kinds and fnmatch.fnmatchcase(name, pattern)]
        if not hits:
            there = ", ".join(f"{name or '(the network itself)'} ({kind})" for name, kind in layers.items())
            of = f" of kind {' or '.join(kinds)}" if rule.kinds or _GLOB & set(pattern) else ""
            raise RecipeError(f"{where}: {pattern!r} matches no layer{of}; the layers are: {there}")
        found.update(dict.fromkeys(hits))
    return list(found)


def _shared(model: nn.Module, name: str) -> str:
    """Why a module that is used in several places cannot be replaced, or ""."""
    module = model.get_submodule(name)
    names = [other for other, same in model.named_modules(remove_duplicate=False) if same is module and other != name]
    if names:
        return f"it is also {', '.join(names)}"
    inside = {f"{name}.{key}" if name else key for key, _ in module.named_parameters(remove_duplicate=False)}
    for second, first in tied_names(model).items():
        if (second in inside) != (first in inside):
            return f"{first} and {second} are one tensor"
    return ""


def _inputs(model: nn.Module, module: nn.Module, data: Dataset) -> torch.Tensor | None:
    """What `module` gets when the network sees images from all over the train split; None if it is not called."""
    seen: list[torch.Tensor] = []
    hook = module.register_forward_pre_hook(lambda _, given: seen.append(given[0].detach()))
    modes = [(part, part.training) for part in model.modules()]
    rows = np.linspace(0, len(data.train) - 1, min(_IMAGES, len(data.train))).astype(np.int64)
    try:
        with torch.no_grad():
            model.eval()
            for start in range(0, len(rows), _BATCH):
                model(torch.from_numpy(data.batch(data.train.images[rows[start : start + _BATCH]])))
    finally:
        hook.remove()
        for part, training in modes:
            part.training = training
    return torch.cat(seen) if seen else None


def _put(model: nn.Module, name: str, module: nn.Module) -> nn.Module:
    if not name:
        return module
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)
    return model


def _params(module: nn.Module, recurse: bool = True) -> int:
    return sum(parameter.numel() for parameter in module.parameters(recurse))
