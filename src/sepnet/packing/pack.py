"""Coded tensors and a graph to a packed model: fold batch normalization, encode, account for every state-dict entry."""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from sepnet.codecs import find, smallest
from sepnet.codecs.adaptive.kernels import KERNELS_AB1, KERNELS_AB1_NEXT
from sepnet.core.codec import Codec, CodecUnfitError
from sepnet.core.coded_tensor import CodedTensor, Half, float_codes, scale_per
from sepnet.core.errors import FormatError, NetworkError, RecipeError
from sepnet.core.header import Header, InputSpec, NormEntry, TensorEntry, ZeroEntry
from sepnet.core.limits import Limits, check_header
from sepnet.core.packed_model import PORTS, PackedModel
from sepnet.graphs.ports import is_plain
from sepnet.packing.graph import ExportedGraph, Norm

__all__ = ["PackInput", "check_shapes", "encode_tensor", "encode_tensors", "fold_scale", "pack"]

State = Mapping[str, npt.NDArray[Any]]
Coder = Callable[[str, npt.NDArray[np.float32]], CodedTensor]
SIDE_BY_SIDE = 1 << 20
"""So many codes are worth a thread for each tensor."""


@dataclasses.dataclass(frozen=True)
class PackInput:
    """What the header says besides the weights."""

    network: str
    params: int
    input: InputSpec | None
    classes: tuple[str, ...] = ()
    made: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def check_shapes(shapes: Iterable[tuple[str, tuple[int, ...]]], limits: Limits) -> None:
    """Before any work: raise `FormatError` for names and shapes that no reader with these limits would take.

    >>> check_shapes([("", (2, 3))], Limits())
    Traceback (most recent call last):
    ...
    sepnet.core.errors.FormatError: tensor 1 of 1, of shape [2, 3], is without a name
    """
    entries = (TensorEntry(name, shape, (), "float32", "dense", (0, 0)) for name, shape in shapes)
    check_header(Header("", 0, tuple(entries)), limits)


def pack(
    about: PackInput,
    graph: ExportedGraph,
    state: State,
    coded: Sequence[CodedTensor],
    *,
    code: Coder,
    codecs: Sequence[str] | None = None,
) -> PackedModel:
    """Build a packed model.

    Args:
        about: texts and numbers of the header.
        graph: the exported graph.
        state: the state dict at the end of training, weights as the network computes with them.
        coded: codes of every parameter (first names only).
        code: codes new numbers for a bias or norm, by name, after a fold changed them.
        codecs: names to choose from (None: the default ones) for tensors whose codec is "auto".
    """
    tensors = {tensor.name: tensor for tensor in coded}
    entries: list[NormEntry] = []
    for norm in graph.norms:
        entries.append(_fold_norm(norm, state, tensors, code if f"{norm.name}.bias" in tensors else _buffer))
    derived = {
        f"{entry.name}.{part}" for entry in entries for part in ("running_mean", "running_var", "num_batches_tracked")
    }
    derived |= {f"{entry.name}.weight" for entry in entries if entry.folded} | {entry.bias for entry in entries}
    zeros = []
    kept = []
    for name, array in state.items():
        if name in derived or name in graph.tied:
            continue
        if name not in graph.used:
            zeros.append(ZeroEntry(name, array.shape, "float32" if array.dtype.kind == "f" else "int64"))
        else:
            kept.append(tensors[name] if name in tensors else _buffer(name, array))
    encoded = encode_tensors(kept, codecs)
    header = Header(
        network=about.network,
        params=about.params,
        tensors=tuple(entry for entry, _ in encoded),
        input=about.input,
        classes=about.classes,
        norms=tuple(entries),
        zeros=tuple(zeros),
        aliases=dict(graph.tied),
        made=dict(about.made),
    )
    minor = 0 if is_plain(graph.data) else PORTS
    return PackedModel.of(header, graph.data, [payload for _, payload in encoded], minor=minor)


def _buffer(name: str, array: npt.NDArray[Any]) -> CodedTensor:
    """Integers, or floats in binary16 where that holds each of them exactly, else in float32."""
    if array.dtype.kind != "f":
        return CodedTensor(name, np.asarray(array, np.int64), "int64")
    with np.errstate(over="ignore"):
        single = np.asarray(array, np.float32)
    if np.isinf(single).any() and np.isfinite(array).all():
        raise NetworkError(f"the buffer {name!r} holds numbers that float32 does not, up to {np.abs(array).max():.3g}")
    half = float_codes(name, single, "float16", ("keep",))
    return half if np.array_equal(half.restore(), single) else float_codes(name, single, "float32", ("keep",))


def _fold_norm(norm: Norm, state: State, tensors: dict[str, CodedTensor], code: Coder) -> NormEntry:
    tracked = f"{norm.name}.num_batches_tracked" in state
    entry = NormEntry(norm.name, norm.eps, folded=bool(norm.weight), tracked=tracked, bias=norm.bias)
    if norm.done:
        return entry
    factor, shift = norm.factor_and_shift(state)
    tensors[f"{norm.name}.bias"] = code(f"{norm.name}.bias", shift)
    if norm.weight:
        tensors[norm.weight] = _folded(norm.weight, state, tensors, factor.astype(np.float32))
    else:
        tensors[f"{norm.name}.weight"] = code(f"{norm.name}.weight", factor.astype(np.float32))
    return entry


