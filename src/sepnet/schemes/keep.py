"""keep: the weight as it is, in binary16 or binary32."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import nn

from sepnet.core.coded_tensor import CodedTensor, float_codes
from sepnet.core.scheme import Scheme

__all__ = ["Keep"]


class Keep(Scheme, frozen=True):
    """Store floats.  The codes are the bit patterns, so a pruned weight is code 0.

    Options:
        dtype: float16 (default) or float32.
    """

    name: ClassVar[str] = "keep"

    dtype: Literal["float16", "float32"] = "float16"

    def attach(self, weight: torch.Tensor, peers: list[torch.Tensor]) -> nn.Module:
        """Nothing to train: the identity."""
        return nn.Identity()

    def code(self, name: str, weight: torch.Tensor, state: nn.Module | None, schemes: tuple[str, ...]) -> CodedTensor:
        """Bit patterns of the weight, in the chosen width."""
        return float_codes(name, weight.numpy(), self.dtype, schemes)
