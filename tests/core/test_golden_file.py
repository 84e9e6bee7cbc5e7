"""Version 1 of the packed file is frozen: the golden file gives these numbers, and is what is written today."""

from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import second_reader
from golden_model import GOLDEN, INPUT, golden_model

from sepnet.core.packed_model import PackedModel
from sepnet.packing.restore import state_dict
from sepnet.runtimes.onnxruntime import OnnxRuntime

DATA = (GOLDEN / "v1.sepnet").read_bytes()
EXPECTED = json.loads((GOLDEN / "v1.json").read_text(encoding="utf-8"))


def expected_array(name: str) -> np.ndarray:
    """What the golden page says."""
    entry = EXPECTED["state"][name]
    return np.array(entry["numbers"], entry["dtype"]).reshape(entry["shape"])


def test_it_reads_as_exactly_these_numbers() -> None:
    state = state_dict(PackedModel.from_bytes(DATA))
    assert sorted(state) == sorted(EXPECTED["state"])
    for name, array in state.items():
        wanted = expected_array(name)
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape), name
        np.testing.assert_array_equal(array, wanted, err_msg=name)


def test_it_runs() -> None:
    outputs = OnnxRuntime(PackedModel.read(GOLDEN / "v1.sepnet")).run(INPUT)
    np.testing.assert_allclose(outputs, EXPECTED["output"], rtol=1e-4)


def test_a_reader_written_from_the_page_agrees() -> None:
    model = PackedModel.from_bytes(DATA)
    header, graph, numbers = second_reader.read(DATA)
    assert graph == model.graph
    assert [entry["name"] for entry in header["tensors"]] == [entry.name for entry in model.header.tensors]
    assert {entry["values"] for entry in header["tensors"] if entry["name"] in numbers} == {
        *("integer", "sign", "codebook", "float16", "float32", "int64")
    }
    for name, array in numbers.items():
        np.testing.assert_array_equal(array, expected_array(name), err_msg=name)


def test_it_is_what_is_written_today() -> None:
    """Deflated bytes may differ from one zlib to another; everything else may not."""
    old, new = PackedModel.from_bytes(DATA), golden_model()
    assert new.header == old.header
    assert new.graph == old.graph
    assert new.payloads == old.payloads
    written = new.to_bytes()
    assert len(written) == new.bytes
    assert written[:12] == DATA[:12]
    assert [front(written)[at] for at in (1, 3)] == [front(DATA)[at] for at in (1, 3)]
    assert written[32 + sum(front(written)[::2]) :] == DATA[32 + sum(front(DATA)[::2]) :]
    assert inflated(written) == inflated(DATA)


def front(data: bytes) -> list[int]:
    """The four sizes of the fixed part."""
    return [int.from_bytes(data[at : at + 4], "little") for at in (12, 16, 20, 24)]


def inflated(data: bytes) -> bytes:
    """Header and graph."""
    stored_header, _, stored_graph, _ = front(data)
    return zlib.decompress(data[32 : 32 + stored_header + stored_graph], wbits=-15)


@pytest.mark.parametrize("key", ["input", "classes", "norms", "zeros", "aliases", "made"])
def test_what_the_header_says(key: str) -> None:
    header, _, _ = second_reader.read(DATA)
    assert (
        header[key]
        == {
            "input": {"shape": [1, 6, 6], "mean": [0.5], "std": [0.25]},
            "classes": ["null", "eins", "zwei", "drei", "größer"],
            "norms": [
                {"name": "bn", "bias": "conv.bias"},
                {"name": "norm", "eps": 1e-3, "folded": False, "tracked": False},
            ],
            "zeros": [{"name": "aux.weight", "shape": [3, 5]}, {"name": "aux.count", "shape": [], "dtype": "int64"}],
            "aliases": {"again.weight": "mix.weight", "bn2.weight": "bn.weight"},
            "made": {"sepnet": "0.1.0", "seed": 7, "top1": 0.5},
        }[key]
    )
