"""The plan noun: for every parameter of the network, exactly one chain of schemes."""

from __future__ import annotations

import fnmatch
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from sepnet.core.errors import RecipeError
from sepnet.core.network import KINDS
from sepnet.core.recipe import Chain, Recipe, Rule
from sepnet.core.registry import Shelf
from sepnet.core.scheme import Scheme, Site, make_scheme

__all__ = ["Plan", "PlannedWeight", "make_plan"]


@dataclass(frozen=True)
class PlannedWeight:
    """One parameter and what will be done to it.  `rule` is the rule's index, -1 for the rest."""

    site: Site
    schemes: tuple[Scheme, ...]
    rule: int
    codec: str = "auto"


@dataclass(frozen=True)
class Plan:
    """Every parameter exactly once, in the network's order."""

    weights: tuple[PlannedWeight, ...]


def make_plan(recipe: Recipe, sites: Sequence[Site], shelf: Shelf[type[Scheme]]) -> Plan:
    """Match a recipe's rules against a network's parameters.

    Rules speak of weights (two or more dimensions); biases and norms follow `rest.biases`.  Raises `RecipeError` when a
    rule matches nothing (the layer names are listed), when two rules match the same layer, or when a scheme cannot work on
    a layer that its rule names outright.
    """
    matchable = [site for site in sites if _is_weight(site)]
    owner: dict[str, int] = {}
    for index, rule in enumerate(recipe.rule):
        for site in _matches(recipe, index, rule, matchable):
            if site.name in owner:
                raise RecipeError(
                    f"recipe {recipe.name}: rules {owner[site.name] + 1} and {index + 1} both name layer {site.layer!r}; a weight has one rule"
                )
            owner[site.name] = index
    planned = []
    for site in sites:
        index = owner.get(site.name, -1)
        rest = recipe.rest.weights if _is_weight(site) else recipe.rest.biases
        rule = recipe.rule[index] if index >= 0 else Rule(schemes=rest)
        chain = _chain(recipe, rule.schemes, site, shelf, where=f"rule {index + 1}" if index >= 0 else "rest")
        planned.append(PlannedWeight(site, chain, index, rule.codec))
    return Plan(tuple(planned))


def _is_weight(site: Site) -> bool:
    return site.kind != "norm" and len(site.shape) >= 2


def _matches(recipe: Recipe, index: int, rule: Rule, sites: Sequence[Site]) -> list[Site]:
    if not rule.layers:
        raise RecipeError(f'recipe {recipe.name}: rule {index + 1} names no layers; say layers = ["*"] for all')
    unknown = [kind for kind in rule.kinds if kind not in KINDS]
    if unknown:
        raise RecipeError(
            f"recipe {recipe.name}: rule {index + 1}: unknown kind {unknown[0]!r}; choices: {', '.join(KINDS)}"
        )
    allowed = [site for site in sites if not rule.kinds or site.kind in rule.kinds]
    found: dict[str, Site] = {}
    for pattern in rule.layers:
        hits = [site for site in allowed if fnmatch.fnmatchcase(site.layer, pattern)]
        if not hits:
            names = ", ".join(f"{site.layer or '(the network itself)'} ({site.kind})" for site in sites)
            kinds = f" of kind {' or '.join(rule.kinds)}" if rule.kinds else ""
            raise RecipeError(
                f"recipe {recipe.name}: rule {index + 1}: {pattern!r} matches no layer{kinds}; the layers are: {names}"
            )
        found.update({site.name: site for site in hits})
    return list(found.values())


def _chain(recipe: Recipe, tables: Chain, site: Site, shelf: Shelf[type[Scheme]], *, where: str) -> tuple[Scheme, ...]:
    where = f"recipe {recipe.name}: {where}"
    if not tables:
        raise RecipeError(
            f'{where}: the chain of schemes is empty; say scheme = "keep" to store the weights as they are'
        )
    chain = tuple(make_scheme(table, shelf, where) for table in tables)
    if not chain[-1].codes:
        chain = (*chain, make_scheme({"scheme": "keep"}, shelf, where))
    for scheme in chain[:-1]:
        if scheme.codes:
            raise RecipeError(f"{where}: nothing can follow scheme {scheme.name!r}, which already gives the codes")
    if len({scheme.name for scheme in chain}) < len(chain):
        raise RecipeError(f"{where}: a scheme occurs twice in one chain: {', '.join(scheme.name for scheme in chain)}")
    if len(chain) > 1 and not chain[-1].zeros:
        raise RecipeError(f"{where}: {chain[-1].name!r} cannot follow {chain[-2].name!r}: it would undo the zeros")
    _check_stages(recipe, chain, where)
    for scheme in chain:
        reason = scheme.refuse(site)
        if site.tied and scheme.name != "keep":
            reason = f"its {site.parameter} is tied to {', '.join(site.tied)}; only keep can store tied weights"
        if reason:
            raise RecipeError(f"{where}: scheme {scheme.name!r} cannot work on layer {site.layer!r}: {reason}")
    return chain


def _check_stages(recipe: Recipe, chain: tuple[Scheme, ...], where: str) -> None:
    """A scheme that follows a gradual one must find it finished."""
    for before, after in itertools.pairwise(chain):
        for stage in recipe.stage:
            if before.settles and before.name in stage.start and after.name in stage.start:
                raise RecipeError(
                    f"{where}: stage {stage.name!r} starts {before.name!r}, which takes the whole stage, and {after.name!r} after it; start {after.name!r} in a later stage"
                )
