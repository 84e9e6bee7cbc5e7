"""Open choices of a recipe: found, checked, settled one after the other, and no part of a digest until used."""

from __future__ import annotations

from typing import Any

import pytest

from sepnet.core.choices import open_choices, settle
from sepnet.core.errors import RecipeError
from sepnet.core.recipe import Recipe, Rule, load_recipe


def recipe(*tables: dict[str, Any]) -> Recipe:
    return Recipe("t", name="r", rule=tuple(Rule((table,)) for table in tables))


def test_the_best_value_is_kept_and_the_first_of_equals() -> None:
    open_recipe = recipe({"scheme": "a", "x": {"try": [1, 2, 3]}}, {"scheme": "b", "y": {"try": [5, 6]}, "z": 0})
    seen = []

    def measure(candidate: Recipe) -> float:
        x, y = candidate.rule[0].schemes[0]["x"], candidate.rule[1].schemes[0]["y"]
        seen.append((x, y))
        return 0.5 if (x, y) in ((2, 5), (3, 5), (2, 6)) else 0.1

    settled, tried = settle(open_recipe, measure)
    assert seen == [(1, 5), (2, 5), (3, 5), (2, 5), (2, 6)]
    assert [choice.value for choice in tried] == [2, 5] and tried[0].option == "rule 1, a, x"
    assert tried[0].top1 == {"1": 0.1, "2": 0.5, "3": 0.5}
    assert settled.rule[0].schemes[0] == {"scheme": "a", "x": 2} and settled.rule[1].schemes[0]["z"] == 0
    assert open_choices(settled) == [] and len(open_choices(open_recipe)) == 2


def test_without_choices_nothing_is_measured() -> None:
    plain = recipe({"scheme": "a", "x": 1})
    assert settle(plain, lambda _: pytest.fail("measured")) == (plain, [])


@pytest.mark.parametrize(
    "value", [{"try": [1]}, {"try": 3}, {"try": []}, {"of": [1, 2]}, {"try": [1, 2], "by": "loss"}, {}]
)
def test_what_is_no_choice_is_refused(value: Any) -> None:
    with pytest.raises(RecipeError, match=r"rule 1: x = .*expected one value, or \{ try = \[A, B, ...\] \}"):
        open_choices(recipe({"scheme": "a", "x": value}))


def test_holdout_is_part_of_the_digest_when_it_is_not_the_default() -> None:
    assert Recipe("t", holdout=0).digest() == Recipe("t").digest() != Recipe("t", holdout=100).digest()


def test_holdout_below_zero() -> None:
    with pytest.raises(RecipeError, match=r"recipe r: found holdout = -1; expected 0 or more"):
        load_recipe(Recipe("t", name="r", holdout=-1))
