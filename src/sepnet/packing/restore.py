"""A packed model back to numbers: coded tensors, what the graph needs, and a state dict."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from sepnet.codecs import find
from sepnet.core.codec import Codec
from sepnet.core.coded_tensor import VALUES, CodedTensor, Half, scale_shape
from sepnet.core.errors import FormatError, UnknownNameError, UsageError
from sepnet.core.header import Header, TensorEntry
from sepnet.core.limits import Limits
from sepnet.core.packed_model import PackedModel
from sepnet.graphs.ports import check_graph
from sepnet.graphs.wire import names_used, with_weights

__all__ = ["TensorReader", "coded_tensors", "onnx_model", "read_back", "state_dict"]

Array = npt.NDArray[np.float32] | npt.NDArray[np.int64]


def coded_tensors(model: PackedModel) -> Iterator[CodedTensor]:
    """Every tensor of the file, decoded, in its order."""
    reader = TensorReader()
    for entry, payload in zip(model.header.tensors, model.payloads, strict=True):
        yield reader.decode(entry, payload)


def read_back(model: PackedModel, limits: Limits = Limits()) -> PackedModel:
    """The model as a reader of its bytes sees it, after every tensor was decoded and the graph looked through.

    Raises `FormatError` for what no reader with these limits would take.
    """
    again = PackedModel.from_bytes(model.to_bytes(limits=limits), limits)
    for _ in coded_tensors(again):
        pass
    names_used(again.graph)
    return again


class TensorReader:
    """Decodes the tensors of one file, in its order: some codecs remember those before."""

    def __init__(self) -> None:
        self._memory: Codec | None = None
        self._lost = ""

    def decode(self, entry: TensorEntry, payload: bytes) -> CodedTensor:
        """One tensor from its header entry and payload.  Raises `FormatError` naming the tensor."""
        try:
            return _decode(entry, payload, self._codec(entry.codec))
        except FormatError as error:
            self.skip(entry)
            raise FormatError(f"tensor {entry.name!r}: {error}") from error

    def skip(self, entry: TensorEntry) -> None:
        """Go on behind a tensor that cannot be read; those whose codec would have to remember it cannot be either."""
        try:
            remembers = find(entry.codec).remembers
        except UsageError:  # of a codec that nobody knows, nothing can be remembered
            return
        if remembers:
            self._memory, self._lost = None, self._lost or entry.name

    def _codec(self, name: str) -> Codec:
        try:
            codec = find(name)
        except (UnknownNameError, UsageError) as error:
            raise FormatError(f"{error}; a newer sepnet may know it") from error
        if not codec.remembers:
            return codec
        try:
            codec = self._memory = codec.remembering(self._memory)
        except FormatError:
            if not self._lost:
                raise
            raise FormatError(f"codec {name!r} goes on from tensor {self._lost!r}, which cannot be read") from None
        self._lost = ""
        return codec


def _decode(entry: TensorEntry, payload: bytes, codec: Codec) -> CodedTensor:
    if entry.values not in VALUES:
        raise FormatError(f"unknown values kind {entry.values!r}; this sepnet knows {', '.join(VALUES)}")
    if entry.scale not in ("none", "tensor", "filter", "kernel"):
        raise FormatError(f"unknown scale {entry.scale!r}; this sepnet knows none, tensor, filter, kernel")
    if len(entry.shape) < {"filter": 1, "kernel": 2}.get(entry.scale, 0):
        raise FormatError(f"a scale for each {entry.scale} of a tensor of shape {list(entry.shape)}")
    if entry.codebook and entry.values != "codebook":
        raise FormatError(f"{entry.codebook} shared values for values {entry.values!r}")
    shape = scale_shape(entry.scale, entry.shape)  # type: ignore[arg-type]
    scales = 0 if entry.scale == "none" else int(np.prod(shape, dtype=object))
    side, stored = entry.bytes
    if side != 2 * (scales + entry.codebook) or side + stored != len(payload):
        raise FormatError(
            f"{side} bytes of side information, expected {2 * (scales + entry.codebook)} for {scales} scales and {entry.codebook} shared values"
        )
    numbers = np.frombuffer(payload, "<f2", count=side // 2).astype(np.float16)
    if not np.isfinite(numbers).all():
        raise FormatError("a scale or shared value is not finite")
    codes = codec.decode(payload[side:], entry.shape)
    _check_codes(entry, codes)
    return CodedTensor(
        entry.name,
        codes,
        entry.values,  # type: ignore[arg-type]
        entry.schemes,
        Half(numbers[:scales].reshape(shape), entry.scale_exponent) if scales or entry.scale != "none" else None,
        Half(numbers[scales:], entry.value_exponent) if entry.values == "codebook" else None,
        entry.value_exponent,
        entry.codec,
        entry.dtype,
    )


def _check_codes(entry: TensorEntry, codes: npt.NDArray[np.int64]) -> None:
    most = {"sign": 2, "codebook": entry.codebook, "float16": 1 << 16, "float32": 1 << 32}.get(entry.values)
    if most is None or codes.size == 0:
        return
    low, high = int(codes.min()), int(codes.max())
    if low < 0 or high >= most:
        raise FormatError(f"codes from {low} to {high}; values {entry.values!r} allow 0 to {most - 1}")


def state_dict(model: PackedModel) -> dict[str, Array]:
    """A state dict that a strict `load_state_dict` of the original class takes, with the same outputs.

    Folded batch normalizations are filled in as the identity, see docs/format.md.
    """
    header = model.header
    state: dict[str, Array] = {tensor.name: tensor.restore() for tensor in coded_tensors(model)}
    state.update(_norm_constants(header, state))
    for norm in header.norms:
        channels = state[f"{norm.name}.bias"].shape
        if norm.folded:
            state[f"{norm.name}.weight"] = np.ones(channels, np.float32)
        if norm.tracked:
            state[f"{norm.name}.num_batches_tracked"] = np.zeros((), np.int64)
        if norm.bias:
            state[norm.bias] = np.zeros(channels, np.float32)
    for zero in header.zeros:
        integer = zero.dtype == "int64"
        state[zero.name] = np.zeros(zero.shape, np.int64) if integer else np.zeros(zero.shape, np.float32)
    for alias, first in header.aliases.items():
        state[alias] = state[first]
    return state


def _norm_constants(header: Header, state: dict[str, Array]) -> dict[str, Array]:
    constants: dict[str, Array] = {}
    for norm in header.norms:
        channels = state[f"{norm.name}.bias"].shape
        constants[f"{norm.name}.running_mean"] = np.zeros(channels, np.float32)
        constants[f"{norm.name}.running_var"] = np.full(channels, np.float32(1.0) - np.float32(norm.eps), np.float32)
    return constants


def onnx_model(model: PackedModel) -> bytes:
    """A complete serialized ONNX model: the graph with every weight that its nodes read, float32.

    Raises `FormatError` for a file of weights alone.
    """
    check_graph(model)
    used = names_used(model.graph)
    wanted = {name: array for name, array in state_dict(model).items() if name in used}
    return with_weights(model.graph, wanted)
