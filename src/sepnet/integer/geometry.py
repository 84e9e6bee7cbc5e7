"""Sizes of windows: what ONNX's pads and roundings come to."""

from __future__ import annotations

from collections.abc import Sequence

from sepnet.graphs.onnx_graph import Node
from sepnet.graphs.windows import around

__all__ = ["same_pads", "window_pads"]

Pads = tuple[int, int, int, int]


def same_pads(node: Node, sides: Sequence[int], reach: Sequence[int], strides: Sequence[int]) -> Pads | None:
    """The pads that `auto_pad` SAME stands for; None without it."""
    mode = node.text("auto_pad", "NOTSET")
    if not mode.startswith("SAME"):
        return None
    (top, bottom), (left, right) = around(mode, (), sides=sides, reach=reach, strides=strides)
    return top, left, bottom, right


def window_pads(
    node: Node, sides: Sequence[int], kernel: Sequence[int], strides: Sequence[int], *, pads: Sequence[int] = ()
) -> tuple[Pads, tuple[int, int]]:
    """Pads of a pooling, grown to whole windows where its size is rounded up, and the size of its output.

    `pads` are those of height and width; () takes the node's.

    >>> from sepnet.graphs.onnx_graph import attribute
    >>> window_pads(Node("MaxPool", ("x",), ("y",), (attribute("ceil_mode", 1),)), (6, 6), (3, 3), (2, 2))
    ((0, 0, 1, 1), (3, 3))
    """
    pads = same_pads(node, sides, kernel, strides) or pads or node.integers("pads") or (0, 0, 0, 0)
    grown, counts = list(pads), []
    for at, side in enumerate(sides):
        free = side + pads[at] + pads[at + 2] - kernel[at]
        count = (-(-free // strides[at]) if node.integer("ceil_mode") else free // strides[at]) + 1
        if (count - 1) * strides[at] >= side + pads[at]:  # a window that would begin behind the map is left out
            count -= 1
        grown[at + 2] = max(pads[at + 2], (count - 1) * strides[at] + kernel[at] - side - pads[at])
        counts.append(count)
    return (grown[0], grown[1], grown[2], grown[3]), (counts[0], counts[1])
