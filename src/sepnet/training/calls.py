"""A network run and watched: what each of its modules takes and gives, and the first one that gives something else."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

__all__ = ["Call", "calls", "difference", "first_unlike", "run", "undisturbed"]

Tensors = tuple[torch.Tensor, ...]


@dataclass(frozen=True)
class Call:
    """One call of a module.

    Attributes:
        module: its name, "" for the network itself, and its class.
        inner: whether it called modules itself.
        given, found: the tensors that it took and gave.
    """

    name: str
    kind: str
    inner: bool
    given: Tensors
    found: Tensors

    def __str__(self) -> str:
        return f"layer {self.name!r} ({self.kind})" if self.name else f"the network's own forward ({self.kind})"


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No gradients, and random numbers go on afterwards as if none had been drawn."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def run(model: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """The outputs; the batch stays as it is, also where the network changes its input in place."""
    found: torch.Tensor = model(batch.clone())
    return found


def calls(model: nn.Module, batch: torch.Tensor) -> list[Call]:
    """What every module takes and gives, copied, in the order in which they end."""
    done: list[Call] = []
    open_calls: list[tuple[int, Tensors]] = []

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        open_calls.append((len(done), _copied((args, kwargs))))

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def hook(module: nn.Module, _: Any, found: Any) -> None:
            start, given = open_calls.pop()
            done.append(Call(name, type(module).__name__, len(done) > start, given, _copied(found)))

        return hook

    with contextlib.ExitStack() as hooks:
        for name, module in model.named_modules():
            for handle in (
                module.register_forward_pre_hook(before, with_kwargs=True),
                module.register_forward_hook(after(name)),
            ):
                hooks.callback(handle.remove)
        run(model, batch)
    return done


def first_unlike(
    seen: Sequence[Call], same_given: Callable[[int], bool], same_found: Callable[[int], bool]
) -> tuple[Call, Call | None] | None:
    """The innermost call that takes the same and gives something else; of a call with others inside, the one before which that is.

    Args:
        seen: calls in the order in which they end.
        same_given, same_found: whether the call at that place takes and gives the same elsewhere.
    """
    later = None
    for at, call in enumerate(seen):
        if not same_given(at):
            later = later or call
        elif not same_found(at):
            return call, later if call.inner else None
    return None


def difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """The largest, over the largest of `wanted`; infinite for other shapes, and where only one of the two is finite.

    >>> difference(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    0.5
    """
    if found.shape != wanted.shape:
        return float("inf")
    ours, theirs = (torch.view_as_real(each) if each.is_complex() else each.double() for each in (found, wanted))
    apart = torch.where((ours == theirs) | (ours.isnan() & theirs.isnan()), 0.0, (ours - theirs).abs())
    largest = torch.where(theirs.isfinite(), theirs.abs(), 0.0).max().item() if theirs.numel() else 0.0
    most = apart.nan_to_num(nan=torch.inf).max().item() if apart.numel() else 0.0
    return most / largest if largest else (torch.inf if most else 0.0)


def _copied(values: Any) -> Tensors:
    return tuple(tensor.detach().clone() for tensor in _tensors(values))


def _tensors(values: Any) -> Iterable[torch.Tensor]:
    if isinstance(values, torch.Tensor):
        yield values
    elif isinstance(values, Mapping):
        for value in values.values():
            yield from _tensors(value)
    elif isinstance(values, Sequence) and not isinstance(values, str):
        for value in values:
            yield from _tensors(value)
