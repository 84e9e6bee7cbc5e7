"""Inspect an `.onnx` file: the same report as of a torch network.  No torch."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sepnet.core.network import NetworkReport
from sepnet.counting.onnx_file import Shape, read_graph
from sepnet.counting.onnx_memory import peak_bytes
from sepnet.counting.onnx_rows import count

__all__ = ["inspect_onnx"]


def inspect_onnx(
    path: str | os.PathLike[str], input_shapes: Sequence[Shape] | None = None, name: str = ""
) -> NetworkReport:
    """Count the parameters and the multiply-accumulates of the layers of an ONNX graph, in the order in which they run.

    A layer is a node that reads weights: floating-point initializers with at least one dimension.  The running
    statistics of batch normalization are no parameters.  A layer is called by the path that its weight's name begins
    with ("layer1.0.conv1" of "layer1.0.conv1.weight"), else by its node.  Nodes that nobody knows how to count, and
    those inside If, Loop and Scan, are listed as not counted.  An Add after a product is the product's bias.

    Args:
        path: the file; weights in other files beside it are not read.
        input_shapes: shapes of one example without the batch, one for each input; None as the file says.
        name: for the report; "" takes the file's name.

    Raises:
        NetworkError: not an ONNX file, or sizes that are missing or do not fit.  MissingExtraError: onnx is missing.
    """
    graph = read_graph(path, input_shapes)
    shapes = tuple(graph.shapes.get(value, ())[1:] for value in graph.inputs) or ((),)
    layers, activation_macs = count(graph)
    return NetworkReport(
        name or os.path.basename(path),
        shapes[0],
        layers,
        shapes,
        graph.input_types,
        peak_bytes(graph),
        activation_macs,
    )
