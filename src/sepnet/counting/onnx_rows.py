"""Counting an ONNX graph: a row for each node that reads weights.  No torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sepnet.core.network import Kind, LayerReport
from sepnet.counting.onnx_file import Shape, SizedGraph
from sepnet.counting.onnx_memory import bytes_of, names_inside
from sepnet.graphs.layers import CONVS, MATRICES, RECURRENT, factors
from sepnet.graphs.nodes import settings

__all__ = ["count"]

QUANTIZED = {"QLinearConv": (3, 8), "ConvInteger": (1,), "QLinearMatMul": (3,), "MatMulInteger": (1,)}
"""What these have in other places are scales and zero points."""
_NORMS = """
BatchNormalization InstanceNormalization LayerNormalization GroupNormalization RMSNormalization
SimplifiedLayerNormalization
"""
NORMS = frozenset(_NORMS.split())
_ADDED = """
Add Sub Mul Div Pow PRelu Concat Where Expand Max Min Sum Equal ScatterND ScatterElements
"""
ADDED = frozenset(_ADDED.split())
"""Weights that are added, multiplied one by one or put beside: parameters without macs."""
_NO_WEIGHTS = """
Clip Pad Resize Upsample QuantizeLinear DequantizeLinear Reshape Slice Tile Range OneHot TopK Split
"""
NO_WEIGHTS = frozenset(_NO_WEIGHTS.split())
"""What these read as floats are settings, not weights."""
STATES = {"BatchNormalization": (3, 4), "LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
"""Inputs that are running statistics or first states, not parameters."""


@dataclass
class _Row:
    name: str
    kind: Kind
    weight: Shape
    roots: tuple[str, ...]
    params: int = 0
    macs: int = 0
    output: str = ""
    shape: Shape = ()
    activation_bytes: int = 0
    notes: list[str] = field(default_factory=list)
    counted: bool = True
    named: bool = False


def count(graph: SizedGraph) -> tuple[tuple[LayerReport, ...], int]:
    """The layers of a graph in the order in which they run, and the macs between activations, for one example."""
    counting = _Counting(graph)
    return tuple(counting.run()), counting.activation_macs


class _Counting:
    def __init__(self, graph: SizedGraph) -> None:
        self.graph = graph
        self.weights: dict[str, tuple[str, ...]] = {name: (name,) for name in graph.weights}
        self.weights.update(dict.fromkeys(graph.folded, ()))
        self.seen: dict[str, _Row] = {}
        self.rows: list[_Row] = []
        self.activation_macs = 0
        self.makers: dict[str, _Row] = {}
        self.readers: dict[str, int] = {}
        for node in graph.nodes:
            for name in node.input:
                self.readers[name] = self.readers.get(name, 0) + 1

    def run(self) -> list[LayerReport]:
        for node in self.graph.nodes:
            inputs = [name for name in node.input if name]
            constant = bool(inputs) and all(name in self.weights for name in inputs) and not any(names_inside(node))
            if node.op_type == "Constant" or (constant and not self._takes_a_constant(node)):
                roots = tuple(dict.fromkeys(root for name in self._data(node) for root in self.weights[name]))
                self.weights.update(dict.fromkeys(node.output, roots))
            elif node.op_type not in NO_WEIGHTS:
                self._node(node, self._weights(node))
        return [
            LayerReport(
                r.name, r.kind, r.weight, r.params, r.macs, r.shape, r.activation_bytes, r.counted, "; ".join(r.notes)
            )
            for r in self.rows
        ]

    def _takes_a_constant(self, node: Any) -> bool:
        """Whether a layer runs on a constant, as a cell does on the zeros that it starts from."""
        if node.op_type not in (*CONVS, *MATRICES):
            return False
        return {bool(self.weights[name]) for name in factors(node.op_type, node.input)} == {True, False}

    def _data(self, node: Any) -> list[str]:
        """The inputs of a node on weights alone that are weights themselves, not scales, zero points or sizes."""
        names = [name for name in node.input if name]
        if node.op_type in NO_WEIGHTS:
            return names[:1]
        several = [name for name in names if math.prod(self._shape(name) or ()) > 1]
        return several or names if node.op_type in ADDED else names

    def _weights(self, node: Any) -> list[str]:
        """The inputs that are weights: floats, and the integers of operators that are made for them."""
        if node.op_type in QUANTIZED:
            names = [node.input[at] for at in QUANTIZED[node.op_type] if at < len(node.input)]
            return [name for name in names if name in self.weights]
        floats = [n for n in node.input if self.weights.get(n) and self._shape(n) and n not in self.graph.element_bytes]
        one_by_one = node.op_type in ADDED and node.op_type != "PRelu" and not self._bias_of_one(node)
        return [name for name in floats if not one_by_one or math.prod(self._shape(name) or ()) > 1]

    def _bias_of_one(self, node: Any) -> bool:
        """Whether an Add may be the bias of a product with a single output."""
        return node.op_type == "Add" and any(
            name in self.makers and self.makers[name].kind == "fc" and (self._shape(name) or (0,))[-1] == 1
            for name in node.input
        )

    def _shape(self, name: str) -> Shape | None:
        return self.graph.shapes.get(name, self.graph.weights.get(name, self.graph.folded.get(name)))

    def _node(self, node: Any, weights: list[str]) -> None:
        main = self._main(node, weights)
        inside = [name for name in names_inside(node) if name in self.graph.weights]
        if main is None and not weights and not inside:
            self.activation_macs += (self._product(node) or 0) if node.op_type in MATRICES else 0
            return
        row = self._bias_of(node, weights) or self._again(node, main) or self._new(node, main or "", weights)
        for name in (*([main] if main else []), *weights, *inside):
            if name not in [node.input[at] for at in STATES.get(node.op_type, ()) if at < len(node.input)]:
                self._own(row, name)
        if inside:
            self._uncounted(row, f"inside {node.op_type}")
        else:
            self._macs(node, row, main)
        output = node.output[0]
        self.makers[output] = row
        row.output, row.shape = output, self._one(self._shape(output))
        row.activation_bytes += sum(bytes_of(self.graph, name) for name in node.output if name) // self.graph.batch

    def _main(self, node: Any, weights: list[str]) -> str | None:
        """The weight that gives the layer its shape; integers count where the operator is one for integers."""
        names = factors(node.op_type, node.input)[1 if node.op_type in CONVS else 0 :]
        known = [name for name in names if name in self.weights and self._shape(name)]
        if known:  # a constant only where there is nothing else
            return str(next((name for name in known if self.weights[name]), known[0]))
        return weights[0] if weights and node.op_type not in (*CONVS, *MATRICES) else None

    def _own(self, row: _Row, name: str) -> None:
        for root in self.weights.get(name, ()) or ():
            if root not in self.seen:
                self.seen[root] = row
                if not self._setting(root, name):
                    row.params += math.prod(self.graph.weights[root])
            elif self.seen[root] is not row:
                note = f"shares weights with {self.seen[root].name}"
                if note not in row.notes:
                    row.notes.append(note)

    def _setting(self, root: str, name: str) -> bool:
        """Numbers that are integers of another size, or have no dimension, lead to a weight and are none."""
        shape = self.graph.weights[root]
        resized = math.prod(shape) != math.prod(self._shape(name) or ())
        return root != name and (not shape or (root in self.graph.element_bytes and resized))

    def _bias_of(self, node: Any, weights: list[str]) -> _Row | None:
        """The product whose bias an Add with a vector is."""
        others = [name for name in node.input if name not in self.weights]
        if node.op_type != "Add" or len(weights) != 1 or len(others) != 1 or self.readers.get(others[0]) != 1:
            return None
        row, shape = self.makers.get(others[0]), self._shape(weights[0]) or ()
        if row is None or row.kind in ("norm", "other") or math.prod(shape) != max(shape):
            return None
        owner = weights[0].rpartition(".")[0]
        if owner and not row.named and owner not in {other.name for other in self.rows}:
            row.name, row.named = owner, True
        row.activation_bytes -= bytes_of(self.graph, others[0]) // self.graph.batch
        return row

    def _again(self, node: Any, main: str | None) -> _Row | None:
        """The row of a layer that runs once more."""
        roots = self.weights.get(main or "", ())
        kind = self._kind(node, main)
        found = next((r for r in self.rows if roots and r.roots == roots and r.kind == kind != "other"), None)
        if found is not None and "runs more than once" not in found.notes:
            found.notes.append("runs more than once")
        return found

    def _new(self, node: Any, main: str, weights: Sequence[str]) -> _Row:
        roots = self.weights.get(main, ())
        shape = self._shape(main) or ()
        row = _Row(self._name(node, roots), self._kind(node, main), shape, roots)
        if node.op_type in CONVS and row.kind == "conv kxk":
            groups = settings(node).get("group", 1)
            row.notes += [f"{groups} groups"] if groups > 1 else []
        row.notes += [] if roots or not main else ["its weights are constants, which are no parameters"]
        row.named = row.name == _owner(roots)
        self.rows.append(row)
        return row

    def _name(self, node: Any, roots: Sequence[str]) -> str:
        """The path that the weight's name begins with, unless another layer has it; else the node's name."""
        taken = {row.name for row in self.rows}
        parts = [part for part in str(node.name).split("/") if part]
        path = ".".join(parts[:-1] if len(parts) > 1 else parts)
        for name in (_owner(roots), path, roots[0] if roots else "", node.name, node.output[0]):
            if name and name not in taken:
                return str(name)
        return f"{node.op_type} {len(self.rows)}"

    def _kind(self, node: Any, main: str | None) -> Kind:
        shape = self._shape(main or "") or ()
        if node.op_type in CONVS:
            if all(side == 1 for side in shape[2:]):
                return "conv 1x1"
            groups = settings(node).get("group", 1)
            taken = shape[0] if node.op_type == "ConvTranspose" else shape[1] * groups
            return "depthwise" if groups == taken > 1 else "conv kxk"
        if node.op_type in MATRICES:
            return "fc"
        return "norm" if node.op_type in NORMS else "other"

    def _macs(self, node: Any, row: _Row, main: str | None) -> None:
        op, batch = node.op_type, self.graph.batch
        taken, given = self._shape(node.input[0]), self._shape(node.output[0])
        if op in NORMS or op in ADDED or op == "Gather":
            return
        if op not in CONVS and op not in MATRICES and op not in RECURRENT:
            self._uncounted(row, op)
        elif taken is None or given is None or main is None:
            self._uncounted(row, f"sizes of {op} not known")
        elif op in CONVS:
            each = math.prod((self._shape(main) or ())[1:])
            row.macs += math.prod(taken if op == "ConvTranspose" else given) * each // batch
        elif op in MATRICES:
            row.macs += self._product(node) or 0
        else:
            steps = math.prod(taken[:-1])
            both = sum(math.prod(self._shape(node.input[at]) or ()) for at in (1, 2))
            row.macs += steps * both // batch

    def _product(self, node: Any) -> int | None:
        taken, given = self._shape(node.input[0]), self._shape(node.output[0])
        if not taken or given is None:
            return None
        long = taken[0] if node.op_type == "Gemm" and settings(node).get("transA") else taken[-1]
        return math.prod(given) * long // self.graph.batch

    def _uncounted(self, row: _Row, why: str) -> None:
        row.counted = False
        note = f"not counted: {why}"
        if note not in row.notes:
            row.notes.insert(0, note)

    def _one(self, shape: Shape | None) -> Shape:
        """A shape without its batch."""
        return shape[1:] if shape and shape[0] == self.graph.batch else shape or ()


def _owner(roots: Sequence[str]) -> str:
    """The path that a weight's name begins with; "" if it has none ("onnx::MatMul_12", "W")."""
    return roots[0].rpartition(".")[0] if roots and "::" not in roots[0] else ""
