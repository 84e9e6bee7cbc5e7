"""Plans: every parameter has exactly one chain, or the recipe is refused with a reason that one can act on."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sepnet.core.errors import RecipeError
from sepnet.core.network import KINDS
from sepnet.core.plan import Plan, make_plan
from sepnet.core.recipe import Recipe, Rest, Rule, Stage
from sepnet.core.scheme import Site
from sepnet.networks import build
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import sites

KEEP, PATTERN, LINEAR, SHARE = ({"scheme": name} for name in ("keep", "pattern", "linear", "share"))
PRUNE = {"scheme": "prune", "sparsity": 0.5}


@functools.cache
def sites_of(name: str) -> tuple[Site, ...]:
    model = build(name)
    return tuple(sites(model, inspect(model, (1, 28, 28))))


def plan(recipe: Recipe, network: str | Sequence[Site] = "lenet5") -> Plan:
    found = sites_of(network) if isinstance(network, str) else network
    return make_plan(recipe, found, SCHEMES)


def refused(recipe: Recipe, network: str | Sequence[Site] = "lenet5") -> str:
    with pytest.raises(RecipeError) as raised:
        plan(recipe, network)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def chains(made: Plan) -> dict[str, str]:
    return {weight.site.name: " ".join(scheme.name for scheme in weight.schemes) for weight in made.weights}


GLOBS = ("*", "fc*", "fc1", "conv?", "conv*", "*_bn", "stem", "mix", "depth*", "[rd]*", "nothing", "fc")
TABLES = st.sampled_from([KEEP, PATTERN, LINEAR, SHARE, PRUNE, {"scheme": "linear", "per": "filter"}])
RULES = st.builds(
    Rule,
    schemes=st.lists(TABLES, min_size=1, max_size=3).map(tuple),
    layers=st.lists(st.sampled_from(GLOBS), min_size=1, max_size=3).map(tuple),
    kinds=st.lists(st.sampled_from(KINDS), max_size=2).map(tuple),
)
RESTS = st.builds(Rest, weights=st.lists(TABLES, max_size=2).map(tuple), biases=st.just((KEEP,)))


@settings(deadline=None)
@given(st.lists(RULES, max_size=4), RESTS, st.sampled_from(["lenet300", "lenet5", "mixed_cnn"]))
def test_every_parameter_exactly_once_or_an_error(rules: list[Rule], rest: Rest, network: str) -> None:
    try:
        made = plan(Recipe("t", tuple(rules), rest), network)
    except RecipeError:
        return
    assert [weight.site for weight in made.weights] == list(sites_of(network))
    for weight in made.weights:
        assert weight.schemes and weight.schemes[-1].codes and not any(s.codes for s in weight.schemes[:-1])
        assert all(not scheme.refuse(weight.site) for scheme in weight.schemes)
        is_weight = len(weight.site.shape) >= 2
        assert is_weight or weight.rule == -1
        assert weight.rule < 0 or weight.codec == rules[weight.rule].codec
    used = {weight.rule for weight in made.weights}
    assert used - {-1} == set(range(len(rules)))


def test_rules_then_the_rest() -> None:
    recipe = Recipe("t", (Rule((PRUNE, LINEAR), ("fc*",)), Rule((PRUNE,), kinds=("conv kxk",))), Rest(biases=(LINEAR,)))
    assert chains(plan(recipe)) == {
        "conv1.weight": "prune keep",
        "conv1.bias": "linear",
        "conv2.weight": "prune keep",
        "conv2.bias": "linear",
        "fc1.weight": "prune linear",
        "fc1.bias": "linear",
        "fc2.weight": "prune linear",
        "fc2.bias": "linear",
    }


def test_globs_are_matched_with_case_and_kinds_narrow_them() -> None:
    made = plan(Recipe("t", (Rule((LINEAR,), ("*",), ("depthwise", "conv 1x1")),)), "mixed_cnn")
    assert [w.site.layer for w in made.weights if w.rule == 0] == ["depthwise", "pointwise", "mix"]
    assert "matches no layer" in refused(Recipe("t", (Rule((LINEAR,), ("FC1",)),)))


def test_norms_cannot_be_named() -> None:
    assert "'stem_bn' matches no layer" in refused(Recipe("t", (Rule((LINEAR,), ("stem_bn",)),)), "mixed_cnn")


def test_a_rule_that_matches_nothing_lists_every_layer() -> None:
    message = refused(Recipe("t", (Rule((LINEAR,), ("fc1", "fc9")),), name="mine"))
    assert message.startswith("recipe mine: rule 1: 'fc9' matches no layer")
    for name in ("conv1 (conv kxk)", "conv2 (conv kxk)", "fc1 (fc)", "fc2 (fc)"):
        assert name in message
    assert "of kind depthwise" in refused(Recipe("t", (Rule((LINEAR,), kinds=("depthwise",)),)))
    assert "names no layers" in refused(Recipe("t", (Rule((LINEAR,), layers=()),)))


def test_overlapping_rules() -> None:
    message = refused(Recipe("t", (Rule((LINEAR,), ("fc*",)), Rule((SHARE,), ("conv1",)), Rule((SHARE,), ("*2",)))))
    assert "rules 1 and 3 both name layer 'fc2'" in message or "rules 3 and 1" in message
    assert plan(Recipe("t", (Rule((LINEAR,), ("fc1", "fc*", "fc1")),)))  # one rule may say it twice


def test_unknown_kind() -> None:
    message = refused(Recipe("t", (Rule((LINEAR,), kinds=("conv",)),)))
    assert "unknown kind 'conv'" in message and all(kind in message for kind in KINDS)


@pytest.mark.parametrize(
    "tables, words",
    [
        ((), ["empty", "keep"]),
        (({},), ["scheme = NAME", "keep, linear, pattern, prune, rate, share"]),
        (({"scheme": ["prune"]},), ["scheme = NAME"]),
        (({"scheme": "prun"},), ["unknown scheme 'prun'", "did you mean 'prune'", "rule 1"]),
        ((LINEAR, PRUNE), ["nothing can follow", "linear"]),
        ((LINEAR, KEEP), ["nothing can follow", "linear"]),
        ((PRUNE, PRUNE), ["twice"]),
        (({"scheme": "prune"},), ["exactly one of sparsity and quality"]),
        (({**PRUNE, "quality": 1.0},), ["exactly one of sparsity and quality"]),
        (({**PRUNE, "sparsity": 1.0},), ["sparsity = 1.0"]),
        (({**PRUNE, "sparsity": -0.1},), ["sparsity = -0.1"]),
        (({**PRUNE, "sparsity": "half"},), ["found sparsity = 'half'; expected a number"]),
        (({**PRUNE, "sparsity": True},), ["found sparsity = true; expected a number"]),
        (({**PRUNE, "schedule": "linear"},), ["schedule", "linear"]),
        (({**PRUNE, "sparcity": 0.5},), ["sparcity"]),
        (({**LINEAR, "bits": 0},), ["bits = 0"]),
        (({**LINEAR, "bits": 1},), ["bits = 1", "pattern"]),
        (({**LINEAR, "bits": 9},), ["bits = 9"]),
        (({**LINEAR, "bits": 33},), ["bits = 33"]),
        (({**LINEAR, "bits": 4.5},), ["found bits = 4.5; expected an integer"]),
        (({**LINEAR, "per": "kernel"},), ["per", "kernel"]),
        (({**SHARE, "bits": 0},), ["bits = 0"]),
        (({**SHARE, "bits": 9},), ["bits = 9"]),
        (({**KEEP, "dtype": "float64"},), ["dtype", "float64"]),
    ],
    ids=str,
)
def test_a_wrong_chain_is_named(tables: tuple[dict[str, Any], ...], words: list[str]) -> None:
    message = refused(Recipe("t", (Rule(tables, ("fc1",)),), name="mine"))
    for word in ["recipe mine: rule 1", *words]:
        assert word in message
    assert "recipe mine: rest" in refused(Recipe("t", rest=Rest(weights=tables), name="mine"))


def test_pattern_refuses_what_has_no_kernel_and_what_was_pruned() -> None:
    message = refused(Recipe("t", (Rule((PATTERN,), ("*",)),)))
    assert "layer 'fc1'" in message and "k x k" in message
    assert "layer 'pointwise'" in refused(Recipe("t", (Rule((PATTERN,), ("pointwise",)),)), "mixed_cnn")
    assert "undo the zeros" in refused(Recipe("t", (Rule((PRUNE, PATTERN), ("conv1",)),)))


def test_a_scheme_after_a_gradual_one_needs_a_later_stage() -> None:
    gradual = {**PRUNE, "schedule": "cubic"}
    for after in (LINEAR, SHARE):
        together = (Stage("s", ("prune", after["scheme"]), 2),)
        assert plan(Recipe("t", (Rule((PRUNE, after)),), stage=together))
        assert "later stage" in refused(Recipe("t", (Rule((gradual, after)),), stage=together))
        later = (Stage("s", ("prune",), 2), Stage("t", (after["scheme"],), 2))
        assert plan(Recipe("t", (Rule((gradual, after)),), stage=later))


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 6), nn.Linear(6, 6, bias=False)
        self.second.weight = self.first.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x))


def test_tied_weights_can_only_be_kept() -> None:
    model = Tied()
    found = sites(model, inspect(model, (6,)))
    assert [site.name for site in found] == ["first.weight", "first.bias"]
    assert found[0].tied == ("second.weight",)
    assert chains(plan(Recipe("t"), found)) == {"first.weight": "keep", "first.bias": "keep"}
    for table in (PRUNE, LINEAR, SHARE):
        message = refused(Recipe("t", (Rule((table,), ("first",)),)), found)
        assert "tied to second.weight" in message and "only keep" in message
    assert "matches no layer" in refused(Recipe("t", (Rule((LINEAR,), ("second",)),)), found)
