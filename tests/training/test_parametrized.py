"""A network under its plan: chains start in order, codes are what the network computes with, the user's module is left alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from sepnet.core.plan import make_plan
from sepnet.core.recipe import Recipe, Rule
from sepnet.schemes import SCHEMES
from sepnet.steps.inspect import inspect
from sepnet.training.parametrized import ParametrizedNetwork, sites, tied_names

PRUNE: dict[str, Any] = {"scheme": "prune", "sparsity": 0.75}
CUBIC = {**PRUNE, "schedule": "cubic"}
ITERATIVE = {**PRUNE, "schedule": "iterative"}
LAST: list[dict[str, Any]] = [{"scheme": "linear", "bits": 4}, {"scheme": "share", "bits": 3}, {"scheme": "keep"}]


def network_of(model: nn.Module, *rules: Rule) -> ParametrizedNetwork:
    plan = make_plan(Recipe("t", rules), sites(model, inspect(model, (1, 8, 8))), SCHEMES)
    return ParametrizedNetwork(model, plan)


def zeros(network: ParametrizedNetwork, name: str) -> float:
    (tensor,) = [tensor for tensor in network.coded() if tensor.name == name]
    return 1 - tensor.kept / tensor.codes.size


def assert_codes_are_the_network(network: ParametrizedNetwork) -> None:
    state = network.state()
    for tensor in network.coded():
        wanted = state[tensor.name]
        room = 2.0**-10 * np.abs(wanted) + 2.0**-18 * np.abs(wanted).max(initial=0.0)
        assert np.all(np.abs(tensor.restore() - wanted) <= room), tensor.name


@pytest.mark.parametrize("prune", [PRUNE, CUBIC, ITERATIVE], ids=["one-shot", "cubic", "iterative"])
@pytest.mark.parametrize("last", LAST, ids=lambda table: table["scheme"])
@pytest.mark.parametrize("how", ["rest", "one after the other", "together"])
def test_a_later_scheme_of_a_chain_keeps_the_zeros(trained: nn.Module, prune: Any, last: Any, how: str) -> None:
    network = network_of(trained, Rule((prune, last), ("fc1",)))
    if how == "rest":
        network.start_rest()
    elif how == "together":
        network.start((last["scheme"], "prune"))
        network.advance(("prune",), 1.0)
    else:
        network.start(("prune",))
        network.start((last["scheme"],))
    network.advance(("prune",), 1.0)
    assert zeros(network, "fc1.weight") >= 0.75
    assert last["scheme"] == "linear" or zeros(network, "fc1.weight") == 0.75
    assert_codes_are_the_network(network)
    chain = next(tensor.schemes for tensor in network.coded() if tensor.name == "fc1.weight")
    assert chain == ("prune", last["scheme"])


def test_the_step_is_chosen_on_what_pruning_left(trained: nn.Module) -> None:
    linear = {"scheme": "linear", "bits": 3}
    both, alone = network_of(trained, Rule((CUBIC, linear), ("fc1",))), network_of(trained, Rule((PRUNE,), ("fc1",)))
    both.start_rest()
    alone.start_rest()
    weight = torch.from_numpy(alone.state()["fc1.weight"])
    wanted = SCHEMES["linear"](bits=3).attach(weight, [])(weight)  # type: ignore[call-arg]
    assert torch.equal(torch.from_numpy(both.state()["fc1.weight"]), wanted)


def test_starting_twice_changes_nothing(trained: nn.Module) -> None:
    network = network_of(trained, Rule((PRUNE, LAST[1]), ("fc*",)))
    network.start(("prune",))
    network.start(("prune", "share"))
    before = {name: array.copy() for name, array in network.state().items()}
    network.start(("prune", "share"))
    network.start_rest()
    keeps = {name for name in before if not name.startswith("fc") or name.endswith("bias")}
    assert keeps and all(np.array_equal(before[name], array) for name, array in network.state().items())


def test_one_magnitude_for_all_layers_of_a_rule(trained: nn.Module) -> None:
    network = network_of(trained, Rule(({"scheme": "pattern", "scale": "global"},), ("stem", "conv")))
    network.start(("pattern",))
    state = network.state()
    weights = [trained.get_parameter(f"{name}.weight").detach().numpy().ravel() for name in ("stem", "conv")]
    wanted = np.abs(np.concatenate(weights)).mean()
    for name in ("stem", "conv"):
        assert np.abs(state[f"{name}.weight"]) == pytest.approx(wanted, rel=1e-5)


def test_before_anything_starts_the_network_is_the_users(trained: nn.Module) -> None:
    network = network_of(trained, Rule((PRUNE, LAST[0]), ("*",)))
    assert list(network.state()) == list(trained.state_dict())
    for name, tensor in trained.state_dict().items():
        assert np.array_equal(network.state()[name], tensor.numpy())
    assert {tensor.values for tensor in network.coded()} == {"float32"}
    assert len(network.coded()) == len(list(trained.parameters()))


TABLES = st.sampled_from([PRUNE, CUBIC, *LAST, {"scheme": "pattern"}, {"scheme": "linear", "bits": 8, "per": "filter"}])


@settings(deadline=None, max_examples=40)
@given(
    st.lists(st.tuples(st.sampled_from(["stem", "conv", "fc1", "fc2"]), TABLES, TABLES), max_size=4),
    st.lists(st.sampled_from(list(SCHEMES)), max_size=4),
)
def test_any_plan_in_any_order_of_stages(rules: list[tuple[str, Any, Any]], starts: list[str]) -> None:
    torch.manual_seed(0)
    model = nn.Sequential()
    for name, layer in {
        "stem": nn.Conv2d(1, 3, 3),
        "conv": nn.Conv2d(3, 4, 3, groups=1),
        "flat": nn.Flatten(),
        "fc1": nn.Linear(64, 6),
        "fc2": nn.Linear(6, 4),
    }.items():
        model.add_module(name, layer)
    chosen = {}
    for name, first, second in rules:
        chain = (
            (first, second) if first["scheme"] == "prune" and second["scheme"] not in ("prune", "pattern") else (first,)
        )
        if not (name.startswith("fc") and chain[-1]["scheme"] == "pattern"):
            chosen[name] = Rule(chain, (name,))
    network = network_of(model, *chosen.values())
    for name in starts:
        if name != "keep" and all(name == rule.schemes[0]["scheme"] for rule in chosen.values()):
            network.start((name,))
            assert_codes_are_the_network(network)
    network.start_rest()
    network.advance(list(SCHEMES), 1.0)
    assert_codes_are_the_network(network)
    for name, rule in chosen.items():
        assert rule.schemes[0]["scheme"] != "prune" or zeros(network, f"{name}.weight") >= 0.74
    assert [site.name for site in (weight.site for weight in network.plan.weights)] == [
        n for n, _ in model.named_parameters()
    ]


def test_tied_names_and_the_order_of_sites() -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))
            self.one = nn.Linear(2, 2)
            self.two = nn.Linear(2, 2)
            self.two.weight = self.one.weight
            self.three = self.one

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.three(self.two(self.one(x))) * self.scale  # type: ignore[no-any-return]

    model = Tied()
    assert tied_names(model) == {
        "two.weight": "one.weight",
        "three.weight": "one.weight",
        "three.bias": "one.bias",
    }
    found = {site.name: site for site in sites(model, inspect(model, (2,)))}
    assert list(found) == ["scale", "one.weight", "one.bias", "two.bias"]
    assert found["one.weight"].tied == ("two.weight", "three.weight") and found["one.weight"].kind == "fc"
    assert found["scale"].layer == "" and found["scale"].kind == "other"
