"""What can still be read of a damaged packed file, as a packed file without the rest."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import msgspec

from sepnet.core.chunks import Damage
from sepnet.core.errors import FormatError
from sepnet.core.header import Header, NormEntry, state_names
from sepnet.core.packed_model import PackedModel
from sepnet.packing.restore import TensorReader

__all__ = ["readable"]


def readable(model: PackedModel, damage: Iterable[Damage] = ()) -> tuple[PackedModel, tuple[Damage, ...]]:
    """Decode every tensor of a model; leave out those that do not decode, and what the header derives from them.

    Args:
        model, damage: as `PackedModel.salvage` gives them.

    Returns:
        A model whose state dict can be had, of the same sizes but for the chunks left out, and all that is lost: each tensor,
        each batch normalization and each tied name.

    >>> model, damage = PackedModel.salvage(open("zoo/lenet5-mnist.sepnet", "rb").read()[:-4])
    >>> found, lost = readable(model, damage)
    >>> len(model.header.tensors), len(found.header.tensors), [each.tensor for each in lost]
    (8, 7, ['fc2.bias'])
    """
    known = {each.tensor: each for each in damage}
    lost = [known.pop("")] if "" in known else []
    reader, kept, payloads = TensorReader(), [], []
    for entry, payload in zip(model.header.tensors, model.payloads, strict=True):
        if entry.name in known:
            reader.skip(entry)
            lost.append(known[entry.name])
            continue
        try:
            reader.decode(entry, payload)
        except FormatError as error:
            lost.append(Damage(entry.name, str(error.__cause__ or error)))
            continue
        kept.append(entry)
        payloads.append(payload)
    header, derived = _without(msgspec.structs.replace(model.header, tensors=tuple(kept)))
    return dataclasses.replace(model, header=header, payloads=tuple(payloads)), (*lost, *derived)


def _without(header: Header) -> tuple[Header, list[Damage]]:
    """The header without norms and aliases whose tensors are gone."""
    stored = {entry.name for entry in header.tensors}
    lost = [
        Damage(norm.name, f"this batch normalization needs {missing[0]!r}, which cannot be read")
        for norm in header.norms
        if (missing := list(_missing(norm, stored)))
    ]
    gone = {each.tensor for each in lost}
    header = msgspec.structs.replace(header, norms=tuple(norm for norm in header.norms if norm.name not in gone))
    names = set(state_names(header)) - set(header.aliases)
    aliases = {alias: first for alias, first in header.aliases.items() if first in names}
    lost += [
        Damage(alias, f"tied to {first!r}, which cannot be read")
        for alias, first in header.aliases.items()
        if alias not in aliases
    ]
    return msgspec.structs.replace(header, aliases=aliases), lost


def _missing(norm: NormEntry, stored: set[str]) -> Iterator[str]:
    parts = ("bias",) if norm.folded else ("weight", "bias")
    return (f"{norm.name}.{part}" for part in parts if f"{norm.name}.{part}" not in stored)
