"""safetensors: the state dict, in float32 unless it came in another type, for the user's own class and for everybody else."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from sepnet.core.errors import FormatError
from sepnet.core.exporter import Exporter, ExportReport, ExportRow, Material
from sepnet.core.files import write_bytes
from sepnet.core.packed_model import PackedModel
from sepnet.packing.dtypes import BFLOAT16, METADATA, as_stored, rounded_to_bfloat16, stored_types
from sepnet.packing.restore import state_dict

__all__ = ["Safetensors"]

NOTHING = Material()
SPEED = "dense tensors: the size of the float network, for any class that loads a state dict"


class Safetensors(Exporter, frozen=True):
    """A state dict that a strict `load_state_dict` of the original class takes.

    Tensors that came in another type than float32 and int64 get it back, weights that were packed alone their metadata.
    """

    name: ClassVar[str] = "safetensors"
    runs: ClassVar[bool] = False

    def export(self, model: PackedModel, path: Path, material: Material = NOTHING) -> ExportReport:
        """Raises `FormatError` for names that safetensors cannot hold."""
        state: dict[str, npt.NDArray[Any]] = dict(state_dict(model))
        if "__metadata__" in state:
            raise FormatError("a tensor is called '__metadata__', which safetensors keeps for itself")
        types = stored_types(model)
        for name, dtype in types.items():
            typed = as_stored(name, state[name], dtype)
            state[name] = rounded_to_bfloat16(typed) if dtype == BFLOAT16 else typed
        data = save({name: np.asarray(array, order="C") for name, array in state.items()}, _metadata(model))
        write_bytes(path, _with_bfloat16(data, [name for name, dtype in types.items() if dtype == BFLOAT16]))
        kinds = {name: types.get(name, array.dtype.name) for name, array in state.items()}
        rows = [ExportRow(name, array.shape, kinds[name], array.nbytes) for name, array in state.items()]
        size = path.stat().st_size
        header = ExportRow("header", (), "", size - sum(row.bytes for row in rows))
        return ExportReport((*rows, header), size, remarks=(SPEED,))


def _metadata(model: PackedModel) -> dict[str, str] | None:
    try:
        return msgspec.json.decode(str(model.header.made.get(METADATA, "{}")), type=dict[str, str]) or None
    except (msgspec.MsgspecError, RecursionError) as error:
        raise FormatError(f"the metadata of the packed weights is no object of texts: {error}") from error


def _with_bfloat16(data: bytes, names: Collection[str]) -> bytes:
    """The file with the type of some tensors, which numpy could only give as 16-bit integers, said right in its header."""
    if not names:
        return data
    start = 8 + int.from_bytes(data[:8], "little")
    header = msgspec.json.decode(data[8:start])
    for name in names:
        header[name]["dtype"] = "BF16"
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + data[start:]
