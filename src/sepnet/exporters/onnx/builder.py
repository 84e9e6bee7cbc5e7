"""Nodes and initializers that are being written, with short names; and the smallest of several ways to write something."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.graphs.onnx_graph import Node, attribute
from sepnet.graphs.wire import ELEMENT_TYPES, field, tensor

__all__ = ["Builder"]

Array = npt.NDArray[Any]
Way = Callable[["Builder"], str]
"""Writes nodes that give a value, and returns the value's name."""
SHARED = 512
"""Most numbers of an initializer that is looked up."""
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


class Builder:
    """Collects nodes and initializers.

    Args:
        taken: names that are not to be given.
        before: the builder that this one goes on from: what it holds can be used, what is added here is kept apart.

    Attributes:
        part: what is being written, for the ledger.
    """

    def __init__(self, taken: Iterable[str] = (), before: Builder | None = None) -> None:
        self._taken: frozenset[str] = before._taken if before else frozenset(taken)
        self._number: int = before._number if before else 0
        self._shared: dict[tuple[str, tuple[int, ...], bytes], str] = dict(before._shared) if before else {}
        self.part: str = before.part if before else ""
        self.nodes: list[Node] = []
        self.initializers: dict[str, Array] = {}
        self._parts: dict[str, str] = {}

    @property
    def size(self) -> int:
        """Bytes that what was added here takes in the file."""
        return sum(size for _, _, size in self.pieces())

    def pieces(self) -> Iterator[tuple[str, str, int]]:
        """Of all that was added here: what `part` was then, the operator (or the type of an initializer), bytes in the file."""
        for node in self.nodes:
            yield self._parts[node.outputs[0]], node.op, len(field(1, node.encode()))
        for name, array in self.initializers.items():
            yield self._parts[name], array.dtype.name, len(field(5, tensor(name, array)))

    def constant(self, numbers: Array | np.generic) -> str:
        """An initializer; small ones of equal content are shared."""
        array: Array = np.asarray(numbers)
        if array.size > SHARED:
            self.initializers[name := self.name()] = array
            return name
        key = (array.dtype.str, array.shape, array.tobytes())
        if key not in self._shared:
            self.initializers[self._shared.setdefault(key, self.name())] = array
        return self._shared[key]

    def integers(self, *numbers: int, kind: npt.DTypeLike = np.int64) -> str:
        """An initializer of one dimension."""
        return self.constant(np.array(numbers, kind))

    def add(self, op: str, *inputs: str, name: str = "", **attributes: int | float | tuple[int, ...] | bytes) -> str:
        """A node of one output, called `name` or something short; returns the output's name."""
        output = name or self.name()
        self._parts[output] = self.part
        made = tuple(attribute(key, value) for key, value in attributes.items())
        self.nodes.append(Node(op, inputs, (output,), made))
        return output

    def cast(self, value: str, kind: npt.DTypeLike, name: str = "") -> str:
        """A Cast."""
        return self.add("Cast", value, name=name, to=ELEMENT_TYPES[np.dtype(kind)])

    def reshape(self, value: str, shape: Sequence[int], name: str = "") -> str:
        """A Reshape."""
        return self.add("Reshape", value, self.integers(*shape), name=name)

    def smallest(self, ways: Iterable[Way]) -> str:
        """Go the way that adds the fewest bytes (the first of equals); all give the same numbers."""
        tried = [(build := Builder(before=self), way(build)) for way in ways]
        best, result = min(tried, key=lambda each: each[0].size)
        self.take(best)
        return result

    def call(self, value: str, name: str) -> None:
        """Give a value that was just added another name, in the file too."""
        mine = self._parts[value] == self.part and not any(value in node.inputs for node in self.nodes)
        self._parts[name] = self.part
        if value in self.initializers and mine:
            self.initializers[name] = self.initializers.pop(value)
            self._shared = {key: name if given == value else given for key, given in self._shared.items()}
        elif value in self.initializers:
            self.initializers[name] = self.initializers[value]
        elif self.nodes and self.nodes[-1].outputs == (value,):
            self.nodes[-1] = replace(self.nodes[-1], outputs=(name,))
        else:
            self.add("Identity", value, name=name)

    def take(self, other: Builder) -> None:
        """Add what a builder that went on from this one holds."""
        self._number, self._shared = other._number, other._shared
        self.nodes += other.nodes
        self._parts |= other._parts
        self.initializers |= other.initializers

    def name(self) -> str:
        """A new one."""
        while True:
            text, number = "", self._number
            while number or not text:
                number, digit = divmod(number, 36)
                text = _DIGITS[digit] + text
            self._number += 1
            if f"p{text}" not in self._taken:
                self._parts[f"p{text}"] = self.part
                return f"p{text}"
