"""Whether a network has one answer for an example, and whether its graph gives that: looked at before any training."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from sepnet.core.dataset import Dataset
from sepnet.core.errors import FormatError, NetworkError, SepnetError, brief
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.graphs.wire import with_outputs
from sepnet.packing.export import plain_graph
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.runtimes.session import Session
from sepnet.training.calls import Call, calls, difference, first_unlike, run, undisturbed
from sepnet.training.rewriting import copied

__all__ = ["check_graph", "check_network"]

EXAMPLES = 3
"""In the larger batch; graphs are traced with 2."""
REPEATED = 1e-5
"""Of the largest output: what two runs on one batch may differ by."""
TOLERANCE, WRONG = 1e-3, 1e-2
"""Of the largest output: what is worth a warning, far above the rounding of sums, and what is refused."""

Say = Callable[[str], None]


def check_network(model: nn.Module, data: Dataset, warn: Say) -> None:
    """Run a copy in evaluation: twice on three training images, and on the first and the last of them alone.

    Raises `NetworkError` where two runs differ; warns where the outputs of an example depend on the others.
    """
    still, batch = _still(model), _images(data)
    with undisturbed():
        wanted = _run(still, batch)
        apart = difference(_run(still, batch), wanted)
        if apart > REPEATED:
            where = _where_two_differ(calls(still, batch), calls(still, batch), difference, REPEATED / 10)
            raise NetworkError(
                f"the network computes with random numbers, or what it keeps from run to run, in evaluation, too{where}: two runs on one batch "
                f"differ by {apart:.2g} of the largest output; expected outputs that the input alone decides, as nn.Dropout or `if self.training` gives"
            )
        for row in (0, EXAMPLES - 1):
            one = batch[row : row + 1]
            try:
                alone = run(still, one)
            except Exception:  # the user's forward may not take a batch of one, and torch.export may have ruled it out
                return
            from_part = functools.partial(_apart_alone, row=row)
            apart = from_part(alone, wanted)
            if apart > TOLERANCE:
                where = _where_two_differ(calls(still, one), calls(still, batch), from_part, TOLERANCE)
                warn(
                    f"the outputs of an example depend on the others of its batch{where}: one alone differs by {apart:.2g} of the largest "
                    "output; the packed file computes so, too, and scores depend on the size of batches"
                )
                return


def check_graph(model: nn.Module, floats: PackedModel, data: Dataset, warn: Say) -> None:
    """Compare a packed file of the float weights with the network, on one training image and on three.

    Raises `NetworkError` where outputs are wrong by more than a hundredth of the largest; warns above a thousandth.
    """
    still, batch = _still(model), _images(data)
    try:
        runtime = OnnxRuntime(floats)
        found = {size: torch.from_numpy(np.array(runtime.first(batch[:size].numpy()))) for size in (1, EXAMPLES)}
    except FormatError as error:
        raise NetworkError(_refused(str(error))) from error
    with undisturbed():
        apart = {size: _apart(still, batch[:size], outputs) for size, outputs in found.items()}
        size = max(apart, key=lambda each: apart[each])
        if apart[size] <= TOLERANCE:
            return
        text = (
            f"the graph that torch.onnx.export made of the network computes something else{_where_graph_differs(still, batch[:size])}: "
            f"outputs of {size} example{'s' if size > 1 else ''} differ by {apart[size]:.2g} of the largest"
        )
    if apart[size] > WRONG:
        raise NetworkError(f"{text}; expected at most {WRONG:g}: write that part with other torch operators")
    warn(text)


def _refused(reason: str) -> str:
    if "bfloat16" in reason:
        return "the network computes in bfloat16 (torch.autocast, or .bfloat16()), which ONNX Runtime does not; expected float32"
    return f"the network's graph cannot be run: {reason}"


def _still(model: nn.Module) -> nn.Module:
    still = copied(model).cpu()
    still.eval()  # a user's own may return nothing
    return still


def _run(still: nn.Module, batch: torch.Tensor) -> torch.Tensor:
    try:
        return run(still, batch)
    except Exception as error:  # whatever the user's forward raises
        raise NetworkError(f"the network does not take {len(batch)} images at once: {brief(error)}") from error


def _images(data: Dataset) -> torch.Tensor:
    rows = np.arange(EXAMPLES) % len(data.train)
    return torch.from_numpy(np.array(data.batch(data.train.images[rows])))


def _apart(still: nn.Module, batch: torch.Tensor, found: torch.Tensor) -> float:
    try:
        wanted = run(still, batch)
    except Exception:  # as above
        return 0.0
    alike = len(batch) == 1 and wanted.numel() == found.numel()  # a squeeze() that takes the batch side, too
    return difference(found.reshape(wanted.shape) if alike else found, wanted)


def _apart_alone(alone: torch.Tensor, together: torch.Tensor, *, row: int) -> float:
    """Of one example alone from its part of what a batch gives; all of what has no side for examples."""
    if alone.shape == together.shape:
        return difference(alone, together)
    if together.numel() != EXAMPLES * alone.numel() or together.shape[0] % EXAMPLES:
        return float("inf")
    part = together.chunk(EXAMPLES)[row]
    return difference(alone.reshape(part.shape), part)


def _where_two_differ(
    ours: Sequence[Call], theirs: Sequence[Call], apart: Callable[[torch.Tensor, torch.Tensor], float], most: float
) -> str:
    if [call.name for call in ours] != [call.name for call in theirs]:
        return ""

    def same(mine: Sequence[torch.Tensor], yours: Sequence[torch.Tensor]) -> bool:
        return len(mine) == len(yours) and all(apart(*pair) <= most for pair in zip(mine, yours, strict=True))

    return _named(
        first_unlike(
            ours,
            lambda at: same(ours[at].given, theirs[at].given),
            lambda at: same(ours[at].found, theirs[at].found),
        )
    )


def _where_graph_differs(still: nn.Module, batch: torch.Tensor) -> str:
    """By the values of the graph before anything is folded: each module's outputs must be among them."""
    try:
        data = plain_graph(still, batch.shape[1:])
        graph = OnnxGraph.decode(data)
        names = [name for node in graph.nodes for name in node.outputs if name]
        session = Session(with_outputs(data, [name for name in names if name not in graph.outputs]))
        found = session.run({graph.inputs[0]: batch.numpy()}, names)
    except (SepnetError, ValueError):  # a graph of more than 2 GB cannot be given whole
        return ""
    values = [batch, *(torch.from_numpy(np.array(value)) for value in found.values())]

    def there(wanted: torch.Tensor) -> bool:
        return not wanted.is_floating_point() or any(difference(value, wanted) <= TOLERANCE for value in values)

    seen = calls(still, batch)
    return _named(
        first_unlike(
            seen,
            lambda at: all(map(there, seen[at].given)),
            lambda at: any(map(there, seen[at].found)) or not seen[at].found,  # outputs that nobody reads are left out
        )
    )


def _named(found: tuple[Call, Call | None] | None) -> str:
    if found is None:
        return ""
    call, later = found
    return f", in {call}" + (f" before {later}" if later else "")
