"""What is left of damaged files, and files from a pipe."""

from __future__ import annotations

import io

import numpy as np
import pytest
from golden_model import GOLDEN

from sepnet.codecs import find
from sepnet.core.chunks import Damage
from sepnet.core.coded_tensor import CodedTensor
from sepnet.core.errors import FormatError
from sepnet.core.header import Header, TensorEntry
from sepnet.core.limits import Limits
from sepnet.core.packed_model import PackedModel
from sepnet.packing.restore import state_dict
from sepnet.packing.salvage import readable

GOOD = (GOLDEN / "v1.sepnet").read_bytes()
CHAIN = ("kernels_ab1", "kernels_ab1+", "dense", "kernels_ab1+", "kernels_ab1", "kernels_ab1+")


def chain() -> tuple[PackedModel, list[np.ndarray]]:
    """Layers a to f, all but c of patterns and coded one after the other."""
    random, before = np.random.default_rng(0), None
    entries, payloads, arrays = [], [], []
    for name, codec_name in zip("abcdef", CHAIN, strict=True):
        codec = find(codec_name)
        if codec.remembers:
            codec = before = codec.remembering(before)
        codes = (random.random((6, 5, 3, 3)) < 0.2).astype(np.int64)
        payloads.append(codec.encode(codes))
        arrays.append(CodedTensor(name, codes, "sign", ("pattern",)).restore())
        entries.append(
            TensorEntry(
                name=name,
                shape=codes.shape,
                schemes=("pattern",),
                values="sign",
                codec=codec_name,
                bytes=(0, len(payloads[-1])),
            )
        )
    return PackedModel.of(Header("chain", 1, tuple(entries)), b"", payloads), arrays


@pytest.mark.parametrize(("hit", "lost"), [("", ""), ("a", "abd"), ("b", "bd"), ("c", "c"), ("d", "d"), ("e", "ef")])
def test_damage_goes_on_along_a_chain(hit: str, lost: str) -> None:
    model, arrays = chain()
    damage = [Damage(hit, "the checksum of its chunk does not match")] if hit else []
    found, named = readable(model, damage)
    assert "".join(each.tensor for each in named) == lost
    assert all("goes on from tensor" in each.reason for each in named[1:])
    state = state_dict(found)
    assert "".join(state) == "".join(name for name in "abcdef" if name not in lost)
    assert all(
        np.array_equal(state[name], array) for name, array in zip("abcdef", arrays, strict=True) if name in state
    )


def test_every_byte_flipped_loses_few_tensors() -> None:
    whole = state_dict(PackedModel.from_bytes(GOOD))
    model = PackedModel.from_bytes(GOOD)
    at = len(GOOD) - sum(len(payload) + 4 for payload in model.payloads)
    for entry, payload in zip(model.header.tensors, model.payloads, strict=True):
        damaged = bytearray(GOOD)
        damaged[at + len(payload) // 2] ^= 1
        at += len(payload) + 4
        left, damage = PackedModel.salvage(bytes(damaged))
        assert [each.tensor for each in damage] == [entry.name]
        found, lost = readable(left, damage)
        assert lost[0] == damage[0] and len(found.header.tensors) == len(model.header.tensors) - 1
        assert all(np.array_equal(array, whole[name]) for name, array in state_dict(found).items())


def test_cut_at_every_length() -> None:
    model = PackedModel.from_bytes(GOOD)
    front = len(GOOD) - sum(len(payload) + 4 for payload in model.payloads)
    for length in range(0, len(GOOD), 7):
        if length < front:
            with pytest.raises(FormatError):
                PackedModel.salvage(GOOD[:length])
        else:
            left, damage = PackedModel.salvage(GOOD[:length])
            whole = [payload for payload in left.payloads if payload]
            assert tuple(whole) == model.payloads[: len(whole)] and damage
            state_dict(readable(left, damage)[0])


def test_bytes_at_the_end_are_named() -> None:
    _, damage = PackedModel.salvage(GOOD + b"12")
    assert [str(each) for each in damage] == ["2 bytes found after the last chunk, expected none"]


class Pipe(io.RawIOBase):
    """Gives a few bytes at a time, and says how many were asked for at most."""

    def __init__(self, data: bytes) -> None:
        self.inside, self.most = io.BytesIO(data), 0

    def read(self, size: int = -1) -> bytes:  # type: ignore[override]
        self.most = max(self.most, size)
        return self.inside.read(min(size, 7))


def test_a_pipe_gives_the_same_model() -> None:
    assert PackedModel.read_from(Pipe(GOOD)) == PackedModel.from_bytes(GOOD)  # type: ignore[arg-type]
    for length in range(0, len(GOOD), 5):
        with pytest.raises(FormatError):
            PackedModel.read_from(io.BytesIO(GOOD[:length]))
    with pytest.raises(FormatError, match="more than the"):
        PackedModel.read_from(io.BytesIO(GOOD + b"\0"))
    with pytest.raises(FormatError, match="not a packed file"):
        PackedModel.read_from(io.BytesIO(b"PK" * 100))


def test_a_pipe_is_asked_for_no_more_than_the_limits() -> None:
    lying = GOOD[:12] + b"\xff" * 16 + GOOD[28:]
    pipe = Pipe(lying)
    with pytest.raises(FormatError, match="the limits are"):
        PackedModel.read_from(pipe)  # type: ignore[arg-type]
    assert pipe.most <= 32
    with pytest.raises(FormatError, match=r"declares .* the limit of a stream is 100"):
        PackedModel.read_from(io.BytesIO(GOOD), Limits(file_bytes=100))
