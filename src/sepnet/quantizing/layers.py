"""The layers of a graph as products of a weight with rows of numbers: what goes into each, patch by patch."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sepnet.graphs.layers import read_layer, views
from sepnet.graphs.onnx_graph import Node, OnnxGraph
from sepnet.graphs.windows import around, reach
from sepnet.graphs.windows import windows as windows_of

__all__ = ["MOST_COLUMNS", "Layer", "find_layers", "rows_of"]

MOST_COLUMNS = 1152
"""Of the weights of a filter that are looked at together: 128 channels of 3 x 3 kernels."""

Floats = npt.NDArray[np.float32]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Layer:
    """A convolution or fully connected layer.

    Attributes:
        weight: name of its weight, filters first.
        bias: name of what it adds, "" when it has none of its own.
        input: name of the value that goes in.
        kernel: sides of a convolution's kernel, () of a fully connected layer.
        strides, dilations: a number a side.
        pads: zeros before each side, then after each.
        same: "" or an `auto_pad` of ONNX.
        groups: of a convolution.
    """

    weight: str
    bias: str
    input: str
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = ()
    dilations: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    same: str = ""
    groups: int = 1

    def spans(self, size: int) -> list[slice]:
        """The `size` weights of a filter in parts of whole kernels, `MOST_COLUMNS` at most, about equally many.

        >>> Layer("w", "", "x", (3, 3)).spans(1161)
        [slice(0, 585, None), slice(585, 1161, None)]
        """
        kernel = int(np.prod(self.kernel, dtype=np.int64))
        parts = -(-size // MOST_COLUMNS)
        ends = [kernel * -(-size // kernel * at // parts) for at in range(parts + 1)]
        return [slice(start, end) for start, end in itertools.pairwise(ends)]


def find_layers(graph: bytes, weights: Set[str], shapes: dict[str, tuple[int, ...]]) -> tuple[Layer, ...]:
    """The layers of a serialized graph, in its order, whose weights are among `weights` and used once.

    Products inside If, Loop and Scan, and weights that several layers share, are left out.
    """
    whole = OnnxGraph.decode(graph)
    read, turned, cast = whole.reads(), views(whole.nodes, "Transpose"), views(whole.nodes, "Cast")

    def behind(name: str, nodes: Mapping[str, Node]) -> str:
        return nodes[name].inputs[0] if name in nodes and read[name] == 1 else name

    found = []
    for node in whole.nodes:
        layer = read_layer(node)
        if layer is None or layer.op not in ("Conv", "Gemm", "MatMul") or not layer.plain:
            continue
        name = behind(behind(layer.weight, turned) if layer.op == "MatMul" else layer.weight, cast)
        if name not in weights or read[name] != 1:
            continue
        bias = behind(layer.bias, cast)
        bias = bias if read[bias] == 1 else ""
        if not layer.is_conv:
            found.append(Layer(name, bias, layer.input))
            continue
        kernel = shapes[name][2:]
        sides = len(kernel)
        found.append(
            Layer(
                name,
                bias,
                layer.input,
                kernel,
                layer.strides or (1,) * sides,
                layer.dilations or (1,) * sides,
                layer.pads or (0,) * 2 * sides,
                layer.same,
                layer.groups,
            )
        )
    return tuple(found)


def rows_of(layer: Layer, values: Floats, draw: Callable[[int], Rows | None] = lambda count: None) -> Floats:
    """What the filters of each group are multiplied with: (groups, rows, weights a filter), a row an output position.

    Args:
        layer: which one.
        values: what goes in.
        draw: from the number of rows to those that are wanted, None for all.

    >>> layer = Layer("w", "", "x", (2,), (1,), (1,), (0, 0))
    >>> rows_of(layer, np.float32([[[1, 2, 3]]])).tolist()
    [[[1.0, 2.0], [2.0, 3.0]]]
    """
    if not layer.kernel:
        flat = values.reshape(1, -1, values.shape[-1])
        chosen = draw(flat.shape[1])
        return flat if chosen is None else flat[:, chosen]
    sides = len(layer.kernel)
    spans = reach(layer.kernel, layer.dilations)
    pads = around(layer.same, layer.pads, sides=values.shape[2:], reach=spans, strides=layer.strides)
    windows = windows_of(values, layer.kernel, layer.strides, pads, dilations=layer.dilations)
    count, channels, *out = windows.shape[: 2 + sides]
    size = channels // layer.groups * int(np.prod(layer.kernel))
    places = np.moveaxis(windows, 1, 1 + sides)
    chosen = draw(count * int(np.prod(out)))
    if chosen is not None:
        places = places[np.unravel_index(chosen, (count, *out))]
    rows = places.reshape(-1, layer.groups, size)
    return np.ascontiguousarray(rows.transpose(1, 0, 2), np.float32)
