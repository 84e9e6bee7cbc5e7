"""Networks in `.pt2` files, as `torch.export.save` writes them.

torch opens the file, and for some of its contents torch unpickles: a `.pt2` file can run code when it is opened.  Open
only files that you trust.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from sepnet.core.errors import NetworkError, UsageError
from sepnet.core.spec import Spec, describe

__all__ = ["from_pt2"]


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
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.load(spec.text)
            module = program.module()
    except OSError as problem:
        raise NetworkError(f"cannot read {spec.text}: {problem.strerror or problem}") from problem
    except Exception as problem:  # a damaged archive raises almost anything
        raise NetworkError(
            f"{spec.text} is not a network that torch.export.save wrote: {describe(problem)[:300]}"
        ) from problem
    for name in ("train", "eval"):  # they raise, though there is nothing to switch
        module.__dict__.pop(name, None)
    _say_inputs(module, program)
    return module


def _say_inputs(module: Any, program: Any) -> None:
    taken = set(program.graph_signature.user_inputs)
    values = [node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder" and node.name in taken]
    if not values or not all(isinstance(value, torch.Tensor) and value.dim() > 0 for value in values):
        return
    batch = values[0].shape[0]
    module.fixed_batch = batch if isinstance(batch, int) else None
    module.example_batch = module.fixed_batch or 2  # torch may have ruled out a batch of one
    if all(_fixed(value.shape[1:]) for value in values):
        module.input_shapes = tuple(tuple(value.shape[1:]) for value in values)
        module.input_shape = module.input_shapes[0]
        module.input_types = tuple(str(value.dtype).removeprefix("torch.") for value in values)


def _fixed(sides: Iterable[Any]) -> bool:
    return all(isinstance(side, int) for side in sides)
