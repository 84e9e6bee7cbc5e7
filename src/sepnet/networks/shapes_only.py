"""Building a network without its numbers: parameters with shapes only, in no time and no memory."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._device import DeviceContext

__all__ = ["Outline"]

_FILLS = """
uniform_ normal_ trunc_normal_ constant_ ones_ zeros_ eye_ dirac_ xavier_uniform_ xavier_normal_
kaiming_uniform_ kaiming_normal_ orthogonal_ sparse_ log_normal_ exponential_ bernoulli_ random_ fill_ zero_
copy_ clamp_ erfinv_ mul_ add_ div_ sub_
"""
FILLS = frozenset(_FILLS.split())


class Outline(DeviceContext):
    """Within it, new tensors are on the meta device, and what fills them does nothing.

    >>> with Outline():
    ...     layer = torch.nn.Linear(10**6, 10**6)
    >>> layer.weight.device.type, layer.weight.numel()
    ('meta', 1000000000000)
    """

    def __init__(self) -> None:
        super().__init__(torch.device("meta"))

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Leave tensors without memory as they are when `func` would fill them; else build on the meta device."""
        if getattr(func, "__name__", "") in FILLS:
            filled = args[0] if args else (kwargs or {}).get("tensor")  # torch.nn.init passes it by name
            if isinstance(filled, torch.Tensor) and filled.is_meta:
                return filled
        return super().__torch_function__(func, types, args, kwargs)  # type: ignore[no-untyped-call]
