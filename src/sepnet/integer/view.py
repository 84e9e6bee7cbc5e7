"""How the numbers of a tensor lie in a map: what transposing and reshaping come to while nothing is moved."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from sepnet.integer.value import Shape

__all__ = ["Factor", "View", "lying", "steps_of"]

Number = TypeVar("Number", bound=np.generic)
Factor = tuple[int, int]
"""(count, step): so many numbers, each so far from the one before, in a map (channels, height, width); step 0 repeats one."""
Factors = tuple[Factor, ...]


@dataclass(frozen=True)
class View:
    """A tensor of one example, the batch side of 1 included, as numbers of a map.

    Attributes:
        sides: of the tensor.
        factors: of each side, the outermost first; their counts multiply to the side, and none is 1.

    >>> flat = View.of((2, 3, 4)).transposed((0, 2, 3, 1)).reshaped((1, 24))
    >>> flat.factors, flat.places()[:4].tolist()
    (((), ((12, 1), (2, 12))), [0, 12, 1, 13])
    """

    sides: tuple[int, ...]
    factors: tuple[Factors, ...]

    @classmethod
    def of(cls, shape: Shape, sides: Sequence[int] | None = None) -> View:
        """A map as it is, a batch side before it; `sides` are those of the tensor, if they are others of as many numbers."""
        whole = cls(
            (1, *shape), ((), *(_kept([(side, step)]) for side, step in zip(shape, steps_of(shape), strict=True)))
        )
        found = whole if sides is None else whole.reshaped(sides)
        if found is None:
            raise ValueError(f"{math.prod(shape)} numbers cannot have the sides {list(sides or ())}")
        return found

    @classmethod
    def along(cls, axes: Sequence[Sequence[int]], shape: Shape) -> View:
        """Sides that are axes of a map, or several of them one after the other: 0 channels, 1 height, 2 width."""
        steps = steps_of(shape)
        sides = tuple(math.prod(shape[axis] for axis in each) for each in axes)
        return cls(sides, tuple(_merged([(shape[axis], steps[axis]) for axis in each]) for each in axes))

    def transposed(self, order: Sequence[int]) -> View:
        """Its sides in another order."""
        return View(tuple(self.sides[at] for at in order), tuple(self.factors[at] for at in order))

    def reshaped(self, sides: Sequence[int]) -> View | None:
        """The same numbers in the same order with other sides; None if these cut through a factor."""
        if math.prod(sides) != math.prod(self.sides) or min(sides, default=1) < 1:
            return None
        left = list(_merged([factor for each in self.factors for factor in each]))[::-1]
        found: list[Factors] = []
        for side in sides:
            parts: list[Factor] = []
            while side > 1:
                count, step = left.pop()
                shared = math.gcd(count, side)
                if shared != min(count, side):
                    return None
                if shared < count:
                    left.append((count // shared, step))
                    step *= count // shared
                parts.append((shared, step))
                side //= shared
            found.append(_merged(parts))
        return View(tuple(sides), tuple(found))

    def axes(self, shape: Shape) -> tuple[tuple[int, ...], ...] | None:
        """The axes of the map that each side is made of; None if some side is made of something else."""
        steps = steps_of(shape)
        found = []
        for factors in self.factors:
            axes: list[int] = []
            for count, step in reversed(factors):
                while count > 1:
                    axis = next((at for at in range(3) if shape[at] > 1 and steps[at] == step), None)
                    if axis is None or count % shape[axis]:
                        return None
                    axes.insert(0, axis)
                    count, step = count // shape[axis], step * shape[axis]
            found.append(tuple(axes))
        return tuple(found)

    def places(self) -> npt.NDArray[np.int64]:
        """The place in the flattened map of each number, in the tensor's order."""
        places = np.zeros(1, np.int64)
        for count, step in (factor for each in self.factors for factor in each):
            places = (places[:, None] + step * np.arange(count)).ravel()
        return places

    def taken(self, maps: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Tensors of maps (n, channels, height, width), the batch side as long as there are examples."""
        found = maps.reshape(len(maps), math.prod(maps.shape[1:]))
        if not self.plain:
            found = found[:, self.places()]
        return found.reshape(len(maps) * self.sides[0], *self.sides[1:])

    def put(self, tensors: npt.NDArray[Number], shape: Shape) -> npt.NDArray[Number]:
        """Maps of tensors: the way back."""
        count = tensors.size // math.prod(shape)
        found = tensors.reshape(count, math.prod(shape))
        if not self.plain:
            found = found[:, np.argsort(self.places())]
        return found.reshape(count, *shape)

    def lies(self, shape: Shape) -> bool:
        """Whether the tensor's numbers follow one another in memory, where a map lies height x width x channels."""
        factors = _merged([each for side in self.factors for each in lying(side, shape)])
        return len(factors) < 2 and all(step == 1 for _, step in factors)

    @property
    def plain(self) -> bool:
        """Whether the numbers of the map are in the tensor's order."""
        factors = _merged([factor for each in self.factors for factor in each])
        return len(factors) < 2 and all(step == 1 for _, step in factors)


def steps_of(shape: Shape) -> Shape:
    """Numbers between neighbours along each side of a map.

    >>> steps_of((2, 3, 4))
    (12, 4, 1)
    """
    return shape[1] * shape[2], shape[2], 1


def _kept(factors: Sequence[Factor]) -> Factors:
    return tuple(factor for factor in factors if factor[0] > 1)


def _merged(factors: Sequence[Factor]) -> Factors:
    """Neighbours that are one run made one."""
    found: list[Factor] = []
    for count, step in _kept(factors):
        if found and found[-1][1] == count * step:
            found[-1] = found[-1][0] * count, step
        else:
            found.append((count, step))
    return tuple(found)


def lying(factors: Sequence[Factor], shape: Shape) -> Factors:
    """The same factors in numbers of memory, where a map lies height x width x channels.

    Raises `ValueError` where a factor goes on beyond the end of an axis at another place than its begin.

    >>> lying([(24, 1)], (2, 3, 4)), lying([(3, 4)], (2, 3, 4))
    (((2, 1), (3, 8), (4, 2)), ((3, 8),))
    """
    steps, memory = steps_of(shape), (1, shape[2] * shape[0], shape[0])
    found: list[Factor] = []
    for count, step in factors:
        parts: list[Factor] = []
        while count > 1 and step:
            axis = next(at for at in range(3) if steps[at] <= step < steps[at] * shape[at])
            by, rest = divmod(step, steps[axis])
            room = -(-shape[axis] // by)
            if rest or (count > room and (shape[axis] % by or count % room)):
                raise ValueError(f"{count} numbers {step} apart lie across the axes of a map {list(shape)}")
            parts.insert(0, (min(count, room), by * memory[axis]))
            count, step = count // min(count, room), steps[axis] * shape[axis]
        found += parts if step or count == 1 else [(count, 0)]
    return tuple(found)
