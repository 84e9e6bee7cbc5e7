"""Inspect a network: where its parameters and its multiply-accumulates are, layer by layer."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import NetworkArgumentError, NetworkError
from sepnet.core.network import Kind, LayerReport, NetworkReport
from sepnet.counting.kinds import EMBEDDINGS, RECURRENT, kind_of
from sepnet.counting.trace import trace
from sepnet.counting.watch import Shape, Trace, layer_path

__all__ = ["inspect", "kind_of"]


def inspect(
    model: nn.Module, input_shape: Shape | Sequence[Shape], name: str = "", input_types: Sequence[str] = ()
) -> NetworkReport:
    """Count the parameters and the multiply-accumulates of every layer, in the order of the modules.

    A layer is a module that directly owns parameters; the parameters of a parametrization
    (`torch.nn.utils.parametrize`) belong to the module whose weight it makes.  Shared parameters are counted where
    they appear first.  macs are those of one example, bias not counted, padding counted like pixels:

    - convolution: `output elements * in_channels / groups * kernel elements`
    - transposed convolution: `input elements * out_channels / groups * kernel elements`
    - fc, and every other product of a matrix with a weight: `output elements * length of the sums`
    - recurrent: for each step, layer and direction `gates * hidden * (inputs + state)`
    - embeddings, norms, and weights that are only added or multiplied one by one: 0.

    The operators that torch runs are counted, whoever calls them, at the layer that owns the weight: the projections
    of attention and weights used through `torch.nn.functional` are seen.  Products of two activations are in
    `activation_macs` and no part of macs.  A layer that is called several times adds up; one that never runs has 0 and
    says so, and so does one whose weight goes into an operator that cannot be counted.

    The network runs once, on zeros, in eval mode, as a copy without its hooks and, where possible, without memory
    (torch's meta device); the network given is not changed.

    Args:
        model: any plain network; of one from `torch.compile` the original is inspected.  An attribute `example_batch`
            says with how many examples it must be run (1 if it has none).
        input_shape: shape of one example without the batch, (1, 28, 28); or several, one for each input.
        name: for the report; "" takes the class name.
        input_types: types of the inputs by torch's names ("int64"), "" to guess; () guesses all.

    Raises:
        NetworkError: no torch module, a scripted one, a lazy one without shapes yet, or an input that does not fit; the
            message gives the layer, what it found and what it expected.

    >>> report = inspect(nn.Sequential(nn.Conv2d(1, 20, 5), nn.Flatten(), nn.Linear(11520, 10)), (1, 28, 28))
    >>> [(layer.name, layer.kind, layer.params, layer.macs, layer.output_shape) for layer in report.layers]
    [('0', 'conv kxk', 520, 288000, (20, 24, 24)), ('2', 'fc', 115210, 115200, (10,))]
    >>> report.peak_activation_bytes == 4 * (28 * 28 + 20 * 24 * 24 + 10)
    True
    """
    model = _checked(model)
    shapes = _shapes(input_shape)
    types = _types(input_types, len(shapes))
    batch = getattr(model, "example_batch", 1)
    seen = trace(model, shapes, types, batch)
    return NetworkReport(
        name or type(model).__name__,
        shapes[0],
        tuple(_rows(model, seen, batch)),
        shapes,
        tuple(str(kind).removeprefix("torch.") for kind in seen.types),
        seen.peak_bytes // batch,
        seen.activation_macs // batch,
    )


def _checked(model: Any) -> nn.Module:
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
    return model  # type: ignore[no-any-return]


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


def _types(names: Sequence[str], inputs: int) -> list[torch.dtype | None]:
    names = names or [""] * inputs
    found = [getattr(torch, name, None) if name else None for name in names]
    valid = all(not name or isinstance(kind, torch.dtype) for name, kind in zip(names, found, strict=True))
    if not valid or len(found) != inputs:
        raise NetworkArgumentError(
            f"found input types {list(names)}; expected {inputs} of torch's type names, as int64 or float32"
        )
    return found


def _rows(model: nn.Module, seen: Trace, batch: int) -> Iterator[LayerReport]:
    first: dict[int, str] = {}
    for path, module in model.named_modules():
        if layer_path(path) != path:
            continue
        own = list(module.parameters(recurse=False))
        parametrized = module._modules.get("parametrizations")
        own += parametrized.parameters() if parametrized is not None else []
        if not own and not seen.macs.get(path) and path not in seen.strange:
            continue
        shared = next((first[id(p)] for p in own if first.get(id(p), path) != path), None)
        fresh = {id(p): p.numel() for p in own if id(p) not in first}
        first.update(dict.fromkeys(fresh, path))
        strange = sorted(set(seen.strange.get(path, ())))
        notes = [f"not counted: {', '.join(strange)}"] if strange else []
        notes += [f"shares weights with {shared or '(network)'}"] if shared is not None else []
        notes += [] if own else ["its weights are buffers, which are no parameters"]
        notes += [seen.notes[path]] if path in seen.notes else []
        notes += [] if path in seen.used else ["not run"]
        output = seen.outputs.get(path, ())
        yield LayerReport(
            path,
            _kind(path, module, seen),
            _weight_shape(path, own, seen),
            sum(fresh.values()),
            seen.macs.get(path, 0) // batch,
            output[1:] if output[:1] == (batch,) else output,
            seen.activation_bytes.get(path, 0) // batch,
            not strange,
            "; ".join(notes),
        )


def _kind(path: str, module: nn.Module, seen: Trace) -> Kind:
    """By its class; of a class that is not torch's own, by what is done with its weights."""
    kind = kind_of(module)
    return seen.kinds.get(path, kind) if kind == "other" and not isinstance(module, (*RECURRENT, *EMBEDDINGS)) else kind


def _weight_shape(path: str, own: Sequence[nn.Parameter], seen: Trace) -> Shape:
    """Shape of `weight`, else of the only parameter that is a matrix or more."""
    matrices = [tuple(p.shape) for p in own if p.dim() > 1]
    return seen.weights.get(path) or (matrices[0] if len(matrices) == 1 else ())
