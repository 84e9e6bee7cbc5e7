"""One forward run of a copy of a network, watched: what each layer multiplies, what it returns, what is alive."""

from __future__ import annotations

import contextlib
import copy
import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import NetworkError
from sepnet.core.spec import describe
from sepnet.counting.kinds import EMBEDDINGS, expected_input
from sepnet.counting.watch import Shape, Trace, Watch

__all__ = ["trace"]

MAX_INPUTS_TO_GUESS = 4


def trace(model: nn.Module, shapes: tuple[Shape, ...], types: Sequence[torch.dtype | None], batch: int) -> Trace:
    """Run a copy once: on the meta device, and if that fails where the network is; the second failure is reported."""
    with contextlib.suppress(Exception):  # meta lacks some operations, and the values that a network may branch on
        return _run(_bare_copy(model, meta=True), shapes, types, batch=batch, device=torch.device("meta"))
    try:
        twin = _bare_copy(model, meta=False)
    except Exception as problem:  # the user's module may define its own copying
        raise NetworkError(f"the network cannot be copied: {describe(problem)}") from problem
    device = next((t.device for t in itertools.chain(model.parameters(), model.buffers())), torch.device("cpu"))
    return _run(twin, shapes, types, batch=batch, device=device)


def _bare_copy(model: nn.Module, meta: bool) -> nn.Module:
    """A deep copy in eval mode without hooks; with `meta` its parameters and buffers are shapes only, never copied."""
    memo: dict[int, Any] = {}
    with torch.no_grad():
        for module in model.modules():
            tensors = [*module._parameters.values(), *module._buffers.values(), *vars(module).values()]
            for tensor in (t for t in tensors if isinstance(t, torch.Tensor)):
                if meta and id(tensor) not in memo:
                    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
                    memo[id(tensor)] = (
                        nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
                    )
                elif not meta and not tensor.is_leaf:
                    # the weight that weight_norm and prune leave in the module: deepcopy refuses it
                    memo[id(tensor)] = tensor.detach().clone()
        with warnings.catch_warnings(action="ignore"):  # what torch tells itself about its graph modules
            twin = copy.deepcopy(model, memo)
    for module in twin.modules():
        for hooks in (
            module._forward_hooks,
            module._forward_pre_hooks,
            module._backward_hooks,
            module._backward_pre_hooks,
        ):
            hooks.clear()
    return twin.eval()


def _run(
    twin: nn.Module, shapes: tuple[Shape, ...], types: Sequence[torch.dtype | None], *, batch: int, device: torch.device
) -> Trace:
    """Run the copy on zeros, watched; `NetworkError` if no type of input fits."""
    real = next((p.dtype for p in twin.parameters() if p.dtype.is_floating_point), torch.float32)
    first: Exception | None = None
    for kinds in _input_types(twin, types, real):
        seen = Trace(types=kinds)
        watch = Watch(twin, seen)
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]), _no_fused_attention():
                inputs = [
                    torch.zeros((batch, *shape), dtype=kind, device=device)
                    for shape, kind in zip(shapes, kinds, strict=True)
                ]
                watch.run(inputs)
            return seen
        except Exception as problem:  # whatever the user's forward raises
            first = first or _misfit(problem, shapes, watch)
    raise first or NetworkError("found no input; expected a network with at least one")


@contextlib.contextmanager
def _no_fused_attention() -> Iterator[None]:
    """Transformer layers run their parts one by one, so that each is seen."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def _input_types(
    model: nn.Module, given: Sequence[torch.dtype | None], real: torch.dtype
) -> Iterator[tuple[torch.dtype, ...]]:
    """Types of the inputs to try: as given, else real; for a network with embeddings as few indices as it takes."""
    guess = len(given) <= MAX_INPUTS_TO_GUESS and any(isinstance(m, EMBEDDINGS) for m in model.modules())
    choices = list(itertools.product(*[[kind] if kind else [torch.int64, real] if guess else [real] for kind in given]))
    yield from sorted(choices, key=lambda kinds: sum(not k.is_floating_point for k in kinds) or len(kinds) + 1)


def _misfit(problem: Exception, shapes: tuple[Shape, ...], watch: Watch) -> NetworkError:
    """One line: the input, the layer that failed, what it found and expected, and what torch said."""
    asked = " and ".join(str(shape) for shape in shapes)
    text = describe(problem)
    if not watch.running:
        return NetworkError(f"an input of shape {asked} does not fit the network: {text}")
    path, module, inputs = watch.running[-1]
    found = " and ".join(str(tuple(i.shape)) for i in inputs if isinstance(i, torch.Tensor)) or "no tensor"
    expected = expected_input(module)
    where = f"layer {path!r} ({type(module).__name__})" if path else f"the network ({type(module).__name__})"
    detail = f"found {found}, expected {expected}" if expected else f"found {found}"
    return NetworkError(f"an input of shape {asked} does not fit the network: {where} {detail}: {text}")
