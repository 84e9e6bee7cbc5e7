"""Bits that single layers were asked to have, by the names that a table shows."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence

from sepnet.core.errors import UsageError

__all__ = ["KEPT", "chosen_bits", "find_tensors"]

KEPT = 16
"""Bits of a tensor that is kept: binary16."""
NEAREST = 5
"""Names that a message offers."""


def chosen_bits(
    keep: Sequence[str], bits: Mapping[str, int], *, weights: Collection[str], others: Collection[str]
) -> dict[str, int]:
    """Bits by the names of tensors.

    Args:
        keep: names of what stays in 16 bits.
        bits: 2 to 8 by the names of layers.
        weights: names of the layers' weights.
        others: names of the other tensors, which can be kept only.

    Raises `UsageError` for names that are none, and for a tensor that is asked to be two things.

    >>> chosen_bits(["a"], {"b.weight": 4}, weights=["a.weight", "b.weight"], others=["a.bias"])
    {'a.weight': 16, 'b.weight': 4}
    """
    found: dict[str, int] = {}
    asked = [(name, KEPT, [*weights, *others]) for name in keep]
    asked += [(name, count, list(weights)) for name, count in bits.items()]
    for name, count, choices in asked:
        for tensor in find_tensors(name, choices):
            if found.setdefault(tensor, count) != count:
                raise UsageError(f"found {found[tensor]} and {count} bits for {tensor}; expected one of them")
    return found


def find_tensors(name: str, choices: Collection[str]) -> list[str]:
    """The tensor of that name; or the weights of the layer; or what a table shows as that name, its middle cut.

    Raises `UsageError` with the nearest names.

    >>> find_tensors("lstm", ["lstm.weight_ih", "lstm.weight_hh", "lstm.bias"])
    ['lstm.weight_ih', 'lstm.weight_hh']
    >>> find_tensors("enco…ight", ["encoder.0.weight", "decoder.0.weight"])
    ['encoder.0.weight']
    >>> find_tensors("con1", ["conv1.weight", "fc.weight"])
    Traceback (most recent call last):
    ...
    sepnet.core.errors.UsageError: no layer is called 'con1'; the nearest of 2: conv1.weight
    """
    if name in choices:
        return [name]
    of_layer = [choice for choice in choices if choice.startswith(f"{name}.weight")]
    if of_layer:
        return of_layer
    head, mark, tail = name.partition("…")
    cut = [choice for choice in choices if mark and choice.startswith(head) and choice.endswith(tail)]
    if len(cut) == 1:
        return cut
    if cut:
        raise UsageError(f"{len(cut)} layers are shown as {name!r}; expected a whole name, as --json gives them")
    near = difflib.get_close_matches(name, choices, n=NEAREST, cutoff=0.3) or sorted(choices)[:NEAREST]
    raise UsageError(f"no layer is called {name!r}; the nearest of {len(choices):,}: {', '.join(near)}")
