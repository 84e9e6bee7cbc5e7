"""What each fuzzing target does with its input: one function a reader.  `SepnetError` is the only exception allowed."""

from __future__ import annotations

import contextlib
import io
import json
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from sepnet.codecs import CODECS, find
from sepnet.core.codec import CodecUnfitError
from sepnet.core.errors import SepnetError
from sepnet.core.limits import Limits
from sepnet.core.pack_options import PackOptions
from sepnet.core.packed_model import MAGIC, PackedModel
from sepnet.core.recipe import load_recipe
from sepnet.graphs.onnx_graph import OnnxGraph
from sepnet.packing.onnx_source import read_onnx
from sepnet.packing.restore import onnx_model, state_dict
from sepnet.packing.salvage import readable
from sepnet.packing.weights_source import read_metadata
from sepnet.steps.info import info
from sepnet.steps.pack_weights import pack_weights

ROOT = Path(__file__).parents[2]
SMALL = Limits(elements=1 << 16, header_bytes=1 << 20, graph_bytes=1 << 20, file_bytes=1 << 22)
SHAPES = [(7,), (4, 6), (3, 2, 3, 3), (5, 1, 2, 2), (2, 0), (40, 40), (16, 4, 5, 5), (1 << 14,)]
_SCRATCH = Path(tempfile.mkdtemp(prefix="fuzz"))
_SIZES = 12


def packed(data: bytes) -> None:
    """A packed file: as it is, or put together with right checksums, so that what comes after them is reached."""
    whole = data if data[:4] == MAGIC[:4] else _assembled(data)
    with contextlib.suppress(SepnetError):
        model, damage = PackedModel.salvage(whole, SMALL)
        state_dict(readable(model, damage)[0])
    try:
        model = PackedModel.from_bytes(whole, SMALL)
    except SepnetError:
        with contextlib.suppress(SepnetError):
            PackedModel.read_from(io.BytesIO(whole), SMALL)
            raise AssertionError("read from a stream, refused as a whole") from None
        return
    assert PackedModel.read_from(io.BytesIO(whole), SMALL) == model
    for use in (info, state_dict, onnx_model):
        with contextlib.suppress(SepnetError):
            use(model)


def _assembled(data: bytes) -> bytes:
    """`data` is flags, lengths of header and graph, these two, and the payloads."""
    flag, header_bytes, graph_bytes = (
        data[0:1] or b"\0",
        *(int.from_bytes(data[at : at + 4], "little") for at in (4, 8)),
    )
    rest = data[_SIZES:]
    text, graph, tail = rest[:header_bytes], rest[header_bytes:][:graph_bytes], rest[header_bytes:][graph_bytes:]
    squeeze = zlib.compressobj(1, zlib.DEFLATED, -15)
    first = squeeze.compress(text) + squeeze.flush(zlib.Z_SYNC_FLUSH)
    second = squeeze.compress(graph) + squeeze.flush()
    fixed = MAGIC + b"\1\0" + bytes([flag[0] & 2]) + b"\0"
    for size in (len(first), len(text), len(second), len(graph)):
        fixed += size.to_bytes(4, "little")
    chunks, at = b"", 0
    with contextlib.suppress(ValueError, TypeError, LookupError, RecursionError):
        for entry in json.loads(text)["tensors"]:
            payload = tail[at : at + sum(entry["bytes"])]
            chunks += payload + zlib.crc32(payload).to_bytes(4, "little")
            at += len(payload)
    return fixed + zlib.crc32(first + second, zlib.crc32(fixed)).to_bytes(4, "little") + first + second + chunks


def codec_target(name: str) -> Callable[[bytes], None]:
    """A payload of one codec, behind a byte that chooses the shape; what decodes can be encoded and decoded again."""
    codec = find(name)

    def target(data: bytes) -> None:
        shape = SHAPES[(data[0] if data else 0) % len(SHAPES)]
        with contextlib.suppress(SepnetError):
            codec.describe(data[1:])
        try:
            codes = codec.decode(data[1:], shape)
        except SepnetError:
            return
        assert codes.shape == shape and codes.dtype == np.int64
        with contextlib.suppress(CodecUnfitError):
            assert np.array_equal(codec.decode(codec.encode(codes), shape), codes)

    return target


