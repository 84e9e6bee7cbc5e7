"""A network under its plan: schemes as parametrizations of the weights, started stage by stage."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterable
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.utils import parametrize

from sepnet.core.coded_tensor import CodedTensor, float_codes
from sepnet.core.network import NetworkReport
from sepnet.core.plan import Plan, PlannedWeight
from sepnet.core.scheme import Advancing, Penalizing, Scheme, Site
from sepnet.schemes.keep import Keep

__all__ = ["ParametrizedNetwork", "sites", "tied_names"]


def sites(model: nn.Module, report: NetworkReport) -> list[Site]:
    """Every parameter once, in the order of the modules; a tied one where it appears first."""
    kinds = {layer.name: layer.kind for layer in report.layers}
    second = tied_names(model)
    found = []
    for layer, module in model.named_modules():
        for name, parameter in module.named_parameters(recurse=False):
            site = Site(layer, name, kinds.get(layer, "other"), tuple(parameter.shape))
            if site.name not in second:
                tied = tuple(other for other, first in second.items() if first == site.name)
                found.append(dataclasses.replace(site, tied=tied))
    return found


def tied_names(model: nn.Module) -> dict[str, str]:
    """Second name -> first name of parameters that several modules share."""
    first: dict[int, str] = {}
    second = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        if first.setdefault(id(parameter), name) != name:
            second[name] = first[id(parameter)]
    return second


class ParametrizedNetwork:
    """A copy of the user's network on which schemes can be started.

    The user's module, its class and its forward stay untouched; so does the float copy kept for distillation.
    """

    def __init__(self, model: nn.Module, plan: Plan) -> None:
        self.plan = plan
        self.model = copy.deepcopy(model)
        self._names = list(model.state_dict())
        self._states: dict[tuple[str, str], nn.Module] = {}

    def start(self, names: Iterable[str]) -> None:
        """Start the schemes called `names` wherever the plan has them, in the order of each chain.

        Those that run already stay; each finds its weight as the ones before it in the chain leave it in the end.
        """
        wanted = set(names)
        longest = max((len(weight.schemes) for weight in self.plan.weights), default=0)
        for position in range(longest):
            pairs = [
                (weight, weight.schemes[position])
                for weight in self.plan.weights
                if len(weight.schemes) > position and weight.schemes[position].name in wanted
            ]
            self._start([pair for pair in pairs if (pair[0].site.name, pair[1].name) not in self._states])

    def _start(self, pairs: list[tuple[PlannedWeight, Scheme]]) -> None:
        for weight, _ in pairs:
            self._finish(weight.site.name)
        values = {weight.site.name: self._value(weight.site).detach().clone() for weight, _ in pairs}
        for weight, scheme in pairs:
            peers = [
                values[other.site.name]
                for other, same in pairs
                if other.rule == weight.rule and same.name == scheme.name
            ]
            state = scheme.attach(values[weight.site.name], peers)
            self._states[weight.site.name, scheme.name] = state
            if not isinstance(scheme, Keep):
                module = self.model.get_submodule(weight.site.layer)
                parametrize.register_parametrization(module, weight.site.parameter, state, unsafe=True)

    def _finish(self, name: str) -> None:
        for (weight, _), state in self._states.items():
            if weight == name and isinstance(state, Advancing):
                state.advance(self._original(name), 1.0)

    def start_rest(self) -> None:
        """Start every scheme that no stage started."""
        self.start([scheme.name for weight in self.plan.weights for scheme in weight.schemes])

    def advance(self, names: Iterable[str], time: float) -> None:
        """Tell the schemes called `names` how far the stage is, 0 to 1."""
        for (name, scheme), state in self._states.items():
            if isinstance(state, Advancing) and scheme in names:
                state.advance(self._original(name), time)

    def penalty(self) -> torch.Tensor | None:
        """What the schemes that have started add to the loss of a step; None if none does."""
        total = None
        for name in dict.fromkeys(name for (name, _), state in self._states.items() if isinstance(state, Penalizing)):
            value = self._original(name)
            for state in self._chain(name):
                if isinstance(state, Penalizing):
                    cost = state.penalty(value)
                    total = cost if total is None else total + cost
                value = state(value)
        return total

    def settled(self, names: Iterable[str]) -> float:
        """The fraction of a stage that starts `names` after which the weights are computed as they will be in the end."""
        return max((s.settles for weight in self.plan.weights for s in weight.schemes if s.name in names), default=0.0)

    def coded(self) -> list[CodedTensor]:
        """Every parameter as codes under the schemes that have started.

        A weight none of whose schemes has started is kept as float32; after `start_rest` there is none.
        """
        return [self._code(weight) for weight in self.plan.weights]

    def code_anew(self, name: str, numbers: npt.NDArray[np.float32]) -> CodedTensor:
        """Codes for new numbers of the bias or norm `name`, by the last scheme of its chain."""
        weight = next(weight for weight in self.plan.weights if weight.site.name == name)
        schemes = tuple(scheme.name for scheme in weight.schemes)
        if (name, schemes[-1]) not in self._states:
            return float_codes(name, numbers, "float32", ("keep",))
        return weight.schemes[-1].code(name, torch.from_numpy(numbers), None, schemes)

    def state(self) -> dict[str, npt.NDArray[Any]]:
        """The state dict of the user's own class, weights as the network computes with them."""
        present = self.model.state_dict()
        state = {}
        for name in self._names:
            if name in present:
                state[name] = _numbers(present[name])
            else:
                layer, _, parameter = name.rpartition(".")
                state[name] = _numbers(getattr(self.model.get_submodule(layer), parameter))
        return state

    def load(self, state: dict[str, torch.Tensor]) -> None:
        """Take over a checkpoint's tensors; the same schemes must have started."""
        for name, present in (*self.model.named_parameters(), *self.model.named_buffers()):
            if name in state and state[name].shape != present.shape:
                present.data = torch.empty_like(state[name])
        self.model.load_state_dict(state)

    def _code(self, weight: PlannedWeight) -> CodedTensor:
        name, value = weight.site.name, self._value(weight.site).detach().clone()
        chain = [scheme for scheme in weight.schemes if (name, scheme.name) in self._states]
        if not chain or not chain[-1].codes:
            return float_codes(name, value.numpy(), "float32", tuple(scheme.name for scheme in chain) or ("keep",))
        coded = chain[-1].code(name, value, self._states[name, chain[-1].name], tuple(scheme.name for scheme in chain))
        return dataclasses.replace(coded, codec=weight.codec)

    def _value(self, site: Site) -> torch.Tensor:
        return cast(torch.Tensor, getattr(self.model.get_submodule(site.layer), site.parameter))

    def _original(self, name: str) -> torch.Tensor:
        return self._chain(name).original

    def _chain(self, name: str) -> parametrize.ParametrizationList:
        layer, _, parameter = name.rpartition(".")
        chain = self.model.get_submodule(layer).parametrizations[parameter]  # type: ignore[index]
        return cast(parametrize.ParametrizationList, chain)


def _numbers(tensor: torch.Tensor) -> npt.NDArray[Any]:
    """As an array; of bfloat16, which numpy lacks, in float32."""
    kept = tensor.detach()
    return (kept.float() if kept.dtype == torch.bfloat16 else kept).numpy()
