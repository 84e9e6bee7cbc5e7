"""Watching a run: hooks say which module runs, a dispatch mode sees every operator that torch calls."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from sepnet.core.network import Kind
from sepnet.counting.graph_run import Origin, follow
from sepnet.counting.kinds import RECURRENT, RECURRENT_HOME, recurrent_macs
from sepnet.counting.memory import LiveBytes, float32_bytes, key_of
from sepnet.counting.operators import NORMS, Product, multiplies_nothing, name_of, product_of
from sepnet.counting.shapes import quick

__all__ = ["Shape", "Trace", "Watch", "layer_path"]

Shape = tuple[int, ...]
Owners = tuple[str, ...]
PARAMETRIZATIONS = "parametrizations"


@dataclass
class Trace:
    """What one forward run saw, by module path.

    Attributes:
        macs, kinds, notes: of the weights that a module owns.
        weights: shape of a module's `weight`.
        outputs: shape of a layer's output, batch included.
        activation_bytes: of all its outputs.
        strange: operators that read its weights and that nobody knows how to count.
        used: modules whose weights were read.
        activation_macs: of products of two activations.
        peak_bytes: most bytes of activations alive at once.
        types: of the inputs.
    """

    macs: dict[str, int] = field(default_factory=dict)
    kinds: dict[str, Kind] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    weights: dict[str, Shape] = field(default_factory=dict)
    outputs: dict[str, Shape] = field(default_factory=dict)
    activation_bytes: dict[str, int] = field(default_factory=dict)
    strange: dict[str, list[str]] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    activation_macs: int = 0
    peak_bytes: int = 0
    types: tuple[torch.dtype, ...] = ()


def layer_path(path: str) -> str:
    """The layer that a module's path belongs to: parts of a parametrization to the module whose weight they make.

    >>> layer_path("features.0.parametrizations.weight.0"), layer_path("features.0")
    ('features.0', 'features.0')
    """
    parts = path.split(".")
    return ".".join(parts[: parts.index(PARAMETRIZATIONS)]) if PARAMETRIZATIONS in parts else path


class Watch(TorchDispatchMode):
    """Fills a trace while `run` runs the network.

    A tensor made of parameters and buffers alone is a weight, whatever was done to it (transposed, normalized, masked);
    anything else is an activation.  A product of a weight and an activation belongs to the layer that owns the weight;
    of several owners to the innermost that runs, or that a node of an exported graph was made from, else to the first.
    """

    def __init__(self, twin: nn.Module, seen: Trace) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.twin, self.seen = twin, seen
        self.running: list[tuple[str, nn.Module, tuple[Any, ...]]] = []
        self._owners: dict[int, Owners] = {}
        self._memory = LiveBytes(self._forget)
        self._recurrent = 0
        self._origin: Origin = ()
        for path, module in twin.named_modules():
            if layer_path(path) == path:
                self._hook(path, module)
            for tensor in (*module._parameters.values(), *module._buffers.values(), *vars(module).values()):
                if isinstance(tensor, torch.Tensor):  # the last: what weight_norm and prune leave in the module
                    self._own(tensor, (layer_path(path),))
        follow(twin, self._enter)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # or torch imports its compiler only to keep it away from here

    def _own(self, tensor: torch.Tensor, owners: Owners) -> None:
        key = self._memory.watch(tensor)
        self._owners[key] = tuple(dict.fromkeys((*self._owners.get(key, ()), *owners)))

    def _enter(self, origin: Origin) -> None:
        self._origin = origin

    def _forget(self, key: int) -> None:
        self._owners.pop(key, None)

    def run(self, inputs: list[torch.Tensor]) -> None:
        """Run the network once."""
        for tensor in inputs:
            self._memory.born(tensor)
        self._memory.settle()
        with self:
            output = self.twin(*inputs)
        self._memory.settle()
        self.seen.peak_bytes = self._memory.peak
        del output

    def _hook(self, path: str, module: nn.Module) -> None:
        try:
            weight = getattr(module, "weight", None)  # a parametrized weight is computed here
            self.seen.weights[path] = tuple(weight.shape) if isinstance(weight, torch.Tensor) else ()
        except Exception:  # a parametrization that does not run on this device
            self.seen.weights[path] = ()
        recurrent = module if isinstance(module, RECURRENT) else None
        owns = any(True for _ in module.parameters(recurse=False)) or hasattr(module, "parametrizations")

        def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            self.running.append((path, module, (*args, *kwargs.values())))
            self._recurrent += recurrent is not None

        def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
            self.running.pop()
            if recurrent is not None:
                self._recurrent -= 1
                self._add(path, recurrent_macs(recurrent, (*args, *kwargs.values())))
            if owns:
                tensors = list(_tensors(output))
                self.seen.outputs[path] = tuple(tensors[0].shape) if tensors else ()
                size = sum(map(float32_bytes, tensors))
                self.seen.activation_bytes[path] = self.seen.activation_bytes.get(path, 0) + size

        module.register_forward_pre_hook(before, with_kwargs=True)
        module.register_forward_hook(after, with_kwargs=True)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run an operator and note what it did."""
        self._memory.settle()
        inputs = [*_tensors(args), *_tensors((kwargs or {}).values())]
        output = quick(func, args, kwargs or {}, inputs)
        if output is None:
            output = func(*args, **(kwargs or {}))
        made = list(_tensors(output))
        keys = {key_of(tensor) for tensor in inputs}
        owners = [self._owners.get(key) for key in keys]
        constant = bool(owners) and all(owner is not None for owner in owners)
        if any(owners):
            self._read(func, args, output, owners, constant=constant)
        elif inputs:
            self._activations(func, args, output)
        for tensor in made:
            if key_of(tensor) in keys:
                continue
            if constant:
                self._own(tensor, tuple(path for owner in owners for path in owner or ()))
            else:
                self._memory.born(tensor)
        return output

    def _read(self, func: Any, args: Any, output: Any, owners: list[Owners | None], *, constant: bool) -> None:
        """An operator reads weights."""
        paths = [self._owner(owner) for owner in owners if owner]
        self.seen.used.update(paths)
        if constant or self._recurrent:
            return
        name = name_of(func)
        product = product_of(name, args, output)
        if product is None:
            if name in NORMS:
                self.seen.kinds.setdefault(paths[0], "norm")
            if name in NORMS or name == "embedding":
                self._returned(paths[0], output if isinstance(output, torch.Tensor) else output[0])
            elif not multiplies_nothing(func, name):
                for path in paths:
                    self.seen.strange.setdefault(path, []).append(name)
            return
        weights = [owner for factor in product.factors if (owner := self._owners.get(key_of(factor)))]
        if weights:
            self._multiply(self._owner(weights[0]), product, output)
        else:  # the weight is only what is added
            self.seen.activation_macs += product.macs

    def _activations(self, func: Any, args: Any, output: Any) -> None:
        """An operator reads no weights."""
        product = None if self._recurrent else product_of(name_of(func), args, output)
        self.seen.activation_macs += product.macs if product else 0

    def _owner(self, owners: Owners) -> str:
        inner = (*(path for path, _, _ in self.running), *(path for path, _ in self._origin))
        return next((path for path in reversed(inner) if path in owners), owners[0])

    def _multiply(self, path: str, product: Product, output: Any) -> None:
        self._add(path, product.macs)
        recurrent = any(at == path and home.startswith(RECURRENT_HOME) for at, home in self._origin)
        self.seen.kinds.setdefault(path, "other" if recurrent else product.kind)
        if product.note:
            self.seen.notes.setdefault(path, product.note)
        self._returned(path, output if isinstance(output, torch.Tensor) else output[0])

    def _returned(self, path: str, output: torch.Tensor) -> None:
        """An operator with the weights of a layer is the layer's output, if nobody calls the layer itself."""
        if not any(running == path for running, _, _ in self.running):
            self.seen.outputs[path] = tuple(output.shape)
            self.seen.activation_bytes[path] = self.seen.activation_bytes.get(path, 0) + float32_bytes(output)

    def _add(self, path: str, macs: int) -> None:
        self.seen.macs[path] = self.seen.macs.get(path, 0) + macs


def _tensors(value: Any) -> Iterator[torch.Tensor]:
    """The tensors in nested lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(value.values())
    elif isinstance(value, Iterable) and not isinstance(value, (str, bytes)):
        for part in value:
            yield from _tensors(part)
