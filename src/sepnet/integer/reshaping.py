"""Nodes that give the same numbers with other sides, or in another order: views, which move nothing by themselves."""

from __future__ import annotations

import math
from dataclasses import replace

from sepnet.graphs.onnx_graph import Node
from sepnet.integer.graph_values import GraphValues, Ref

__all__ = ["depth_to_space", "expand", "reshape", "same", "space_to_depth", "transpose"]


FLOATS = (1, 10, 11, 16)
"""ONNX's numbers of types of floats."""


def same(values: GraphValues, node: Node) -> None:
    """Identity, Dropout, Cast to floats."""
    if node.op == "Cast" and node.integer("to", 1) not in FLOATS:
        raise values.unsupported(node, "it makes whole numbers")
    values.known[node.outputs[0]] = values.ref(node)


def transpose(values: GraphValues, node: Node) -> None:
    """Transpose."""
    ref = values.ref(node)
    order = node.integers("perm") or tuple(range(len(ref.sides)))[::-1]
    if sorted(order) != list(range(len(ref.sides))):
        raise values.unsupported(node, f"order {list(order)} of a value of {list(ref.sides)}")
    values.known[node.outputs[0]] = replace(ref, view=ref.view.transposed(order))


def reshape(values: GraphValues, node: Node) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze."""
    ref = values.ref(node)
    sides = _SIDES[node.op](values, node, ref)
    if math.prod(sides) != math.prod(ref.sides) or min(sides, default=1) < 1:
        raise values.unsupported(node, f"from {list(ref.sides)} to {list(sides)}")
    values.known[node.outputs[0]] = values.reshaped(ref, sides)


def _reshaped(values: GraphValues, node: Node, ref: Ref) -> tuple[int, ...]:
    wanted = [int(each) for each in values.given(node, 1).ravel()]
    kept = not node.integer("allowzero")
    wanted = [ref.sides[at] if side == 0 and kept else side for at, side in enumerate(wanted)]
    rest = math.prod(ref.sides) // max(1, math.prod(side for side in wanted if side > 0))
    return tuple(rest if side == -1 else side for side in wanted)


def _flattened(values: GraphValues, node: Node, ref: Ref) -> tuple[int, ...]:
    axis = node.integer("axis", 1)
    at = axis + len(ref.sides) * (axis < 0)
    return math.prod(ref.sides[:at]), math.prod(ref.sides[at:])


def _axes(values: GraphValues, node: Node) -> tuple[int, ...]:
    """Those of Squeeze and Unsqueeze, which are not left out: without them the sides would depend on the batch."""
    return node.integers("axes") or tuple(int(each) for each in values.given(node, 1).ravel())


def _squeezed(values: GraphValues, node: Node, ref: Ref) -> tuple[int, ...]:
    axes = {axis % len(ref.sides) for axis in _axes(values, node)}
    if any(ref.sides[axis] != 1 for axis in axes):
        raise values.unsupported(node, f"axes {sorted(axes)} of a value of {list(ref.sides)}")
    return tuple(side for at, side in enumerate(ref.sides) if at not in axes)


def _unsqueezed(values: GraphValues, node: Node, ref: Ref) -> tuple[int, ...]:
    listed = _axes(values, node)
    axes = {axis % (len(ref.sides) + len(listed)) for axis in listed}
    rest = iter(ref.sides)
    return tuple(1 if at in axes else next(rest) for at in range(len(ref.sides) + len(axes)))


_SIDES = {"Reshape": _reshaped, "Flatten": _flattened, "Squeeze": _squeezed, "Unsqueeze": _unsqueezed}


def expand(values: GraphValues, node: Node) -> None:
    """Expand, where it changes nothing but adds sides of 1."""
    ref = values.ref(node)
    wanted = [int(each) for each in values.given(node, 1).ravel()]
    sides = (1,) * (len(wanted) - len(ref.sides)) + ref.sides
    if any(side not in (1, own) for side, own in zip(wanted[::-1], sides[::-1], strict=False)):
        raise values.unsupported(node, f"from {list(ref.sides)} to {wanted}")
    values.known[node.outputs[0]] = values.reshaped(ref, sides)


def depth_to_space(values: GraphValues, node: Node) -> None:
    """DepthToSpace of both modes: blocks of channels become blocks of pixels."""
    ref = values.ref(node)
    by, (one, channels, high, wide) = node.integer("blocksize"), _four(values, node, ref)
    rest = channels // (by * by)
    if by < 1 or rest * by * by != channels:
        raise values.unsupported(node, f"blocks of {by} of a value of {list(ref.sides)}")
    if node.text("mode", "DCR") == "CRD":
        parts, order = (one, rest, by, by, high, wide), (0, 1, 4, 2, 5, 3)
    else:
        parts, order = (one, by, by, rest, high, wide), (0, 3, 4, 1, 5, 2)
    blocks = _through(values, node, parts, order)
    values.known[node.outputs[0]] = values.reshaped(blocks, (one, rest, high * by, wide * by))


def space_to_depth(values: GraphValues, node: Node) -> None:
    """SpaceToDepth: blocks of pixels become channels."""
    ref = values.ref(node)
    by, (one, channels, high, wide) = node.integer("blocksize"), _four(values, node, ref)
    if by < 1 or high % by or wide % by:
        raise values.unsupported(node, f"blocks of {by} of a value of {list(ref.sides)}")
    parts = (one, channels, high // by, by, wide // by, by)
    blocks = _through(values, node, parts, (0, 3, 5, 1, 2, 4))
    values.known[node.outputs[0]] = values.reshaped(blocks, (one, channels * by * by, high // by, wide // by))


def _four(values: GraphValues, node: Node, ref: Ref) -> tuple[int, int, int, int]:
    if len(ref.sides) != 4:
        raise values.unsupported(node, f"it works on a value of shape {list(ref.sides)}")
    return ref.sides[0], ref.sides[1], ref.sides[2], ref.sides[3]


def _through(values: GraphValues, node: Node, parts: tuple[int, ...], order: tuple[int, ...]) -> Ref:
    """Reshape, Transpose."""
    cut = values.reshaped(values.ref(node), parts)
    return Ref(cut.name, cut.view.transposed(order))
