"""What is known of a graph's values while it is traced: tensors as views of maps, constants, weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.errors import NetworkError
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.onnx_graph import Node, OnnxGraph
from sepnet.integer.operator import Draft
from sepnet.integer.operators.rearrange import Rearrange
from sepnet.integer.value import Shape
from sepnet.integer.view import Factor, View, lying, steps_of
from sepnet.integer.weights import integers_of, quantized
from sepnet.packing.restore import coded_tensors, state_dict

__all__ = ["Array", "GraphValues", "Ref", "Source", "map_shape"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Ref:
    """A value of the graph: the map that holds its numbers, and how they lie there."""

    name: str
    view: View

    @property
    def sides(self) -> tuple[int, ...]:
        """Of the tensor, for one example."""
        return self.view.sides


def map_shape(sides: Sequence[int]) -> Shape | None:
    """The map of a tensor (1, channels, ...): what is missing of height and width is 1, a single side being the width.

    >>> map_shape((1, 8, 50)), map_shape((1, 10)), map_shape((4, 2, 3))
    ((8, 1, 50), (10, 1, 1), None)
    """
    if not 2 <= len(sides) <= 4 or sides[0] != 1:
        return None
    rest = (1,) * (4 - len(sides))
    return sides[1], *((*rest, *sides[2:]) if len(sides) > 2 else (1, 1))  # type: ignore[return-value]


class Source:
    """A packed model's graph and its numbers, read once."""

    def __init__(self, model: PackedModel) -> None:
        self.graph = OnnxGraph.decode(model.graph)
        self.coded: dict[str, CodedTensor] = {each.name: each for each in coded_tensors(model)}
        self.coded |= {alias: self.coded[first] for alias, first in model.header.aliases.items() if first in self.coded}
        if len(self.graph.inputs) != 1 or not self.graph.outputs:
            raise NetworkError(f"the network has {len(self.graph.inputs)} inputs; in integers it can have one")
        self.constants: dict[str, Array] = {**state_dict(model), **self.graph.initializers}