def safetensors(data: bytes) -> None:
    """A file of weights alone, packed bit for bit and in 5 bits."""
    path = _SCRATCH / "w.safetensors"
    path.write_bytes(data)
    with contextlib.suppress(SepnetError):
        read_metadata(path)
    for bits in (None, 5):
        with contextlib.suppress(SepnetError):
            pack_weights(path, PackOptions(bits=bits))  # type: ignore[arg-type]


def onnx(data: bytes) -> None:
    """A graph that is to be packed."""
    path = _SCRATCH / "n.onnx"
    path.write_bytes(data)
    with contextlib.suppress(SepnetError):
        read_onnx(path)


def graph(data: bytes) -> None:
    """A graph read without the onnx package; what is read is written and read again alike."""
    with contextlib.suppress(SepnetError):
        once = OnnxGraph.decode(data)
        again = OnnxGraph.decode(once.encode())
        assert [node.encode() for node in again.nodes] == [node.encode() for node in once.nodes]
        assert again.initializers.keys() == once.initializers.keys()
        for name in ("ints", "value", "axis"):
            for node in once.nodes[:20]:
                with contextlib.suppress(SepnetError):
                    node.integers(name)
                with contextlib.suppress(SepnetError):
                    node.number(name, 0.0)


def recipe(data: bytes) -> None:
    """A recipe."""
    path = _SCRATCH / "r.toml"
    path.write_bytes(data)
    with contextlib.suppress(SepnetError):
        load_recipe(path)


TARGETS: dict[str, Callable[[bytes], None]] = {
    "packed": packed,
    "safetensors": safetensors,
    "onnx": onnx,
    "graph": graph,
    "recipe": recipe,
    **{f"codec-{name}": codec_target(name) for name in CODECS},
}


def seeds(name: str) -> Iterable[bytes]:
    """Good inputs to begin with: from the zoo, the golden file, the recipes, and small arrays."""
    files = [*sorted((ROOT / "tests/golden").glob("*.sepnet")), *sorted((ROOT / "zoo").glob("*.sepnet"))]
    if name == "packed":
        for path in files:
            data = path.read_bytes()
            if len(data) < 60_000:
                yield data
                yield _taken_apart(PackedModel.from_bytes(data), data)
    elif name == "recipe":
        yield from (path.read_bytes() for path in sorted((ROOT / "recipes").glob("*.toml")))
    elif name in ("onnx", "graph"):
        yield onnx_model(PackedModel.read(ROOT / "tests/golden/v1.sepnet"))
        yield onnx_model(PackedModel.read(ROOT / "zoo/resnet20-cifar10-pattern.sepnet"))[:60_000]
    elif name == "safetensors":
        yield from _weights()
    else:
        yield from _payloads(name.removeprefix("codec-"))


def _taken_apart(model: PackedModel, data: bytes) -> bytes:
    import msgspec

    text = msgspec.json.encode(model.header)
    sizes = len(text).to_bytes(4, "little") + len(model.graph).to_bytes(4, "little")
    return bytes(4) + sizes + text + model.graph + b"".join(model.payloads)


def _weights() -> Iterable[bytes]:
    from safetensors.numpy import save

    random = np.random.default_rng(0)
    yield save({"a": random.standard_normal((5, 4)).astype(np.float32), "b": np.arange(6, dtype=np.int8)}, {"by": "me"})
    yield save({"h": random.standard_normal((3, 2, 3, 3)).astype(np.float16), "d": np.ones(3), "t": np.array([True])})


def _payloads(name: str) -> Iterable[bytes]:
    random = np.random.default_rng(0)
    for at, shape in enumerate(SHAPES[:-1]):
        for spread, kept in ((0.4, 1.0), (3.0, 0.2), (40.0, 0.6)):
            codes = np.rint(random.laplace(0, spread, shape)).astype(np.int64) * (random.random(shape) < kept)
            for given in (codes, (codes > 0).astype(np.int64)):
                with contextlib.suppress(CodecUnfitError):
                    yield bytes([at]) + find(name).encode(given)
