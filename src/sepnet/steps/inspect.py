"""Inspect a network: where its parameters and its multiply-accumulates are, layer by layer."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import NetworkError
from sepnet.core.network import Kind, LayerReport, NetworkReport

__all__ = ["inspect", "kind_of"]

Shape = tuple[int, ...]

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
MAX_INPUTS_TO_GUESS = 4


def inspect(model: nn.Module, input_shape: Shape | Sequence[Shape], name: str = "") -> NetworkReport:
    """Count the parameters and the multiply-accumulates of every layer, in the order of the modules.

    A layer is a module that directly owns parameters; the parameters of a parametrization
    (`torch.nn.utils.parametrize`) belong to the module whose weight it makes.  Shared parameters are counted where
    they appear first.  macs are those of one example, bias not counted, padding counted like pixels:

    - convolution: `output elements * in_channels / groups * kernel elements`
    - transposed convolution: `input elements * out_channels / groups * kernel elements`
    - fc: `output elements * in_features`
    - embeddings and norms: 0; "other" (recurrent layers, attention, PReLU, parameters that a module uses itself): not
      counted, 0.

    A module that is called several times adds up; one that is never called has 0.  The network runs once, on zeros, in
    eval mode, as a copy without its hooks and, where possible, without memory (torch's meta device); the network given
    is not changed.

    Args:
        model: any plain network; of one from `torch.compile` the original is inspected.
        input_shape: shape of one example without the batch, (1, 28, 28); or several, one for each input.
        name: for the report; "" takes the class name.

    Returns:
        The report.  Of several inputs its `input_shape` is the first.

    Raises:
        NetworkError: no torch module, a scripted one, a lazy one without shapes yet, or an input that does not fit; the
            message gives the layer, what it found and what it expected.

    >>> report = inspect(nn.Sequential(nn.Conv2d(1, 20, 5), nn.Flatten(), nn.Linear(11520, 10)), (1, 28, 28))
    >>> [(layer.name, layer.kind, layer.params, layer.macs) for layer in report.layers]
    [('0', 'conv kxk', 520, 288000), ('2', 'fc', 115210, 115200)]
    """
    if not isinstance(model, nn.Module):
        raise NetworkError(f"found {type(model).__name__}; expected a torch.nn.Module")
    if isinstance(model, torch.jit.ScriptModule):
        raise NetworkError(
            "found a TorchScript network, whose layers cannot be watched; expected the module it was made from"
        )
    model = getattr(model, "_orig_mod", model)
    lazy = [n for n, p in itertools.chain(model.named_parameters(), model.named_buffers()) if nn.parameter.is_lazy(p)]
    if lazy:
        raise NetworkError(f"{lazy[0]!r} has no shape yet (a lazy module); run the network once on an example before")
    shapes = _shapes(input_shape)
    trace = _trace(model, shapes)
    return NetworkReport(name or type(model).__name__, shapes[0], tuple(_rows(model, trace)))


def kind_of(module: nn.Module) -> Kind:
    """The kind of a layer, one of `sepnet.core.network.KINDS`.

    >>> kind_of(nn.Conv2d(8, 8, 3, groups=8)), kind_of(nn.Conv2d(8, 4, 1)), kind_of(nn.PReLU())
    ('depthwise', 'conv 1x1', 'other')
    """
    if isinstance(module, (*CONVS, *TRANSPOSED)):
        if all(k == 1 for k in module.kernel_size):
            return "conv 1x1"
        return "depthwise" if module.groups == module.in_channels > 1 else "conv kxk"
    if isinstance(module, nn.Linear):
        return "fc"
    return "norm" if isinstance(module, NORMS) else "other"


@dataclass
class _Trace:
    """What one forward run saw, by module path."""

    macs: dict[str, int] = field(default_factory=dict)
    weights: dict[str, Shape] = field(default_factory=dict)
    running: list[tuple[str, nn.Module, tuple[Any, ...]]] = field(default_factory=list)


def _rows(model: nn.Module, trace: _Trace) -> Iterator[LayerReport]:
    seen: set[int] = set()
    for path, module in model.named_modules():
        if _in_parametrization(path):
            continue
        own = list(module.parameters(recurse=False))
        parametrized = module._modules.get("parametrizations")
        own += parametrized.parameters() if parametrized is not None else []
        if not own:
            continue
        fresh = {id(p): p.numel() for p in own if id(p) not in seen}
        seen.update(fresh)
        yield LayerReport(
            path, kind_of(module), trace.weights.get(path, ()), sum(fresh.values()), trace.macs.get(path, 0)
        )


def _in_parametrization(path: str) -> bool:
    return "parametrizations" in path.split(".")


def _shapes(input_shape: Shape | Sequence[Shape]) -> tuple[Shape, ...]:
    """One shape an input; `NetworkError` for what is no shape."""
    given: Any = input_shape
    try:
        shapes = tuple(tuple(s) for s in given) if any(not isinstance(s, int) for s in given) else (tuple(given),)
        valid = all(isinstance(d, int) and not isinstance(d, bool) and d >= 1 for s in shapes for d in s)
    except TypeError:
        shapes, valid = (), False
    if not shapes or not valid:
        raise NetworkError(
            f"found input shape {input_shape!r}; expected sizes >= 1 without the batch, as (1, 28, 28), or several such"
        )
    return shapes


def _trace(model: nn.Module, shapes: tuple[Shape, ...]) -> _Trace:
    """Run a copy once: on the meta device, and if that fails where the network is; the second failure is reported."""
    with contextlib.suppress(Exception):  # meta lacks some operations, and the values that a network may branch on
        return _run(_bare_copy(model, meta=True), shapes, torch.device("meta"))
    try:
        twin = _bare_copy(model, meta=False)
    except Exception as problem:  # the user's module may define its own copying
        raise NetworkError(f"the network cannot be copied: {type(problem).__name__}: {_one_line(problem)}") from problem
    device = next((t.device for t in itertools.chain(model.parameters(), model.buffers())), torch.device("cpu"))
    return _run(twin, shapes, device)


def _bare_copy(model: nn.Module, meta: bool) -> nn.Module:
    """A deep copy in eval mode without hooks; with `meta` its parameters and buffers are shapes only, never copied."""
    memo: dict[int, Any] = {}
    with torch.no_grad():
        for module in model.modules():
            tensors = [*module._parameters.values(), *module._buffers.values(), *vars(module).values()]
            for tensor in (t for t in tensors if isinstance(t, torch.Tensor)):
                if meta:
                    empty = torch.empty_like(tensor, device="meta")
                    memo[id(tensor)] = (
                        nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty
                    )
                elif (
                    not tensor.is_leaf
                ):  # the weight that weight_norm and prune leave in the module: deepcopy refuses it
                    memo[id(tensor)] = tensor.detach().clone()
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


def _run(twin: nn.Module, shapes: tuple[Shape, ...], device: torch.device) -> _Trace:
    """Run the copy on zeros with counting hooks; `NetworkError` if no type of input fits."""
    trace = _Trace()
    for path, module in twin.named_modules():
        if not _in_parametrization(path):
            _watch(path, module, trace)
    real = next((p.dtype for p in twin.parameters() if p.dtype.is_floating_point), torch.float32)
    first: Exception | None = None
    for types in _input_types(twin, len(shapes), real):
        trace.macs.clear()
        trace.running.clear()
        inputs = [
            torch.zeros((1, *shape), dtype=kind, device=device) for shape, kind in zip(shapes, types, strict=True)
        ]
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                twin(*inputs)
            return trace
        except Exception as problem:  # whatever the user's forward raises
            first = first or _misfit(problem, shapes, trace)
    assert first is not None
    raise first


def _input_types(model: nn.Module, inputs: int, real: torch.dtype) -> Iterator[tuple[torch.dtype, ...]]:
    """Types of the inputs to try: all real, and for a network with embeddings also indices in their place."""
    if inputs <= MAX_INPUTS_TO_GUESS and any(isinstance(m, EMBEDDINGS) for m in model.modules()):
        yield from itertools.product((torch.int64, real), repeat=inputs)
    else:
        yield (real,) * inputs


def _watch(path: str, module: nn.Module, trace: _Trace) -> None:
    """Hooks that note what runs with which input, and add up the macs."""
    try:
        weight = getattr(module, "weight", None)  # a parametrized weight is computed here
        trace.weights[path] = tuple(weight.shape) if isinstance(weight, torch.Tensor) else ()
    except Exception:  # a parametrization that does not run on this device
        trace.weights[path] = ()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        trace.running.append((path, module, (*args, *kwargs.values())))

    def after(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
        trace.running.pop()
        macs = _macs(module, (*args, *kwargs.values()), output)
        if macs:
            trace.macs[path] = trace.macs.get(path, 0) + macs

    module.register_forward_pre_hook(before, with_kwargs=True)
    module.register_forward_hook(after, with_kwargs=True)


def _macs(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> int:
    if not isinstance(output, torch.Tensor):
        return 0
    if isinstance(module, CONVS):
        return output.numel() * (module.in_channels // module.groups) * math.prod(module.kernel_size)
    if isinstance(module, TRANSPOSED):
        return int(inputs[0].numel()) * (module.out_channels // module.groups) * math.prod(module.kernel_size)
    return output.numel() * module.in_features if isinstance(module, nn.Linear) else 0


def _misfit(problem: Exception, shapes: tuple[Shape, ...], trace: _Trace) -> NetworkError:
    """One line: the input, the layer that failed, what it found and expected, and what torch said."""
    asked = " and ".join(str(shape) for shape in shapes)
    text = f"{type(problem).__name__}: {_one_line(problem)}"
    if not trace.running:
        return NetworkError(f"an input of shape {asked} does not fit the network: {text}")
    path, module, inputs = trace.running[-1]
    found = " and ".join(str(tuple(i.shape)) for i in inputs if isinstance(i, torch.Tensor)) or "no tensor"
    expected = _expected(module)
    where = f"layer {path!r} ({type(module).__name__})" if path else f"the network ({type(module).__name__})"
    detail = f"found {found}, expected {expected}" if expected else f"found {found}"
    return NetworkError(f"an input of shape {asked} does not fit the network: {where} {detail}: {text}")


def _expected(module: nn.Module) -> str:
    """The shape that a layer takes, batch included, in words; "" if it is not known."""
    if isinstance(module, (*CONVS, *TRANSPOSED)):
        return f"(batch, {module.in_channels}{', size' * len(module.kernel_size)})"
    if isinstance(module, nn.Linear):
        return f"(batch, ..., {module.in_features})"
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return f"(batch, {module.num_features}, ...)"
    shape = getattr(module, "input_shape", None)
    return f"(batch, {', '.join(map(str, shape))})" if isinstance(shape, tuple) and shape else ""


def _one_line(problem: BaseException) -> str:
    return " ".join(str(problem).split())[:300]