def _folded(
    name: str, state: State, tensors: Mapping[str, CodedTensor], factor: npt.NDArray[np.float32]
) -> CodedTensor:
    if name in tensors:
        return fold_scale(tensors[name], factor)
    buffer = np.asarray(state[name], np.float32)
    return _buffer(name, buffer * factor.reshape((-1,) + (1,) * (buffer.ndim - 1)))


def fold_scale(tensor: CodedTensor, factor: npt.NDArray[np.float32]) -> CodedTensor:
    """Multiply a coded weight by one factor a filter; codes stay, the scales change (floats are coded anew).

    >>> weight = CodedTensor("w", np.array([[1, 0], [-1, 1]]), "integer", ("linear",), Half.of(np.float32(0.5)))
    >>> fold_scale(weight, np.float32([2.0, 4.0])).restore().tolist()
    [[1.0, 0.0], [-2.0, 2.0]]
    """
    if tensor.values in ("float16", "float32"):
        by_filter = factor.reshape((-1,) + (1,) * (tensor.codes.ndim - 1))
        return float_codes(tensor.name, tensor.restore() * by_filter, tensor.values, tensor.schemes, codec=tensor.codec)
    scale = tensor.scale.numbers() if tensor.scale is not None else np.float32(1.0)
    shape = (-1,) + (1,) * (max(scale.ndim, 1) - 1)
    return dataclasses.replace(tensor, scale=Half.of(scale * factor.reshape(shape)))


def encode_tensors(
    tensors: Sequence[CodedTensor], codecs: Sequence[str] | None = None
) -> list[tuple[TensorEntry, bytes]]:
    """Header entry and payload of each tensor; its codec is the one it names, or the smallest of `codecs`.

    Sign patterns that choose for themselves are coded as one chain, each layer with what was learned from those before,
    if that is smaller.
    """
    work = functools.partial(encode_tensor, codecs=codecs)
    if sum(tensor.codes.size for tensor in tensors) < SIDE_BY_SIDE:
        encoded = list(map(work, tensors))
    else:
        with ThreadPoolExecutor(os.cpu_count()) as pool:  # what codecs spend most time in lets other threads run
            encoded = list(pool.map(work, tensors))
    chain = [place for place, tensor in enumerate(tensors) if _is_pattern(tensor)]
    if len(chain) > 1 and (codecs is None or KERNELS_AB1.name in codecs):
        codec: Codec | None = None
        linked: list[tuple[TensorEntry, bytes]] = []
        for place in chain:
            codec = (KERNELS_AB1_NEXT if linked else KERNELS_AB1).remembering(codec)
            linked.append(_entry(tensors[place], codec.name, codec.encode(tensors[place].codes)))
        if sum(len(data) for _, data in linked) < sum(len(encoded[place][1]) for place in chain):
            for place, pair in zip(chain, linked, strict=True):
                encoded[place] = pair
    return encoded


def _is_pattern(tensor: CodedTensor) -> bool:
    return (
        tensor.codec == "auto" and tensor.values == "sign" and math.prod(tensor.shape[2:]) > 1 and tensor.codes.size > 0
    )


def encode_tensor(tensor: CodedTensor, codecs: Sequence[str] | None = None) -> tuple[TensorEntry, bytes]:
    """Header entry and payload of one tensor; its codec is the one it names, or the smallest of `codecs`."""
    codec = tensor.codec
    try:
        if codec == "auto":
            codec, data = smallest(tensor.codes, codecs)
        else:
            data = find(codec).remembering(None).encode(tensor.codes)
    except FormatError as error:
        raise RecipeError(f"codec {codec!r} cannot be chosen for {tensor.name!r}: {error}") from error
    except CodecUnfitError as error:
        if tensor.values == "int64":
            raise NetworkError(f"the buffer {tensor.name!r} holds integers that 32 bits cannot: {error}") from error
        raise RecipeError(f"codec {codec!r} cannot write {tensor.name!r}: {error}") from error
    return _entry(tensor, codec, data)


def _entry(tensor: CodedTensor, codec: str, data: bytes) -> tuple[TensorEntry, bytes]:
    halves = [half for half in (tensor.scale, tensor.codebook) if half is not None]
    side = b"".join(half.bits.astype("<f2").tobytes() for half in halves)
    entry = TensorEntry(
        name=tensor.name,
        shape=tensor.shape,
        schemes=tensor.schemes,
        values=tensor.values,
        codec=codec,
        bytes=(len(side), len(data)),
        scale=scale_per(tensor.scale),
        scale_exponent=tensor.scale.exponent if tensor.scale is not None else 0,
        value_exponent=tensor.codebook.exponent if tensor.codebook is not None else tensor.value_exponent,
        codebook=tensor.codebook.bits.size if tensor.codebook is not None else 0,
        dtype=tensor.dtype,
    )
    return entry, side + data
