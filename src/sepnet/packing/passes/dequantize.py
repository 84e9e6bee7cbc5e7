"""Weights that a graph holds as integers behind DequantizeLinear: floats for the graph, their codes for the packed file."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.graphs.nodes import settings
from sepnet.packing.passes.draft import Codes, Draft, count

__all__ = ["dequantize"]

Array = npt.NDArray[Any]
_RANGES = {"int4": (-8, 7), "uint4": (0, 15)}


def dequantize(draft: Draft) -> str:
    """Work out DequantizeLinear of constants, scale * (q - zero), and QuantizeLinear of constants before it.

    Codes q - zero are noted where they have one step, or a step for each place along an axis.
    """
    import onnx

    graph = draft.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    codes: dict[str, Array] = {}
    done = []
    for node in graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear") or not all(
            name in tensors or name in codes for name in node.input if name
        ):
            continue
        given = [None if not name else _array(name, codes, tensors) for name in node.input]
        name = node.output[0]
        if node.op_type == "QuantizeLinear":
            codes[name] = _quantized(node, given, onnx)
        else:
            numbers, found = _dequantized(node, given)
            graph.initializer.append(onnx.numpy_helper.from_array(numbers, name))
            tensors[name] = graph.initializer[-1]
            if found is not None:
                draft.codes[name] = found
        done.append(node)
    for node in done:
        graph.node.remove(node)
    return count((sum(node.op_type == "DequantizeLinear" for node in done), "constants in integers made floats"))


def _array(name: str, codes: dict[str, Array], tensors: dict[str, Any]) -> Array:
    import onnx

    return codes[name] if name in codes else np.asarray(onnx.numpy_helper.to_array(tensors[name]))


def _quantized(node: Any, given: list[Array | None], onnx: Any) -> Array:
    numbers, scale, zero = (*given, None)[:3]
    kind = zero.dtype if zero is not None else np.dtype(np.uint8)
    if (wanted := settings(node).get("output_dtype")) and zero is None:
        kind = onnx.helper.tensor_dtype_to_np_dtype(wanted)
    low, high = _RANGES.get(kind.name) or (np.iinfo(kind).min, np.iinfo(kind).max)
    steps = np.rint(numbers / _beside(node, scale, numbers))
    return np.asarray(np.clip(steps + _beside(node, zero, numbers), low, high).astype(kind))


def _dequantized(node: Any, given: list[Array | None]) -> tuple[Array, Codes | None]:
    numbers, scale, zero = (*given, None)[:3]
    if numbers is None or scale is None:
        raise ValueError("DequantizeLinear without a scale")
    integers = numbers.dtype.name.startswith(("int", "uint"))
    kind: Any = np.int64 if integers else np.float64
    whole = numbers.astype(kind) - _beside(node, zero, numbers).astype(kind)
    found = (whole * _beside(node, scale, numbers).astype(np.float64)).astype(scale.dtype)
    if not integers or settings(node).get("block_size"):
        return found, None
    axis = int(settings(node).get("axis", 1)) % max(1, numbers.ndim)
    return found, Codes(whole, scale.astype(np.float64).reshape(() if scale.size == 1 else -1), axis)


def _beside(node: Any, numbers: Array | None, wanted: Array | None) -> Array:
    """Scales or zero points as they go with the numbers: one, one along an axis, or one a block along it."""
    if numbers is None or wanted is None:
        return np.zeros((), np.int64)
    if numbers.size == 1:
        return numbers.reshape(())
    given = settings(node)
    axis = int(given.get("axis", 1)) % wanted.ndim
    if block := given.get("block_size"):
        return np.repeat(numbers, block, axis=axis).take(range(wanted.shape[axis]), axis=axis)
    return numbers.reshape([-1 if at == axis else 1 for at in range(wanted.ndim)])
