"""The inputs and outputs of a network, and the arrays that are given for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sepnet.core.errors import DataError, UsageError

if TYPE_CHECKING:
    import numpy.typing as npt

__all__ = ["NUMBERS", "Port", "described", "fitted", "fixed_batch"]

NUMBERS = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "bool",
)
"""Types of inputs and outputs that can be run."""


@dataclass(frozen=True)
class Port:
    """An input or output of a network.

    Attributes:
        name: as the network's author gave it.
        shape: its sides: a number, the name of a free side, or None for a free side without a name.  None when the graph
            does not tell; () for a scalar.
        type: of its numbers, as numpy calls it; "" when the graph does not tell.

    >>> print(Port("audio", ("n", None, 80), "float32"))
    audio (float32, n x ? x 80)
    >>> Port("audio", ("n", None, 80), "float32").fits((2, 7, 80))
    True
    """

    name: str
    shape: tuple[int | str | None, ...] | None
    type: str

    def __str__(self) -> str:
        sides = (
            "any shape" if self.shape is None else " x ".join("?" if side is None else str(side) for side in self.shape)
        )
        return f"{self.name} ({self.type or 'any type'}, {sides or 'a scalar'})"

    @property
    def of_floats(self) -> bool:
        """Whether its numbers are floats."""
        return self.type.startswith("float")

    @property
    def fixed(self) -> int:
        """The first side where that is a number, else 0: so many examples it holds, if it holds examples."""
        first = self.shape[0] if self.shape else None
        return first if isinstance(first, int) else 0

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether an array of that shape can be given for it."""
        return self.shape is None or (
            len(shape) == len(self.shape)
            and all(side == own for side, own in zip(shape, self.shape, strict=True) if isinstance(own, int))
        )


def fixed_batch(inputs: Sequence[Port], outputs: Sequence[Port]) -> int:
    """Examples that a network is fixed to: the first side of its inputs, scalars left out, if no output has another; else 0.

    >>> x, y, loss = Port("x", (4, 80), "float32"), Port("y", (4, 2), "float32"), Port("loss", (), "float32")
    >>> fixed_batch([x], [y]), fixed_batch([x], [y, loss])
    (4, 0)
    """
    sizes = {port.fixed for port in inputs if port.shape != ()}
    (size,) = sizes if len(sizes) == 1 else (0,)
    return size if all(port.shape != () and port.fixed in (0, size) for port in outputs) else 0


def described(ports: Sequence[Port]) -> str:
    """All of them for a message."""
    return ", ".join(map(str, ports)) or "nothing"


def fitted(given: object, inputs: Sequence[Port]) -> dict[str, npt.NDArray[Any]]:
    """An array for each input, of its type; `given` is a mapping by name, or one array for the one input.

    Floats are cast to the floats that are expected, integers to the integers, if these hold them.  Nothing else is cast.

    Raises:
        UsageError: names or types that are not those of the inputs.  DataError: integers out of range.

    >>> fitted({"n": [1, 2]}, [Port("n", ("batch",), "int32")])["n"].dtype
    dtype('int32')
    """
    if not isinstance(given, Mapping):
        if len(inputs) != 1:
            raise UsageError(
                f"found one array, and the network takes {described(inputs)}; expected a dict of name and array"
            )
        given = {inputs[0].name: given}
    if given.keys() != {port.name for port in inputs}:
        found = ", ".join(map(str, given)) or "nothing"
        raise UsageError(f"found inputs called {found}; expected {', '.join(port.name for port in inputs)}")
    return {port.name: _cast(given[port.name], port) for port in inputs}


def _cast(given: object, port: Port) -> npt.NDArray[Any]:
    try:
        array = np.asarray(given)
    except (TypeError, ValueError) as error:
        raise UsageError(f"input {port.name}: found {type(given).__name__}, no array: {error}") from error
    if not port.type or array.dtype == port.type:
        return np.ascontiguousarray(array).reshape(array.shape)
    wanted = np.dtype(port.type)
    both_integers = array.dtype.kind in "iu" and wanted.kind in "iu"
    if not both_integers and not (array.dtype.kind == wanted.kind == "f"):
        raise UsageError(f"input {port.name}: found numbers of type {array.dtype}; expected {port.type}")
    with np.errstate(over="ignore"):
        made = array.astype(wanted, order="C")
    if both_integers and not np.array_equal(made, array):
        raise DataError(
            f"input {port.name}: found integers that {port.type} does not hold, {array.min()} to {array.max()}"
        )
    return made
