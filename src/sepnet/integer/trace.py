"""A packed model's graph as operators on maps, weights in integers, sizes worked out.  No scales yet."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.errors import FormatError, NetworkError
from sepnet.core.packed_model import PackedModel
from sepnet.integer.constants import CONSTANTS, fold
from sepnet.integer.drafts import Draft, Function, Linear, Mean, Product, Sum, Trace
from sepnet.integer.functions import clamp_of, function_of
from sepnet.integer.geometry import same_pads, window_pads
from sepnet.integer.model import Concat, Gather, MaxPool, Pad, Slice
from sepnet.integer.weights import integers_of, quantized
from sepnet.packing.onnx_graph import Node, OnnxGraph
from sepnet.packing.restore import coded_tensors, state_dict

__all__ = ["trace"]

Shape = tuple[int, int, int]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Ref:
    """A value of the graph: which map it is, and its sides without the batch (a flattened map is still that map)."""

    name: str
    sides: tuple[int, ...]


def trace(model: PackedModel, shape: Shape | None = None) -> Trace:
    """The operators of a packed model for one example of `shape`, by default that of the header.

    Raises:
        NetworkError: an operator that has no integer form here, named with its layer.
        FormatError: a file without a graph, or one that does not say what its inputs look like.
    """
    if not model.graph:
        raise FormatError("the packed file holds weights alone, no graph that could be run")
    if shape is None:
        if model.header.input is None or len(model.header.input.shape) != 3:
            raise FormatError("the packed file does not say how large its inputs are (header key `input`)")
        sides = model.header.input.shape
        shape = (sides[0], sides[1], sides[2])
    return _Tracer(model, shape).run()


class _Tracer:
    """Goes through the nodes once; `known` has a `Ref` or an array for every name."""

    def __init__(self, model: PackedModel, shape: Shape) -> None:
        self._graph = OnnxGraph.decode(model.graph)
        self._coded: dict[str, CodedTensor] = {each.name: each for each in coded_tensors(model)}
        self._coded |= {
            alias: self._coded[first] for alias, first in model.header.aliases.items() if first in self._coded
        }
        if len(self._graph.inputs) != 1 or not self._graph.outputs:
            raise NetworkError(f"the network has {len(self._graph.inputs)} inputs; in integers it can have one")
        self._known: dict[str, Ref | Array] = {**state_dict(model), **self._graph.initializers}
        self._known[self._graph.inputs[0]] = Ref(self._graph.inputs[0], shape)
        self._shapes: dict[str, Shape] = {self._graph.inputs[0]: shape}
        self._drafts: list[Draft] = []
        self._layer = ""

    def run(self) -> Trace:
        """The trace."""
        for node in self._graph.nodes:
            self._visit(node)
        output = self._known.get(self._graph.outputs[0])
        if not isinstance(output, Ref):
            raise NetworkError("the network's output does not depend on its input")
        return Trace(tuple(self._drafts), self._shapes, self._graph.inputs[0], output.name)

    def _visit(self, node: Node) -> None:
        given = [self._known.get(name) for name in node.inputs]
        refs = [each for each in given if isinstance(each, Ref)]
        if node.op == "Shape" and refs:
            sides = (1, *refs[0].sides)
            self._known[node.outputs[0]] = np.array(sides[node.integer("start") : node.integer("end", 8)], np.int64)
        elif not refs and (node.op in CONSTANTS):
            self._known[node.outputs[0]] = fold(node, [each for each in given if isinstance(each, np.ndarray)])
        elif not refs or node.op not in _OPERATORS:
            raise self._unsupported(node, "")
        else:
            self._layer = next((name for name in node.inputs if name in self._coded), self._layer)
            _OPERATORS[node.op](self, node)

    def _unsupported(self, node: Node, reason: str) -> NetworkError:
        where = f" after layer {self._layer!r}" if self._layer else ""
        return NetworkError(
            f"operator {node.op} (value {node.outputs[0]!r}{where}) has no integer form here{f': {reason}' if reason else ''}; "
            f"expected one of {', '.join(sorted(_OPERATORS))}"
        )

    # What nodes read

    def _ref(self, node: Node, at: int = 0) -> Ref:
        value = self._known.get(node.inputs[at]) if at < len(node.inputs) else None
        if not isinstance(value, Ref):
            raise self._unsupported(node, f"input {at} does not depend on the network's input")
        return value

    def _map(self, node: Node, at: int = 0) -> Ref:
        ref = self._ref(node, at)
        if self._flat(ref) or len(ref.sides) not in (1, 3):
            raise self._unsupported(node, f"it works on a value of shape {list(ref.sides)}")
        return ref

    def _flat(self, ref: Ref) -> bool:
        shape = self._shapes[ref.name]
        return ref.sides != shape and shape[1] * shape[2] > 1

    def _constant(self, node: Node, at: int) -> Array | None:
        if at >= len(node.inputs) or not node.inputs[at]:
            return None
        value = self._known.get(node.inputs[at])
        if not isinstance(value, np.ndarray):
            raise self._unsupported(node, f"its input {at} is not constant")
        return value

    def _weight(
        self, node: Node, at: int, turned: bool = False
    ) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float64]]:
        coded = self._coded.get(node.inputs[at])
        if coded is not None and not turned:
            return integers_of(coded)
        weight = self._constant(node, at)
        assert weight is not None
        return quantized(weight.T if turned else weight)

    # What nodes give

    def _give(self, node: Node, draft: Draft, shape: Shape, sides: tuple[int, ...] | None = None) -> None:
        if min(shape) < 1:
            raise self._unsupported(node, f"its output would have the shape {list(shape)}")
        self._drafts.append(draft)
        self._shapes[draft.target] = shape
        self._known[draft.target] = Ref(draft.target, shape if sides is None else sides)

    def conv(self, node: Node) -> None:
        """Conv."""
        ref = self._map(node)
        weight, scale = self._weight(node, 1)
        channels, high, wide = self._shapes[ref.name]
        groups = node.integer("group", 1)
        if weight.ndim != 4 or weight.shape[1] * groups != channels:
            raise self._unsupported(node, f"a weight of shape {list(weight.shape)} for inputs {[channels, high, wide]}")
        strides, dilations = (node.integers("strides") or (1, 1)), (node.integers("dilations") or (1, 1))
        kernel = (weight.shape[2], weight.shape[3])
        reach = tuple((side - 1) * gap + 1 for side, gap in zip(kernel, dilations, strict=True))
        pads = same_pads(node, (high, wide), reach, strides) or node.integers("pads") or (0, 0, 0, 0)
        bias = self._constant(node, 2)
        draft = Linear(
            ref.name,
            node.outputs[0],
            weight,
            scale,
            _floats(bias, weight.shape[0]),
            node.inputs[1],
            (strides[0], strides[1]),
            (pads[0], pads[1], pads[2], pads[3]),
            (dilations[0], dilations[1]),
            groups,
        )
        sides = [
            (side + pads[at] + pads[at + 2] - reach[at]) // strides[at] + 1 for at, side in enumerate((high, wide))
        ]
        self._give(node, draft, (weight.shape[0], sides[0], sides[1]))

    def gemm(self, node: Node) -> None:
        """Gemm and MatMul by a constant: a convolution whose kernel is the whole map."""
        ref = self._ref(node)
        if (
            len(ref.sides) != 1
            or node.integer("transA")
            or node.number("alpha", 1.0) != 1
            or node.number("beta", 1.0) != 1
        ):
            raise self._unsupported(node, f"it works on a value of shape {list(ref.sides)}, or scales it")
        weight, scale = self._weight(node, 1, turned=node.op == "MatMul" or not node.integer("transB"))
        shape = self._shapes[ref.name]
        if weight.ndim != 2 or weight.shape[1] != math.prod(shape):
            raise self._unsupported(node, f"a weight of shape {list(weight.shape)} for {math.prod(shape)} inputs")
        bias = _floats(self._constant(node, 2), weight.shape[0])
        kernel = weight.reshape(weight.shape[0], *shape)
        draft = Linear(ref.name, node.outputs[0], kernel, scale, bias, node.inputs[1])
        self._give(node, draft, (weight.shape[0], 1, 1), (weight.shape[0],))

    def norm(self, node: Node) -> None:
        """BatchNormalization: a scale and a bias a channel."""
        gamma, beta, mean, variance = (self._constant(node, at) for at in range(1, 5))
        assert gamma is not None and beta is not None and mean is not None and variance is not None
        scale = gamma.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.number("epsilon", 1e-5))
        self._affine(node, self._map(node), scale, beta.astype(np.float64) - scale * mean)

    def _affine(self, node: Node, ref: Ref, scale: Array, bias: Array) -> None:
        channels = self._shapes[ref.name][0]
        scale, bias = (np.broadcast_to(np.asarray(each, np.float64).ravel(), (channels,)) for each in (scale, bias))
        ones = np.ones((channels, 1, 1, 1), np.int8)
        draft = Linear(ref.name, node.outputs[0], ones, scale, bias, self._layer or node.outputs[0], groups=channels)
        self._give(node, draft, self._shapes[ref.name], ref.sides)

    def unary(self, node: Node) -> None:
        """A function of each number."""
        limits = [self._constant(node, at) for at in range(1, len(node.inputs))]
        self._apply(node, self._ref(node), function_of(node, limits), clamp_of(node, limits))

    def _apply(
        self, node: Node, ref: Ref, function: Callable[[Array], Array], clamp: tuple[float, float] | None
    ) -> None:
        draft = Function(ref.name, node.outputs[0], function, clamp)
        self._give(node, draft, self._shapes[ref.name], ref.sides)

    def binary(self, node: Node) -> None:
        """Add, Sub, Mul, Div of two values, or of a value and a constant."""
        first, second = (self._known[name] for name in node.inputs[:2])
        if isinstance(first, Ref) and isinstance(second, Ref):
            self._combine(node, first, second)
            return
        ref = self._ref(node, 0 if isinstance(first, Ref) else 1)
        constant = second if isinstance(first, Ref) else first
        assert isinstance(constant, np.ndarray)
        numbers = constant.astype(np.float64)
        reverse = ref is second
        if numbers.size == 1:
            left = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply, "Div": np.divide}[node.op]
            number = float(numbers.ravel()[0])
            self._apply(node, ref, lambda x: left(number, x) if reverse else left(x, number), None)
            return
        ref = self._map(node, 1 if reverse else 0)
        sides = (1,) * (1 + len(ref.sides) - numbers.ndim) + numbers.shape
        if (
            len(sides) > 1 + len(ref.sides)
            or numbers.size != sides[1]
            or sides[1] != ref.sides[0]
            or (reverse and node.op == "Div")
        ):
            raise self._unsupported(node, f"a constant of shape {list(numbers.shape)} for a value of {list(ref.sides)}")
        flat = numbers.ravel()
        one, none = np.ones_like(flat), np.zeros_like(flat)
        scale, bias = {
            "Add": (one, flat),
            "Sub": (-one, flat) if reverse else (one, -flat),
            "Mul": (flat, none),
            "Div": (1 / flat, none),
        }[node.op]
        self._affine(node, ref, scale, bias)

    def _combine(self, node: Node, first: Ref, second: Ref) -> None:
        if math.prod(first.sides) < math.prod(second.sides) and node.op != "Sub":
            first, second = second, first
        whole, part = self._shapes[first.name], self._shapes[second.name]
        if (part != whole and part != (whole[0], 1, 1)) or node.op == "Div" or self._flat(first) != self._flat(second):
            raise self._unsupported(node, f"values of shapes {list(first.sides)} and {list(second.sides)}")
        if node.op == "Mul":
            self._give(node, Product(first.name, second.name, node.outputs[0]), whole, first.sides)
        else:
            draft = Sum(first.name, second.name, node.outputs[0], -1 if node.op == "Sub" else 1)
            self._give(node, draft, whole, first.sides)

    def pool(self, node: Node) -> None:
        """MaxPool and AveragePool."""
        ref = self._map(node)
        channels, high, wide = self._shapes[ref.name]
        kernel = node.integers("kernel_shape")
        if len(kernel) != 2 or set(node.integers("dilations") or (1, 1)) != {1} or len(node.outputs) > 1:
            raise self._unsupported(node, f"a window of shape {list(kernel)}, perhaps with gaps")
        strides = node.integers("strides") or (1, 1)
        pads, sides = window_pads(node, (high, wide), kernel, strides)
        window = (kernel[0], kernel[1]), (strides[0], strides[1]), pads
        if node.op == "MaxPool":
            self._give(node, MaxPool(ref.name, node.outputs[0], *window), (channels, *sides))
            return
        padded = bool(node.integer("count_include_pad"))
        if padded and node.integer("ceil_mode"):
            raise self._unsupported(node, "it counts zeros outside of the map and rounds its size up")
        self._give(node, Mean(ref.name, node.outputs[0], *window, padded), (channels, *sides))

    def whole(self, node: Node) -> None:
        """ReduceMean, ReduceMax over the map, GlobalAveragePool, GlobalMaxPool."""
        ref = self._map(node)
        channels, high, wide = self._shapes[ref.name]
        if node.op.startswith("Reduce"):
            listed = self._constant(node, 1)
            axes = node.integers("axes") if listed is None else tuple(int(each) for each in listed.ravel())
            if sorted(axis % 4 for axis in axes) != [2, 3] or len(ref.sides) != 3:
                raise self._unsupported(
                    node, f"axes {list(axes)} of a value of {list(ref.sides)}; expected height and width"
                )
        window = (high, wide), (1, 1), (0, 0, 0, 0)
        sides = (channels, 1, 1) if node.integer("keepdims", 1) else (channels,)
        if node.op in ("ReduceMax", "GlobalMaxPool"):
            self._give(node, MaxPool(ref.name, node.outputs[0], *window), (channels, 1, 1), sides)
        else:
            self._give(node, Mean(ref.name, node.outputs[0], *window, False), (channels, 1, 1), sides)

    def view(self, node: Node) -> None:
        """Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout, Cast: the same numbers."""
        ref = self._ref(node)
        if node.op in ("Identity", "Dropout", "Cast"):
            self._known[node.outputs[0]] = ref
            return
        shape = self._shapes[ref.name]
        listed = self._constant(node, 1)
        sides: tuple[int, ...]
        if node.op == "Flatten":
            sides = (math.prod(ref.sides),) if node.integer("axis", 1) == 1 else ()
        elif node.op == "Reshape":
            assert listed is not None
            wanted = [int(each) for each in listed.ravel()]
            wanted = [
                (1, *ref.sides)[at] if side == 0 and not node.integer("allowzero") else side
                for at, side in enumerate(wanted)
            ]
            rest = math.prod(ref.sides) // max(1, math.prod(side for side in wanted if side > 0))
            whole = [rest if side == -1 else side for side in wanted]
            sides = tuple(whole[1:]) if whole and whole[0] == 1 else ()
        else:
            assert listed is not None
            axes = {int(each) for each in listed.ravel()}
            sides = self._squeezed(node, ref, axes)
        kept = tuple(side for side in sides if side != 1)
        same = kept in ((math.prod(shape),), tuple(side for side in shape if side != 1)) or math.prod(sides) == 1
        if math.prod(sides) != math.prod(shape) or not same:
            raise self._unsupported(node, f"from {list(ref.sides)} to {list(sides)}")
        if len(sides) == 3 and sides != shape and sides[1:] != (1, 1):
            raise self._unsupported(node, f"from {list(ref.sides)} to {list(sides)}")
        self._known[node.outputs[0]] = Ref(ref.name, sides)

    def _squeezed(self, node: Node, ref: Ref, axes: set[int]) -> tuple[int, ...]:
        before = [1, *ref.sides]
        if node.op == "Squeeze":
            axes = {axis % len(before) for axis in axes}
            return tuple(side for at, side in enumerate(before) if at and at not in axes)
        length = len(before) + len(axes)
        axes = {axis % length for axis in axes}
        rest = iter(before)
        return tuple(1 if at in axes else next(rest) for at in range(length))[1:]

    def concat(self, node: Node) -> None:
        """Concat of channels."""
        refs = [self._map(node, at) for at in range(len(node.inputs))]
        shapes = [self._shapes[ref.name] for ref in refs]
        if node.integer("axis") % (1 + len(refs[0].sides)) != 1 or len({shape[1:] for shape in shapes}) != 1:
            raise self._unsupported(node, f"axis {node.integer('axis')} of {[list(ref.sides) for ref in refs]}")
        channels = sum(shape[0] for shape in shapes)
        draft = Concat(tuple(ref.name for ref in refs), node.outputs[0])
        self._give(node, draft, (channels, *shapes[0][1:]), (channels, *refs[0].sides[1:]))

    def slice(self, node: Node) -> None:
        """Slice with steps of one or more."""
        ref = self._map(node)
        shape = self._shapes[ref.name]
        starts, ends = ([int(x) for x in _given(self._constant(node, at))] for at in (1, 2))
        axes = [int(x) for x in _given(self._constant(node, 3))] or list(range(len(starts)))
        steps = [int(x) for x in _given(self._constant(node, 4))] or [1] * len(starts)
        first, every, sides = [0, 0, 0], [1, 1, 1], list(shape)
        for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
            at = axis % (1 + len(ref.sides)) - 1
            if at < 0 or step < 1:
                raise self._unsupported(node, f"axis {axis}, step {step}")
            chosen = range(shape[at])[start:end:step]
            first[at], every[at], sides[at] = chosen.start, step, len(chosen)
        draft = Slice(ref.name, node.outputs[0], (first[0], first[1], first[2]), (every[0], every[1], every[2]))
        self._give(node, draft, (sides[0], sides[1], sides[2]), tuple(sides[: len(ref.sides)]))

    def split(self, node: Node) -> None:
        """Split of channels: a slice for each part."""
        ref = self._map(node)
        shape = self._shapes[ref.name]
        listed = self._constant(node, 1)
        parts = len(node.outputs)
        lengths = [-(-shape[0] // parts)] * parts if listed is None else [int(each) for each in listed.ravel()]
        if node.integer("axis") % (1 + len(ref.sides)) != 1:
            raise self._unsupported(node, f"axis {node.integer('axis')}")
        start = 0
        for name, length in zip(node.outputs, lengths, strict=True):
            part = (min(length, shape[0] - start), *shape[1:])
            piece = replace(node, outputs=(name,))
            self._give(piece, Slice(ref.name, name, (start, 0, 0), (1, 1, 1)), part, (part[0], *ref.sides[1:]))
            start += length

    def pad(self, node: Node) -> None:
        """Pad with zeros."""
        ref = self._map(node)
        shape = self._shapes[ref.name]
        pads = [int(x) for x in _given(self._constant(node, 1))]
        fill = self._constant(node, 2)
        axes = [int(x) % 4 for x in _given(self._constant(node, 3))] or list(range(len(pads) // 2))
        before, after = [0, 0, 0, 0], [0, 0, 0, 0]
        for at, axis in enumerate(axes):
            before[axis], after[axis] = pads[at], pads[at + len(axes)]
        if node.text("mode", "constant") != "constant" or (fill is not None and np.any(fill)) or before[0] or after[0]:
            raise self._unsupported(node, "it pads with something else than zeros")
        if min(*before, *after) < 0 or len(ref.sides) != 3:
            raise self._unsupported(node, f"pads {pads} of a value of {list(ref.sides)}")
        sides = [side + low + high for side, low, high in zip(shape, before[1:], after[1:], strict=True)]
        draft = Pad(ref.name, node.outputs[0], (before[1], before[2], before[3]), (after[1], after[2], after[3]))
        self._give(node, draft, (sides[0], sides[1], sides[2]))

    def gather(self, node: Node) -> None:
        """Gather of channels by constant indices."""
        ref = self._map(node)
        order = self._constant(node, 1)
        shape = self._shapes[ref.name]
        if node.integer("axis") % (1 + len(ref.sides)) != 1 or order is None or order.ndim != 1:
            raise self._unsupported(node, f"axis {node.integer('axis')}")
        channels = tuple(int(each) % shape[0] for each in order)
        draft = Gather(ref.name, node.outputs[0], channels)
        self._give(node, draft, (len(channels), *shape[1:]), (len(channels), *ref.sides[1:]))


def _given(array: Array | None) -> Array:
    return np.zeros(0, np.int64) if array is None else array.ravel()


def _floats(bias: Array | None, count: int) -> npt.NDArray[np.float64]:
    return np.zeros(count) if bias is None else np.broadcast_to(np.asarray(bias, np.float64).ravel(), (count,)).copy()


_VIEWS = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout", "Cast")
_UNARY = (
    "Relu", "Clip", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", "Elu", "Tanh", "Neg", "Abs", "Sqrt", "Exp", "Erf", "Softplus",
)  # fmt: skip
_OPERATORS: dict[str, Callable[[_Tracer, Node], None]] = {
    "Conv": _Tracer.conv,
    "Gemm": _Tracer.gemm,
    "MatMul": _Tracer.gemm,
    "BatchNormalization": _Tracer.norm,
    "MaxPool": _Tracer.pool,
    "AveragePool": _Tracer.pool,
    "Concat": _Tracer.concat,
    "Slice": _Tracer.slice,
    "Split": _Tracer.split,
    "Pad": _Tracer.pad,
    "Gather": _Tracer.gather,
    **dict.fromkeys(("ReduceMean", "ReduceMax", "GlobalAveragePool", "GlobalMaxPool"), _Tracer.whole),
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _Tracer.binary),
    **dict.fromkeys(_VIEWS, _Tracer.view),
    **dict.fromkeys(_UNARY, _Tracer.unary),
}
