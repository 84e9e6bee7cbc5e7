"""How many bytes of activations are alive: storages, from the operator that makes them to the death of the last reference."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch

__all__ = ["LiveBytes", "float32_bytes", "storage_of"]

FLOAT_BYTES = 4


def float32_bytes(tensor: torch.Tensor) -> int:
    """Bytes of a tensor's numbers, real ones of any precision at 4 bytes each, others at their own size."""
    return tensor.numel() * (FLOAT_BYTES if tensor.is_floating_point() else tensor.element_size())


def storage_of(tensor: torch.Tensor) -> torch.UntypedStorage | None:
    """The memory behind a tensor, or None for the few kinds of tensors that do not say."""
    try:
        return tensor.untyped_storage()
    except (NotImplementedError, RuntimeError):
        return None


def key_of(tensor: torch.Tensor) -> int:
    """What names a tensor's memory as long as it lives; views share it."""
    storage = storage_of(tensor)
    return id(tensor) if storage is None else int(storage._cdata)


class LiveBytes:
    """The greatest sum of live storages over a run.

    While an operator runs, its inputs and what lives elsewhere are alive together with its outputs.  Outputs that are
    gone before the next operator starts do not count: nobody reads them (the indices of a max-pooling).
    """

    def __init__(self, on_death: Callable[[int], None]) -> None:
        self.peak = 0
        self._on_death = on_death
        self._live = self._beside = 0
        self._bytes: dict[int, int] = {}
        self._watching: dict[int, Any] = {}
        self._fresh: dict[int, int] = {}

    def watch(self, tensor: torch.Tensor) -> int:
        """Have `on_death` called when the memory behind a tensor is gone; returns its key."""
        key, storage = key_of(tensor), storage_of(tensor)
        if storage is not None and key not in self._watching:
            self._watching[key] = weakref.ref(storage, lambda _: self._gone(key))
        return key

    def born(self, tensor: torch.Tensor) -> None:
        """An operator has made this tensor, in memory of its own."""
        self._beside = self._live
        storage, key = storage_of(tensor), self.watch(tensor)
        if storage is None or key in self._bytes or key in self._fresh:
            return
        numbers = storage.nbytes() // tensor.element_size()
        self._fresh[key] = numbers * (FLOAT_BYTES if tensor.is_floating_point() else tensor.element_size())

    def settle(self) -> None:
        """The next operator starts, or the run is over: what the last one made and is still there counts."""
        made = sum(self._fresh.values())
        self._live += made
        self._bytes.update(self._fresh)
        self._fresh.clear()
        self.peak = max(self.peak, self._beside + made, self._live)
        self._beside = self._live

    def _gone(self, key: int) -> None:
        self._watching.pop(key, None)
        self._fresh.pop(key, None)
        self._live -= self._bytes.pop(key, 0)
        self._on_death(key)
