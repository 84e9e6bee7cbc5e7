"""Open choices of a recipe: a scheme's option given as `{ try = [...] }`, of which the best value is found on held-out images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from sepnet.core.errors import RecipeError
from sepnet.core.recipe import Recipe

__all__ = ["Choice", "Tried", "open_choices", "settle"]


@dataclass(frozen=True)
class Choice:
    """One open option: of rule `rule`'s scheme number `scheme` (counted from 0)."""

    rule: int
    scheme: int
    key: str
    values: tuple[Any, ...]

    def made(self, recipe: Recipe, value: Any) -> Recipe:
        """The recipe with this option set."""
        rule = recipe.rule[self.rule]
        table = {**rule.schemes[self.scheme], self.key: value}
        chain = (*rule.schemes[: self.scheme], table, *rule.schemes[self.scheme + 1 :])
        changed = msgspec.structs.replace(rule, schemes=chain)
        rules = (*recipe.rule[: self.rule], changed, *recipe.rule[self.rule + 1 :])
        return msgspec.structs.replace(recipe, rule=rules)


@dataclass(frozen=True)
class Tried:
    """What came of a choice: the value kept, and the top-1 of each value on the held-out images.

    Attributes:
        option: "rule 1, pattern, offset".
        top1: a fraction for each value, by the value's text.
    """

    option: str
    value: Any
    top1: dict[str, float]


def open_choices(recipe: Recipe) -> list[Choice]:
    """Every `{ try = [...] }` of the rules, in order.

    Raises `RecipeError` for one that is not a list of two values or more.

    >>> from sepnet.core.recipe import Rule
    >>> rule = Rule(({"scheme": "pattern", "scale": "global", "offset": {"try": [0.05, 0.09]}},))
    >>> [(choice.key, choice.values) for choice in open_choices(Recipe("t", rule=(rule,)))]
    [('offset', (0.05, 0.09))]
    """
    found = []
    for at, rule in enumerate(recipe.rule):
        for place, table in enumerate(rule.schemes):
            for key, value in table.items():
                if isinstance(value, dict):
                    values = value.get("try")
                    if set(value) != {"try"} or not isinstance(values, list) or len(values) < 2:
                        raise RecipeError(
                            f"recipe {recipe.name}: rule {at + 1}: {key} = {value}; expected one value, or {{ try = [A, B, ...] }}"
                        )
                    found.append(Choice(at, place, key, tuple(values)))
    return found


def settle(recipe: Recipe, measure: Callable[[Recipe], float]) -> tuple[Recipe, list[Tried]]:
    """The recipe with every choice made, one after the other: the value of the greatest `measure`, the first of equals.

    While one choice is tried, those after it stand at their first value.
    """
    choices = open_choices(recipe)
    for choice in choices:
        recipe = choice.made(recipe, choice.values[0])
    tried = []
    for choice in choices:
        scores = [measure(choice.made(recipe, value)) for value in choice.values]
        best = choice.values[scores.index(max(scores))]
        recipe = choice.made(recipe, best)
        scheme = recipe.rule[choice.rule].schemes[choice.scheme].get("scheme")
        option = f"rule {choice.rule + 1}, {scheme}, {choice.key}"
        tried.append(Tried(option, best, {str(v): score for v, score in zip(choice.values, scores, strict=True)}))
    return recipe, tried
