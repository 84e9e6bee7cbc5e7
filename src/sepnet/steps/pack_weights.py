"""pack: a `.safetensors` file, weights without a graph, to a packed file that gives them back."""

from __future__ import annotations

import dataclasses
import os
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from sepnet.codecs import choices
from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.errors import FormatError, WeightsError
from sepnet.core.header import Header
from sepnet.core.pack_options import PackOptions
from sepnet.core.pack_report import PackReport, PackRow, relative_error
from sepnet.core.packed_model import PackedModel
from sepnet.core.progress import Progress, Tick, silent
from sepnet.packing.dtypes import METADATA
from sepnet.packing.pack import check_shapes, encode_tensor
from sepnet.packing.restore import TensorReader
from sepnet.packing.weights_source import exact_codes, read_metadata, read_shapes, read_tensors
from sepnet.quantizing.linear import code_weight

__all__ = ["pack_weights"]

DEFAULTS = PackOptions()


def pack_weights(
    path: str | os.PathLike[str], options: PackOptions = DEFAULTS, progress: Progress = silent
) -> PackReport:
    """Pack every tensor of the file; nothing can be run, everything can be unpacked.

    Integers come back as they were, in their type; so does the metadata.  So do floats if `options.bits` is None; else those of two dimensions and
    more are quantized to so many bits, one step a filter.

    Raises `WeightsError` for files that cannot be read, and for numbers that a packed file cannot hold.
    """
    options.check(Path(path))
    bits = None if options.bits == "auto" else options.bits
    try:
        check_shapes(read_shapes(path), options.limits)
    except FormatError as error:
        raise WeightsError(f"{path} cannot be packed: {error}") from error
    total = os.path.getsize(path) if os.path.isfile(path) else 0
    entries, payloads, rows = [], [], []
    done = params = 0
    for name, dtype, numbers in read_tensors(path):
        progress(Tick("pack", done, max(done, total)))
        if bits is not None and numbers.dtype.kind == "f" and numbers.ndim > 1 and numbers.size:
            if not np.isfinite(numbers).all():
                raise WeightsError(f"{path}: {name} holds NaN or Inf, which cannot be quantized")
            coded = dataclasses.replace(
                code_weight(name, numbers.astype(np.float32), bits), dtype="" if dtype == "float32" else dtype
            )
        else:
            coded = exact_codes(name, dtype, numbers)
        entry, payload = encode_tensor(coded, choices(options.best))
        restored = TensorReader().decode(entry, payload)
        size = numbers.size * (2 if dtype == "bfloat16" else numbers.dtype.itemsize)
        rows.append(_row(coded, restored, numbers, before=size, stored=len(payload) + 4))
        entries.append(entry)
        payloads.append(payload)
        done, params = done + size, params + numbers.size
    made: dict[str, str | int | float] = {"sepnet": version("sepnet"), "bits": bits or "exact"}
    if metadata := read_metadata(path):
        made[METADATA] = msgspec.json.encode(metadata, order="sorted").decode()
    header = Header(Path(path).name, params, tuple(entries), made=made)
    return PackReport(PackedModel.of(header, b"", payloads), tuple(rows), os.path.getsize(path))


def _row(coded: CodedTensor, restored: CodedTensor, numbers: npt.NDArray[Any], *, before: int, stored: int) -> PackRow:
    if not np.array_equal(coded.codes, restored.codes):
        raise WeightsError(f"{coded.name} does not come back from its codes; please report this")
    scheme = " + ".join(coded.schemes) + (f" {coded.dtype}" if coded.dtype else "")
    error = None if coded.scale is None else relative_error(numbers, restored.restore())
    return PackRow(coded.name, coded.shape, scheme, before, stored, 8 * stored / max(1, coded.codes.size), error)