class GraphValues:
    """What is known of the values of a graph while its nodes are gone through.

    Args:
        source: the graph.
        shape, view: of the map that its input is.

    Attributes:
        input: what the network takes.
        known: a `Ref` or an array for every name so far.
        shapes: of maps, by name.
        drafts: operators so far.
        layer: the last layer's weight, for messages.
        opset: version of the graph's operators.
    """

    def __init__(self, source: Source, shape: Shape, view: View) -> None:
        self.graph, self.coded, self.opset = source.graph, source.coded, source.graph.opset
        self.known: dict[str, Ref | Array] = dict(source.constants)
        self.input = Ref(self.graph.inputs[0], view)
        self.known[self.input.name] = self.input
        self.shapes: dict[str, Shape] = {self.input.name: shape}
        self.drafts: list[Draft] = []
        self.layer = ""

    def unsupported(self, node: Node, reason: str) -> NetworkError:
        """The error that says which operator cannot be done, after which layer, and why."""
        where = f" after layer {self.layer!r}" if self.layer else ""
        return NetworkError(
            f"operator {node.op} (value {node.outputs[0]!r}{where}) has no integer form here{f': {reason}' if reason else ''}; "
            "docs/c99.md lists those that have one"
        )

    # What nodes read

    def ref(self, node: Node, at: int = 0) -> Ref:
        """An input that depends on the network's."""
        value = self.known.get(node.inputs[at]) if at < len(node.inputs) else None
        if not isinstance(value, Ref):
            raise self.unsupported(node, f"input {at} does not depend on the network's input")
        return value

    def map_of(self, node: Node, at: int = 0) -> Ref:
        """The same as a map (channels, height, width), channels first; what lies otherwise is rearranged."""
        ref = self.ref(node, at)
        shape = map_shape(ref.sides)
        if shape is None:
            raise self.unsupported(node, f"it works on a value of shape {list(ref.sides)}")
        return self.laid(node, ref, shape, View.of(shape, ref.sides))

    def by_channel(self, node: Node, ref: Ref, side: int) -> tuple[Ref, tuple[tuple[int, ...], ...]]:
        """The value in a map whose channels are that side, and the axes that each of its sides is made of."""
        axes = ref.view.axes(self.shapes[ref.name])
        alone = ref.sides[side] == self.shapes[ref.name][0] == 1
        if axes is not None and (alone or axes[side] == (0,)):
            return ref, tuple((0,) if at == side else each for at, each in enumerate(axes))
        rest = [at for at, length in enumerate(ref.sides) if at != side and length > 1]
        if len(rest) > 2:
            raise self.unsupported(node, f"it works on a value of shape {list(ref.sides)}")
        high = math.prod(ref.sides[at] for at in rest[:-1])
        shape = (ref.sides[side], high, ref.sides[rest[-1]] if rest else 1)
        factors = [factor for at in rest[:-1] for factor in ref.view.factors[at]]
        last = ref.view.factors[rest[-1]] if rest else ()
        moved = self.rearranged(ref, shape, (ref.view.factors[side], factors, last))
        places = {side: (0,), **{at: (1,) for at in rest[:-1]}, **({rest[-1]: (2,)} if rest else {})}
        found = tuple(places.get(at, ()) for at in range(len(ref.sides)))
        return Ref(moved, View.along(found, shape)), found

    def laid(self, node: Node, ref: Ref, shape: Shape, view: View) -> Ref:
        """The value, broadcast to the view's sides, as that view of a map of that shape; it may be so already."""
        if self.shapes[ref.name] == shape and ref.view == view:
            return ref
        try:
            factors = self._along(ref, shape, view)
        except ValueError as error:
            raise self.unsupported(node, f"{error}: {list(ref.sides)} and {list(view.sides)}") from error
        return Ref(self.rearranged(ref, shape, factors), view)

    def flattened(self, ref: Ref) -> Ref:
        """The value in a map of one pixel whose channels are its numbers in the tensor's order."""
        shape = math.prod(ref.sides), 1, 1
        factors = [factor for each in ref.view.factors for factor in each]
        return Ref(self.rearranged(ref, shape, (factors, (), ())), View.of(shape, ref.sides))

    def reshaped(self, ref: Ref, sides: Sequence[int]) -> Ref:
        """The same numbers with other sides; rearranged only where these cut through axes of the map."""
        view = ref.view.reshaped(sides)
        try:
            for each in view.factors if view else ():
                lying(each, self.shapes[ref.name])
        except ValueError:
            view = None
        if view is None:
            ref = self.flattened(ref)
            view = View.of(self.shapes[ref.name], sides)
        return Ref(ref.name, view)

    def _along(self, ref: Ref, shape: Shape, view: View) -> tuple[Sequence[Factor], ...]:
        """Factors in the map of `ref` of each side of another map, whose view has the same sides or broadcasts to them."""
        steps = steps_of(shape)
        found: list[list[tuple[int, Factor]]] = [[], [], []]
        short = len(view.sides) - len(ref.sides)
        for at, own in enumerate(view.factors):
            side = ref.sides[at - short] if at >= short else 1
            theirs = list(ref.view.factors[at - short]) if side > 1 else [(view.sides[at], 0)]
            for step, factor in _paired(list(own), theirs):
                axis = next(each for each in range(3) if steps[each] <= step < steps[each] * shape[each])
                while (room := shape[axis] * steps[axis] // step) < factor[0]:
                    if factor[0] % room:
                        raise ValueError("sides of a tensor lie across those of another")
                    found[axis].append((step, (room, factor[1])))
                    step, factor = step * room, (factor[0] // room, factor[1] * room)
                    axis = next(each for each in range(3) if steps[each] <= step < steps[each] * shape[each])
                found[axis].append((step, factor))
        return tuple([factor for _, factor in sorted(each, key=lambda pair: -pair[0])] for each in found)

    def rearranged(self, ref: Ref, shape: Shape, factors: Sequence[Sequence[Factor]]) -> str:
        """The name of a map whose sides are these factors of the map of `ref`."""
        name = f"{ref.name} as {' x '.join(map(str, shape))}"
        while name in self.shapes:
            name += "'"
        channels, rows, columns = (tuple(factor for factor in each if factor[0] > 1) for each in factors)
        self.drafts.append(Rearrange(ref.name, name, (channels, rows, columns)))
        self.shapes[name] = shape
        return name

    def readable(self, ref: Ref) -> Ref:
        """An output whose numbers lie in the tensor's order, or in the map's height x width x channels."""
        if ref.view.plain or ref.view.lies(self.shapes[ref.name]):
            return ref
        if len(ref.sides) < 3:
            return self.flattened(ref)
        *parts, rows, columns = ref.view.factors
        shape = math.prod(ref.sides[:-2]), ref.sides[-2], ref.sides[-1]
        first = [factor for each in parts for factor in each]
        return Ref(self.rearranged(ref, shape, (first, rows, columns)), View.of(shape, ref.sides))

    def constant(self, node: Node, at: int) -> Array | None:
        """A constant input; None where it is left out."""
        if at >= len(node.inputs) or not node.inputs[at]:
            return None
        value = self.known.get(node.inputs[at])
        if not isinstance(value, np.ndarray):
            raise self.unsupported(node, f"its input {at} is not constant")
        return value

    def given(self, node: Node, at: int) -> Array:
        """A constant input that must not be left out."""
        value = self.constant(node, at)
        if value is None:
            raise self.unsupported(node, f"found no input {at}; expected a constant")
        return value

    def integers(self, node: Node, name: str, at: int) -> tuple[int, ...]:
        """Numbers that are an attribute in older operators and an input in newer ones; () where both are left out."""
        found = self.constant(node, at)
        return node.integers(name) if found is None else tuple(int(each) for each in found.ravel())

    def weight(self, node: Node, at: int, turned: bool = False) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
        """A weight and the scales of its filters; `turned` when filters are its columns."""
        coded = self.coded.get(node.inputs[at])
        if coded is not None and not turned:
            return integers_of(coded)
        weight = self.given(node, at)
        return quantized(weight.T if turned else weight)

    # What nodes give

    def give(self, node: Node, draft: Draft, shape: Shape, view: View | None = None) -> Ref:
        """Notes an operator, and its output: a map of that shape, channels first if no view says otherwise."""
        if min(shape) < 1:
            raise self.unsupported(node, f"its output would have the shape {list(shape)}")
        self.drafts.append(draft)
        self.shapes[draft.target] = shape
        found = self.known[draft.target] = Ref(draft.target, View.of(shape) if view is None else view)
        return found


def _paired(own: list[Factor], theirs: list[Factor]) -> list[tuple[int, Factor]]:
    """(step of its own, factor of theirs) for factors of the same side, cut where either is; outermost first.

    Raises `ValueError` where they cut through each other.
    """
    found: list[tuple[int, Factor]] = []
    own, theirs = own[::-1], theirs[::-1]
    while own:
        (count, step), (other, move) = own.pop(0), theirs.pop(0)
        shared = math.gcd(count, other)
        if shared != min(count, other):
            raise ValueError("sides of a tensor lie across those of another")
        if count > shared:
            own.insert(0, (count // shared, step * shared))
        if other > shared:
            theirs.insert(0, (other // shared, move * shared))
        found.insert(0, (step, (shared, move)))
    return found
