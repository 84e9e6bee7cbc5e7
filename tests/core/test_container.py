"""A packed file in a safetensors container: the same bytes, read as a plain file is; what is not right is one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save

import sepnet
from sepnet.core.container import unwrap, wrap
from sepnet.core.errors import FormatError, UsageError
from sepnet.core.packed_model import PackedModel

PLAIN = Path(__file__).parents[2] / "zoo" / "lenet5-mnist.sepnet"


@pytest.fixture
def wrapped(tmp_path: Path) -> Path:
    path = tmp_path / "lenet5.safetensors"
    PackedModel.read(PLAIN).write(path, "safetensors")
    return path


def test_others_read_the_container_and_find_the_same_bytes(wrapped: Path) -> None:
    inside = PackedModel.read(PLAIN)
    found = load_file(wrapped)
    assert list(found) == ["sepnet"] and found["sepnet"].dtype == np.uint8
    assert found["sepnet"].tobytes() == inside.to_bytes()
    with safe_open(wrapped, "numpy") as file:
        about = file.metadata()
    assert about["format"] == "sepnet" and about["network"] == inside.header.network
    assert about["params"] == "431080" and float(about["ratio"]) == pytest.approx(inside.ratio, rel=0.01)
    start = 8 + int.from_bytes(wrapped.read_bytes()[:8], "little")
    assert start % 8 == 0 and start < 300


def test_it_reads_as_a_plain_file_and_one_of_safetensors_does(wrapped: Path, tmp_path: Path) -> None:
    plain, found, inside = sepnet.read(PLAIN), sepnet.read(wrapped), PLAIN.read_bytes()
    assert found.header == plain.header and found.payloads == plain.payloads and found.graph == plain.graph
    assert found.bytes == len(found.to_bytes()) < wrapped.stat().st_size
    other = tmp_path / "other.safetensors"
    other.write_bytes(save({"sepnet": np.frombuffer(inside, np.uint8)}, {"any": "thing"}))
    assert sepnet.read(other).payloads == plain.payloads
    found.write(tmp_path / "again.safetensors", "safetensors")
    assert (tmp_path / "again.safetensors").read_bytes() == wrapped.read_bytes()


def test_what_is_no_container_of_a_packed_file_is_one_line(wrapped: Path, tmp_path: Path) -> None:
    weights = tmp_path / "weights.safetensors"
    weights.write_bytes(save({"w": np.zeros(3, np.float32), "b": np.zeros(1, np.float32)}))
    with pytest.raises(FormatError, match=r"weights\.safetensors: a safetensors file of 2 tensors; expected one"):
        PackedModel.read(weights)
    weights.write_bytes(save({"sepnet": np.zeros((2, 3), np.float32)}))
    with pytest.raises(FormatError, match=r"'sepnet' is F32 \[2, 3\]"):
        PackedModel.read(weights)
    with pytest.raises(UsageError, match="container 'zip'"):
        PackedModel.read(PLAIN).write(tmp_path / "x", "zip")  # type: ignore[arg-type]


def test_damaged_containers_are_refused(wrapped: Path, tmp_path: Path) -> None:
    data = wrapped.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    path = tmp_path / "damaged.safetensors"
    for end in (0, 7, 8, 9, 100, start, start + 5, start + 40, len(data) - 1):
        path.write_bytes(data[:end])
        with pytest.raises(FormatError):
            PackedModel.read(path)
    random = np.random.default_rng(0)
    for place in random.integers(0, start, 200):
        broken = bytearray(data)
        broken[place] ^= int(random.integers(1, 256))
        path.write_bytes(broken)
        try:
            found = PackedModel.read(path)
        except FormatError:
            continue
        assert found.to_bytes() == data[start:]
    for text in (b'{"sepnet":[]}', b'{"sepnet":{"dtype":"U8","shape":[-1],"data_offsets":[0,-1]}}', b"[" * 5000, b"{}"):
        with pytest.raises(FormatError):
            PackedModel.from_bytes(unwrap(len(text).to_bytes(8, "little") + text + data[start:]))


def test_bytes_that_are_no_container_come_back_as_they_are() -> None:
    for data in (b"", PLAIN.read_bytes(), b"\xff" * 8 + b"{", b"\x05" + b"\0" * 7 + b"{....", b"{" * 40):
        assert unwrap(data) == data
    assert unwrap(wrap(b"", {})) == b""
