"""What the rewrites of convolutions share: which ones they take, their geometry, and the error of new weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sepnet.core.errors import NetworkError

__all__ = ["convolution", "dense_weight", "no_convolution", "pointwise", "put", "relative_error"]


def no_convolution(module: nn.Module, spatial: bool = True) -> str:
    """Why `module` is no `Conv2d` (with `spatial`: none with a kernel above 1x1), or ""."""
    if type(module) is not nn.Conv2d:
        return f"found a {type(module).__name__}; expected a torch.nn.Conv2d"
    if spatial and module.kernel_size == (1, 1):
        return "its kernel is 1x1; expected a k x k kernel with k > 1"
    return ""


def as_convolution(module: nn.Module) -> nn.Conv2d:
    """`module`, if it is a `Conv2d`; otherwise `NetworkError`."""
    if isinstance(module, nn.Conv2d):
        return module
    raise NetworkError(no_convolution(module))


def convolution(like: nn.Conv2d, in_channels: int, out_channels: int, *, groups: int, bias: bool) -> nn.Conv2d:
    """A convolution with the kernel size, stride, padding and dilation of `like`."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        like.kernel_size,  # type: ignore[arg-type]
        like.stride,  # type: ignore[arg-type]
        like.padding,  # type: ignore[arg-type]
        like.dilation,  # type: ignore[arg-type]
        groups,
        bias,
        like.padding_mode,
        **_place(like.weight),
    )


def pointwise(like: nn.Conv2d, in_channels: int, groups: int = 1) -> nn.Conv2d:
    """A 1x1 convolution to the filters of `like`, with its bias."""
    made = nn.Conv2d(
        in_channels, like.out_channels, 1, groups=groups, bias=like.bias is not None, **_place(like.weight)
    )
    if made.bias is not None and like.bias is not None:
        put(made.bias, like.bias)
    return made


def _place(weight: torch.Tensor) -> dict[str, Any]:
    return {"device": weight.device, "dtype": weight.dtype}


@torch.no_grad()
def put(parameter: torch.Tensor, values: torch.Tensor) -> None:
    """Write `values` of as many numbers into `parameter`."""
    parameter.copy_(values.reshape(parameter.shape))


def dense_weight(conv: nn.Conv2d) -> torch.Tensor:
    """The weight as if there were one group, (filters, channels, k, k) in binary64; zero between groups.

    >>> dense_weight(nn.Conv2d(4, 6, 3, groups=2)).shape
    torch.Size([6, 4, 3, 3])
    """
    weight = conv.weight.detach().double()
    wide = weight.new_zeros(conv.out_channels, conv.in_channels, *conv.kernel_size)
    rows, columns = conv.out_channels // conv.groups, conv.in_channels // conv.groups
    for at in range(conv.groups):
        wide[at * rows : (at + 1) * rows, at * columns : (at + 1) * columns] = weight[at * rows : (at + 1) * rows]
    return wide


def relative_error(lost: torch.Tensor | float, whole: torch.Tensor | float) -> float:
    """lost / whole, both squared norms; 0 for 0 / 0."""
    return float(lost) / float(whole) if float(whole) > 0 else 0.0
