"""pack: a packed file coded anew with the codecs of today: the same codes, the same graph, the same outputs."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import msgspec
import numpy as np

from sepnet.codecs import choices, find
from sepnet.core.errors import SepnetError
from sepnet.core.pack_options import PackOptions
from sepnet.core.pack_report import PackReport, PackRow
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Progress, Tick, silent
from sepnet.graphs.wire import names_used
from sepnet.packing.pack import encode_tensors
from sepnet.packing.restore import coded_tensors

__all__ = ["pack_again"]

DEFAULTS = PackOptions()


def pack_again(
    path: str | os.PathLike[str], options: PackOptions = DEFAULTS, progress: Progress = silent
) -> PackReport:
    """The smallest file of the same codes, by the codecs of `options` and those that the file has, read back and found the same.

    Raises `FormatError` for files that cannot be read.
    """
    options.check(Path(path))
    model = PackedModel.read(path, options.limits)
    progress(Tick("pack", 0, 1))
    tensors = list(coded_tensors(model))
    codecs = dict.fromkeys(
        (*choices(options.best), *(each.codec for each in tensors if not find(each.codec).remembers))
    )
    encoded = encode_tensors([dataclasses.replace(each, codec="auto") for each in tensors], tuple(codecs))
    header = msgspec.structs.replace(model.header, tensors=tuple(entry for entry, _ in encoded))
    packed = PackedModel.of(header, model.graph, [payload for _, payload in encoded], minor=model.minor)
    names_used(model.graph)
    rows = []
    again = coded_tensors(PackedModel.from_bytes(packed.to_bytes(limits=options.limits), options.limits))
    for given, found, before, (entry, after) in zip(tensors, again, model.payloads, encoded, strict=True):
        if not np.array_equal(given.restore(), found.restore()):
            raise SepnetError(f"{given.name} does not come back from its codes; please report this")
        stored = len(after) + 4
        bits = 8 * stored / max(1, given.codes.size)
        rows.append(PackRow(entry.name, entry.shape, " + ".join(entry.schemes), len(before) + 4, stored, bits, None))
    progress(Tick("pack", 1, 1))
    return PackReport(packed, tuple(rows), os.path.getsize(path))
