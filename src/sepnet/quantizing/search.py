"""Find the setting at which a measured number comes as near to a target as it may."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

__all__ = ["approach"]

Result = TypeVar("Result")


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
    nearest to the target.  Stops when a number is between `near * target` and `target`.

    >>> setting, number, _ = approach(lambda x: (5 * x * x, None), 20.0, 1.0, 1.0)
    >>> round(setting, 1), number <= 20.0
    (2.0, True)
    """
    known: list[tuple[float, float]] = []
    best: tuple[float, float, Result] | None = None
    setting = first
    for _ in range(tries):
        number, result = measure(setting)
        if number <= target and (best is None or (setting > best[0]) == (power > 0)):
            best = setting, number, result
        if near * target <= number <= target:
            break
        known.append((math.log(setting), math.log(max(number, 1e-30))))
        setting = math.exp(_next(known, math.log((1 + near) / 2 * target), power))
    return best


def _next(known: list[tuple[float, float]], goal: float, power: float) -> float:
    by_distance = sorted(known, key=lambda pair: abs(pair[1] - goal))
    at, number = by_distance[0]
    if len(by_distance) > 1:
        other, far = by_distance[1]
        measured = (number - far) / (at - other) if at != other else power
        if measured / power > 0.2:
            power = max(min(measured / power, 5.0), 0.2) * power
    move = (goal - number) / power
    return at + max(-3.0, min(3.0, move))
