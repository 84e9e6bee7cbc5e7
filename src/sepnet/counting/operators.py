"""Multiply-accumulates of torch's operators, whoever calls them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch

from sepnet.core.network import Kind
from sepnet.counting.kinds import conv_kind, group_note

__all__ = ["Product", "multiplies_nothing", "name_of", "product_of"]


@dataclass(frozen=True)
class Product:
    """What an operator that multiplies and adds up does.

    Attributes:
        macs: multiply-accumulates, bias not counted, padding counted like pixels.
        factors: the tensors multiplied; where one is made of weights only, the product belongs to a layer.
        kind: kind of the layer that owns such a weight, where its class does not say.
        note: "4 groups" for a grouped convolution.
    """

    macs: int
    factors: tuple[torch.Tensor, ...]
    kind: Kind = "fc"
    note: str = ""


MATRICES = {"mm": 0, "bmm": 0, "matmul": 0, "mv": 0, "dot": 0, "vdot": 0, "addmm": 1, "baddbmm": 1, "addmv": 1}
"""Products of matrices or vectors: operator -> position of the first factor."""

_NORMS = """
native_batch_norm batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit
_native_batch_norm_legit_no_training _batch_norm_no_update _batch_norm_with_update native_layer_norm layer_norm
native_group_norm group_norm instance_norm _fused_rms_norm rms_norm
"""
NORMS = frozenset(_NORMS.split())
_NOTHING = """
embedding _embedding_bag _embedding_bag_forward_only index index_select gather take cat stack copy_ clone
contiguous repeat repeat_interleave tile expand expand_copy sum mean amax amin max min argmax argmin norm
linalg_vector_norm cumsum prod var std var_mean std_mean _softmax _log_softmax _safe_softmax softmax log_softmax
logsumexp constant_pad_nd pad roll flip rot90 where _prelu_kernel prelu to _to_copy reshape _unsafe_view
unsafe_split split_with_sizes_copy sort topk tril triu slice_scatter select_scatter index_put index_put_
index_copy index_add scatter scatter_add masked_fill masked_fill_ masked_scatter upsample_nearest1d
upsample_nearest2d upsample_bilinear2d upsample_bicubic2d _upsample_bicubic2d_aa _upsample_bilinear2d_aa
bernoulli native_dropout _local_scalar_dense is_nonzero equal allclose nonzero unique _unique2 bincount
searchsorted bucketize new_zeros new_ones new_empty zeros_like ones_like full_like empty_like rand_like
randn_like _assert_async lerp lerp_ addcmul addcmul_ addcdiv celu rrelu glu
"""
NOTHING = NORMS | frozenset(_NOTHING.split())
"""Operators without multiply-accumulates as docs/numbers.md counts them; besides those that torch tags as pointwise."""


def name_of(func: Any) -> str:
    """An operator's name without its overload: "convolution", or "mylib::op" for one that is not torch's own."""
    space, _, name = str(func.name()).partition("::")
    name = name.partition(".")[0]
    return name if space in ("aten", "prim") else f"{space}::{name}"


def multiplies_nothing(func: Any, name: str) -> bool:
    """Whether an operator moves, compares or changes numbers one by one, so that it has no macs to count."""
    return name in NOTHING or func.is_view or torch.Tag.pointwise in func.tags


def product_of(name: str, args: tuple[Any, ...], output: Any) -> Product | None:
    """The product that an operator is, or None."""
    if name == "convolution":
        return _convolution(args, output)
    if name in MATRICES:
        first = MATRICES[name]
        left, right = args[first], args[first + 1]
        return Product(output.numel() * int(left.shape[-1]), (left, right))
    if name == "linear":
        return Product(output.numel() * int(args[0].shape[-1]), (args[0], args[1]))
    if name == "mkldnn_rnn_layer":  # an LSTM on the processor: one layer, one direction, all steps
        steps = args[0].numel() // int(args[0].shape[-1])
        return Product(steps * int(args[1].numel() + args[2].numel()), (args[1], args[2]), "other")
    if name == "_trilinear":  # bilinear layers: every output is the sum of all pairs of inputs
        rows = math.prod(output.shape[:-1])
        return Product(rows * int(args[1].numel()), args[:3], "other")
    if name.startswith("_scaled_dot_product") and len(args) >= 3:
        query, key, value = args[:3]
        pairs = math.prod(query.shape[:-1]) * int(key.shape[-2])
        return Product(pairs * int(query.shape[-1] + value.shape[-1]), args[:3])
    return None


def _convolution(args: tuple[Any, ...], output: torch.Tensor) -> Product:
    image, weight, transposed, groups = args[0], args[1], bool(args[6]), int(args[8])
    each = math.prod(weight.shape[1:])
    in_channels = int(weight.shape[0]) if transposed else int(weight.shape[1]) * groups
    kind = conv_kind(tuple(weight.shape[2:]), groups, in_channels)
    macs = (image if transposed else output).numel() * each
    return Product(macs, (image, weight), kind, group_note(groups, in_channels))
