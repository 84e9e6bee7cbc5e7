"""The scheme noun: a float weight to small integers and a rule that gives the float back.

A scheme is a frozen options object.  While the network trains it is a parametrization of the layer's weight; when training
is over it turns the weight into a `CodedTensor`.  Schemes know nothing of bytes, codecs or graphs.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, runtime_checkable

import msgspec

from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.convert import convert
from sepnet.core.errors import RecipeError, UnknownNameError

if TYPE_CHECKING:
    import torch
    from torch import nn

__all__ = ["Advancing", "Penalizing", "Scheme", "Site", "make_scheme"]

SchemeType = TypeVar("SchemeType", bound="Scheme")


@dataclass(frozen=True)
class Site:
    """Where a scheme works: one weight of one layer.

    Attributes:
        layer: module path.
        parameter: name of the parameter in the module ("weight").
        kind: the layer's kind, see core/network.py.
        shape: the weight's shape.
        tied: other state-dict keys of the same tensor.
    """

    layer: str
    parameter: str
    kind: str
    shape: tuple[int, ...]
    tied: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """State-dict key."""
        return f"{self.layer}.{self.parameter}" if self.layer else self.parameter


@runtime_checkable
class Advancing(Protocol):
    """A parametrization that changes with time, by itself or until it has settled."""

    def advance(self, weight: torch.Tensor, time: float) -> None:
        """Be as at `time`, 0 to 1 of the stage; `weight` is the one before the parametrization.  Never goes back."""


@runtime_checkable
class Penalizing(Protocol):
    """A parametrization that adds to the loss."""

    def penalty(self, weight: torch.Tensor) -> torch.Tensor:
        """A number, in nats, for the gradient of a step; `weight` is what the parametrization gets."""


class Scheme(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One compression scheme and its options.

    Contract, tested for every scheme: the parametrized weight at the end of training equals
    `code(...).restore()` within the rounding of stored scales (2**-10 relative); `attach` leaves the given weight untouched.
    """

    name: ClassVar[str]
    codes: ClassVar[bool] = True
    """Whether the scheme itself yields integer codes; a chain whose last scheme does not is closed by `keep`."""
    zeros: ClassVar[bool] = True
    """Whether a weight that an earlier scheme of the chain pruned stays zero."""

    @property
    def settles(self) -> float:
        """The fraction of its stage over which it goes on changing how the weight is computed; 0 for schemes that do not.

        Later schemes of the chain need a later stage if it is not 0.
        """
        return 0.0

    def refuse(self, site: Site) -> str:
        """Why this scheme cannot work there, or "" if it can."""
        return ""

    @abc.abstractmethod
    def attach(self, weight: torch.Tensor, peers: list[torch.Tensor]) -> nn.Module:
        """A parametrization for `weight` (values at this moment, earlier schemes of the chain applied).

        `peers` are the weights that the same rule names, for choices made over all of them.
        """

    @abc.abstractmethod
    def code(self, name: str, weight: torch.Tensor, state: nn.Module | None, schemes: tuple[str, ...]) -> CodedTensor:
        """Integer codes of `weight` (what the network computed with); `state` is what `attach` returned."""


def make_scheme(table: Mapping[str, Any], shelf: Mapping[str, type[Scheme]] | Any, where: str) -> Scheme:
    """A scheme from its table in a recipe; `RecipeError` names the option that is wrong."""
    options = dict(table)
    name = options.pop("scheme", None)
    if not isinstance(name, str):
        raise RecipeError(f"{where}: a scheme table needs the key scheme = NAME; choices: {', '.join(sorted(shelf))}")
    try:
        kind = shelf[name]
    except UnknownNameError as error:
        raise RecipeError(f"{where}: {error}") from error
    made: Scheme = convert(options, kind, f"{where}: scheme {name!r}")
    return made
