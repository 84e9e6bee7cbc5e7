"""What kind of layer a torch module or an operator is, and the macs of recurrent layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from sepnet.core.network import Kind

__all__ = [
    "EMBEDDINGS",
    "RECURRENT",
    "RECURRENT_HOME",
    "conv_kind",
    "expected_input",
    "group_note",
    "kind_of",
    "recurrent_macs",
]

CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
RECURRENT = (nn.RNNBase, nn.RNNCellBase)
RECURRENT_HOME = "torch.nn.modules.rnn."
"""What the names of recurrent classes begin with in an exported graph."""


def kind_of(module: nn.Module) -> Kind:
    """The kind of a layer, one of `sepnet.core.network.KINDS`.

    >>> kind_of(nn.Conv2d(8, 8, 3, groups=8)), kind_of(nn.Conv2d(8, 4, 1)), kind_of(nn.PReLU())
    ('depthwise', 'conv 1x1', 'other')
    """
    if isinstance(module, (*CONVS, *TRANSPOSED)):
        return conv_kind(module.kernel_size, module.groups, module.in_channels)
    if isinstance(module, (nn.Linear, nn.MultiheadAttention)):
        return "fc"
    return "norm" if isinstance(module, NORMS) else "other"


def conv_kind(kernel: tuple[int, ...], groups: int, in_channels: int) -> Kind:
    """The kind of a convolution.

    >>> conv_kind((1, 3), 1, 8), conv_kind((1, 1), 8, 8), conv_kind((3, 3), 8, 8)
    ('conv kxk', 'conv 1x1', 'depthwise')
    """
    if all(side == 1 for side in kernel):
        return "conv 1x1"
    return "depthwise" if groups == in_channels > 1 else "conv kxk"


def group_note(groups: int, in_channels: int) -> str:
    """ "g groups" for a convolution in groups that is no depthwise one, else ""."""
    return f"{groups} groups" if 1 < groups < in_channels else ""


def recurrent_macs(module: nn.RNNBase | nn.RNNCellBase, inputs: tuple[Any, ...]) -> int:
    """Macs of a recurrent layer or cell: for every step, layer and direction `gates * hidden * (inputs + state)`.

    `gates` is 1 (RNN), 4 (LSTM) or 3 (GRU); a layer above the first has the outputs of all directions below as its
    inputs; an LSTM with `proj_size` P has a state of P numbers and `hidden * P` macs more.

    >>> recurrent_macs(nn.GRU(3, 5), (torch.zeros(7, 1, 3),)) == 7 * 3 * 5 * (3 + 5)
    True
    """
    data = inputs[0] if isinstance(inputs[0], torch.Tensor) else inputs[0].data  # a PackedSequence
    steps = data.numel() // data.shape[-1]
    if isinstance(module, nn.RNNCellBase):
        return steps * int(module.weight_ih.numel() + module.weight_hh.numel())
    gates = {"LSTM": 4, "GRU": 3}.get(module.mode, 1)
    hidden, ways = module.hidden_size, 2 if module.bidirectional else 1
    state = module.proj_size or hidden
    total = 0
    for layer in range(module.num_layers):
        taken = module.input_size if layer == 0 else ways * state
        total += ways * (gates * hidden * (taken + state) + (hidden * state if module.proj_size else 0))
    return steps * total


def expected_input(module: nn.Module) -> str:
    """The shape that a layer takes, batch included, in words; "" if it is not known."""
    if isinstance(module, (*CONVS, *TRANSPOSED)):
        return f"(batch, {module.in_channels}{', size' * len(module.kernel_size)})"
    if isinstance(module, nn.Linear):
        return f"(batch, ..., {module.in_features})"
    if isinstance(module, nn.modules.batchnorm._NormBase):
        return f"(batch, {module.num_features}, ...)"
    shape = getattr(module, "input_shape", None)
    return f"(batch, {', '.join(map(str, shape))})" if isinstance(shape, tuple) and shape else ""
