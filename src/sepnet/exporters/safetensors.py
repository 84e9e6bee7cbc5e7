"""safetensors: the state dict in float32, for the user's own class and for everybody else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors.numpy import save

from sepnet.core.errors import FormatError
from sepnet.core.files import write_bytes
from sepnet.core.packed_model import PackedModel
from sepnet.packing.restore import state_dict

__all__ = ["export"]


def export(model: PackedModel, path: Path) -> None:
    """Write a state dict that a strict `load_state_dict` of the original class takes."""
    state = {name: np.asarray(array, order="C") for name, array in state_dict(model).items()}
    if "__metadata__" in state:
        raise FormatError("a tensor is called '__metadata__', which safetensors keeps for itself")
    write_bytes(path, save(state))
