"""Networks in `.pt2` files, as `torch.export.save` writes them.

torch opens the file, and for some of its contents torch unpickles: a `.pt2` file can run code when it is opened.  Open
only files that you trust.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import NetworkError, UsageError
from sepnet.core.spec import Spec, describe

__all__ = ["from_pt2"]

KEPT_BY_COPIES = "_user_preserved_attributes"
"""The place for attributes that `copy.deepcopy` of a `torch.fx.GraphModule` keeps; it drops all others."""


def from_pt2(spec: Spec) -> nn.Module:
    """The network of a file that `torch.export.save` wrote, with the weights that it holds.

    Its forward is fixed: dropout and batch normalization stay in the mode in which it was exported (export in eval
    mode), sizes that were exported as fixed stay so; with a fixed batch it can be inspected, no more.  Attributes:
    `input_shapes` and `input_types` say what it takes, where all sizes but the batch are fixed; `fixed_batch` is its
    batch or None, `example_batch` with how many examples to try it.

    Raises:
        UsageError: options, which a file does not take.
        NetworkError: no such file, or not one that torch can open.
    """
    if spec.options:
        raise UsageError(f"network {spec.text!r}: a .pt2 file takes no options")
    try:
        with open(spec.text, "rb"):  # before torch, which tries an older format where there is no file
            pass
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("ignore")
            program = torch.export.load(spec.text)
            module = program.module()
    except OSError as problem:
        raise NetworkError(f"cannot read {spec.text}: {problem.strerror or problem}") from problem
    except Exception as problem:  # a damaged archive raises almost anything
        why = describe(problem).partition(" Please check the warnings above")[0]  # which are not shown
        raise NetworkError(f"{spec.text} is not a network that torch.export.save wrote: {why}") from problem
    for name in ("train", "eval"):  # they raise, though there is nothing to switch
        module.__dict__.pop(name, None)
    _tie(module)
    module.meta[KEPT_BY_COPIES] = _inputs(program)
    for name, value in module.meta[KEPT_BY_COPIES].items():
        setattr(module, name, value)
    return module


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """torch logs what it makes of a broken file before it raises: the error is enough."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _tie(module: nn.Module) -> None:
    """Parameters that share their numbers become one again, as they were in the network that was exported."""
    first: dict[tuple[Any, ...], nn.Parameter] = {}
    for part in module.modules():
        for name, tensor in part._parameters.items():
            if tensor is not None and tensor.numel():
                key = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
                part._parameters[name] = first.setdefault(key, tensor)


def _inputs(program: Any) -> dict[str, Any]:
    """What the network takes, as attributes of it."""
    taken = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in taken]
    if not values or not all(isinstance(value, torch.Tensor) and value.dim() > 0 for value in values):
        return {}
    batch = values[0].shape[0]
    fixed = batch if isinstance(batch, int) else None
    said: dict[str, Any] = {
        "fixed_batch": fixed,
        "example_batch": fixed or 2,
    }  # torch may have ruled out a batch of one
    if all(_fixed(value.shape[1:]) for value in values):
        shapes = tuple(tuple(value.shape[1:]) for value in values)
        types = tuple(str(value.dtype).removeprefix("torch.") for value in values)
        said |= {"input_shapes": shapes, "input_shape": shapes[0], "input_types": types}
    return said


def _fixed(sides: Iterable[Any]) -> bool:
    return all(isinstance(side, int) for side in sides)
