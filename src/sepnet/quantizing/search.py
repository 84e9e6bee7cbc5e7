"""Find the setting at which a measured number comes as near to a target as it may."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

__all__ = ["approach"]

Result = TypeVar("Result")
BACK, CLOSE = 0.3, 0.02
"""Of the natural logarithm of settings: how far back after a second miss, then three times as far each; and what is near enough."""


def approach(
    measure: Callable[[float], tuple[float, Result]],
    target: float,
    first: float,
    power: float,
    *,
    near: float = 0.93,
    tries: int = 7,
) -> tuple[float, float, Result] | None:
    """The setting, number and result of the try that went furthest with a number of at most `target`; None if none had one.

    Furthest is the largest setting if `power` is above 0, else the smallest; measured numbers may be noisy.

    Numbers are taken to go with a power of the setting: the first guess of it is `power`, later ones come from the tries
    nearest to the target.  Once a try met the target and one further off did not, the next lies between them; as long as none
    met it, each goes back further than the one before.  Stops when a number is between `near * target` and `target`, or the two are
    `CLOSE` to each other.

    >>> setting, number, _ = approach(lambda x: (5 * x * x, None), 20.0, 1.0, 1.0)
    >>> round(setting, 1), number <= 20.0
    (2.0, True)
    """
    known: list[tuple[float, float]] = []
    best: tuple[float, float, Result] | None = None
    goal, far = math.log((1 + near) / 2 * target), 1 if power > 0 else -1
    setting = first
    for _ in range(tries):
        number, result = measure(setting)
        if number <= target and (best is None or (setting > best[0]) == (power > 0)):
            best = setting, number, result
        if near * target <= number <= target:
            break
        known.append((math.log(setting), math.log(min(max(number, 1e-30), 1e30))))
        met = None if best is None else far * math.log(best[0])
        missed = [far * at for at, number in known if number > math.log(target) and (met is None or far * at > met)]
        if met is not None and missed and min(missed) - met < CLOSE:
            break
        setting = math.exp(far * _between(far * _next(known, goal, power), met, missed))
    return best


def _between(guess: float, met: float | None, missed: list[float]) -> float:
    """`guess`, or the nearest to it that lies well between what met the target and what missed it."""
    if not missed:
        return guess
    if met is None:
        return min(guess, min(missed) - (min(BACK * 3 ** (len(missed) - 2), 3.0) if len(missed) > 1 else 0.0))
    margin = 0.15 * (min(missed) - met)
    return min(max(guess, met + margin), min(missed) - margin)


def _next(known: list[tuple[float, float]], goal: float, power: float) -> float:
    by_distance = sorted(known, key=lambda pair: abs(pair[1] - goal))
    at, number = by_distance[0]
    if len(by_distance) > 1:
        other, far = by_distance[1]
        measured = (number - far) / (at - other) if at != other else power
        if measured / power > 0:
            power = max(min(measured / power, 5.0), 0.2) * power
    move = (goal - number) / power
    return at + max(-3.0, min(3.0, move))
