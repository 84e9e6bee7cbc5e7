"""Weights files: safetensors or `.pt`, into a network and out of it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import nn

from sepnet.core.errors import WeightsError, brief
from sepnet.core.files import write_bytes

__all__ = ["check_finite", "check_fit", "load_into", "read_weights", "unwrapped", "write_weights"]


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """A state dict from a safetensors file, or from a `.pt`/`.pth`/`.bin` file that holds only tensors (never unpickled code).

    A checkpoint that wraps the state dict under "state_dict" or "model" is unwrapped.
    """
    if path.is_dir():
        raise WeightsError(f"cannot read weights {path}: it is a folder; expected a file, safetensors or .pt")
    try:
        if path.suffix in (".pt", ".pth", ".bin", ".tar", ".ckpt"):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        else:
            loaded = load_file(path)
    except OSError as error:
        raise WeightsError(f"cannot read weights {path}: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle raises almost anything
        reason = _reason(error)
        raise WeightsError(
            f"{path} is not a weights file (expected safetensors, or .pt holding only tensors): {reason}"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
    if (
        not isinstance(loaded, Mapping)
        or not loaded
        or not all(isinstance(value, torch.Tensor) for value in loaded.values())
    ):
        raise WeightsError(f"{path} holds no state dict: found {type(loaded).__name__}, expected names with tensors")
    return {str(name): tensor for name, tensor in loaded.items()}


def _reason(error: Exception) -> str:
    """Why torch or safetensors could not read a file, on one line and without colours."""
    pickled = re.search(r"Unsupported global: GLOBAL (\S+)", str(error))
    if pickled:
        return f"it holds a pickled module or other object ({pickled[1]}); save model.state_dict()"
    return brief(re.sub(r"\x1b\[[\d;]*m", "", str(error)))


def load_into(model: nn.Module, path: Path) -> None:
    """Load a weights file strictly.  Raises `WeightsError` that says which names or shapes do not fit."""
    model.load_state_dict(check_fit(model, path))


def check_fit(model: nn.Module, path: Path) -> dict[str, torch.Tensor]:
    """Read a weights file that fits the network strictly; of the network only names and shapes matter.

    Raises `WeightsError` that says which names or shapes do not fit, and for NaN and Inf.  Files older than `num_batches_tracked` lack it; as torch does, its counters then stay as they are.
    The prefixes `module.` of DataParallel and `_orig_mod.` of torch.compile are taken off.
    """
    expected = model.state_dict()
    found = unwrapped(read_weights(path), expected)
    missing = sorted(name for name in set(expected) - set(found) if not name.endswith("num_batches_tracked"))
    extra = sorted(set(found) - set(expected))
    if missing or extra:
        parts = [f"lacks {_some(missing)}"] * bool(missing) + [f"has {_some(extra)} which the network does not"] * bool(
            extra
        )
        raise WeightsError(f"{path} is of another network: it {' and '.join(parts)}")
    for name, tensor in expected.items():
        if name in found and found[name].shape != tensor.shape:
            raise WeightsError(
                f"{path} is of another network: {name} has shape {list(found[name].shape)}, expected {list(tensor.shape)}"
            )
    check_finite(found, str(path))
    return {name: found.get(name, tensor) for name, tensor in expected.items()}


def unwrapped(found: dict[str, torch.Tensor], expected: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without what DataParallel and torch.compile put before every name, if the network has no such names."""
    for prefix in ("module.", "_orig_mod.", "module."):
        wrapped = all(name.startswith(prefix) for name in found)
        if wrapped and not any(name.startswith(prefix) for name in expected):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def check_finite(state: Mapping[str, torch.Tensor], where: str) -> None:
    """Raise `WeightsError` naming the first tensor that holds NaN or Inf, or no numbers yet."""
    for name, tensor in state.items():
        if tensor.is_meta:
            raise WeightsError(
                f"{where}: {name} is on the meta device, which holds no numbers; expected loaded weights"
            )
        wrong = int((~torch.isfinite(tensor)).sum()) if tensor.is_floating_point() else 0
        if wrong:
            raise WeightsError(f"{where}: {name} holds {wrong} NaN or Inf of {tensor.numel()} numbers")


def write_weights(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write a safetensors file whole or not at all; tied tensors are written under each of their names."""
    write_bytes(path, save({name: tensor.detach().clone().contiguous() for name, tensor in state.items()}))
