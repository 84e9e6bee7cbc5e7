"""Version 1 of the packed file is frozen: the golden file gives these numbers, and is what is written today."""

from __future__ import annotations

import json
import zlib

import msgspec
import numpy as np
import pytest
import second_reader
from golden_model import GOLDEN, INPUT, STATEFUL_INPUT, golden_model, stateful_model

from sepnet.core.packed_model import PackedModel
from sepnet.graphs.ports import ports_of
from sepnet.packing.restore import state_dict
from sepnet.runtimes.onnxruntime import OnnxRuntime

DATA = {name: (GOLDEN / f"{name}.sepnet").read_bytes() for name in ("v1", "v1_1")}
EXPECTED = {name: json.loads((GOLDEN / f"{name}.json").read_text(encoding="utf-8")) for name in DATA}


@pytest.fixture(params=list(DATA))
def version(request: pytest.FixtureRequest) -> str:
    """Each version that there is a golden file of."""
    return str(request.param)


def expected_array(version: str, name: str) -> np.ndarray:
    """What the golden page says."""
    entry = EXPECTED[version]["state"][name]
    return np.array(entry["numbers"], entry["dtype"]).reshape(entry["shape"])


def test_it_reads_as_exactly_these_numbers(version: str) -> None:
    state = state_dict(PackedModel.from_bytes(DATA[version]))
    assert sorted(state) == sorted(EXPECTED[version]["state"])
    for name, array in state.items():
        wanted = expected_array(version, name)
        assert (array.dtype, array.shape) == (wanted.dtype, wanted.shape), name
        np.testing.assert_array_equal(array, wanted, err_msg=name)


def test_it_runs(version: str) -> None:
    outputs = OnnxRuntime(PackedModel.read(GOLDEN / f"{version}.sepnet")).run(INPUT)
    np.testing.assert_allclose(outputs, EXPECTED[version]["output"], rtol=1e-4)


def test_a_reader_written_from_the_page_agrees(version: str) -> None:
    model = PackedModel.from_bytes(DATA[version])
    header, graph, numbers = second_reader.read(DATA[version])
    assert graph == model.graph
    assert [entry["name"] for entry in header["tensors"]] == [entry.name for entry in model.header.tensors]
    assert {entry["values"] for entry in header["tensors"] if entry["name"] in numbers} == {
        *("integer", "sign", "codebook", "float16", "float32", "int64")
    }
    for name, array in numbers.items():
        np.testing.assert_array_equal(array, expected_array(version, name), err_msg=name)


def test_it_is_what_is_written_today() -> None:
    old, new = PackedModel.from_bytes(DATA["v1_1"]), golden_model(preset=True)
    assert new.header == old.header
    assert new.graph == old.graph
    assert new.payloads == old.payloads
    assert {entry.codec for entry in new.header.tensors} >= {"ab1", "mx1", "kernels_ab1", "kernels_ab1+"}


def test_what_was_read_is_written_as_it_was(version: str) -> None:
    """Deflated bytes may differ from one zlib to another; everything else may not."""
    data, model = DATA[version], PackedModel.from_bytes(DATA[version])
    written = model.to_bytes()
    assert model.bytes == len(data)
    assert written[:12] == data[:12]
    if version == "v1":  # its header has a key that is no longer written, in another place
        assert PackedModel.from_bytes(written) == PackedModel.of(
            model.header, model.graph, model.payloads, preset=False
        )
        return
    assert [front(written)[at] for at in (1, 3)] == [front(data)[at] for at in (1, 3)]
    assert written[32 + sum(front(written)[::2]) :] == data[32 + sum(front(data)[::2]) :]
    assert inflated(written) == inflated(data)


def test_the_first_version_still_holds_the_same() -> None:
    old, new = PackedModel.from_bytes(DATA["v1"]), golden_model(preset=False)
    assert new.payloads == old.payloads and new.graph == old.graph
    assert tuple(msgspec.structs.replace(entry, bits=0) for entry in old.header.tensors) == new.header.tensors


def front(data: bytes) -> list[int]:
    """The four sizes of the fixed part."""
    return [int.from_bytes(data[at : at + 4], "little") for at in (12, 16, 20, 24)]


def inflated(data: bytes) -> bytes:
    """Header and graph."""
    stored_header, _, stored_graph, _ = front(data)
    stretch = zlib.decompressobj(wbits=-15, zdict=second_reader.DICTIONARY.read_bytes())
    return stretch.decompress(data[32 : 32 + stored_header + stored_graph])


def test_the_preset_dictionary_is_frozen() -> None:
    data = second_reader.DICTIONARY.read_bytes()
    page = (GOLDEN.parents[1] / "docs" / "format.md").read_text(encoding="utf-8")
    assert f"the {len(data):,} bytes of" in page and f"CRC-32 `{zlib.crc32(data):08x}`" in page


@pytest.mark.parametrize("key", ["input", "classes", "norms", "zeros", "aliases", "made"])
def test_what_the_header_says(key: str) -> None:
    header, _, _ = second_reader.read(DATA["v1"])
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


def test_version_1_2_has_inputs_and_outputs_of_any_number_and_type() -> None:
    data = (GOLDEN / "v1_2.sepnet").read_bytes()
    expected = json.loads((GOLDEN / "v1_2.json").read_text(encoding="utf-8"))
    model = PackedModel.from_bytes(data)
    assert data[8:10] == b"\1\2" and model.to_bytes()[:12] == data[:12]
    assert (model.header, model.graph, model.payloads) == (
        stateful_model().header,
        stateful_model().graph,
        stateful_model().payloads,
    )
    _, graph, numbers = second_reader.read(data)
    assert graph == model.graph
    np.testing.assert_array_equal(numbers["table"], state_dict(model)["table"])
    found = OnnxRuntime(model).run(STATEFUL_INPUT)
    assert {name: array.tolist() for name, array in found.items()} == expected
    inputs, outputs = ports_of(model.graph)
    assert list(map(str, inputs)) == [
        "tokens (int64, batch x length)",
        "state (float32, batch x 4)",
        "gain (float32, a scalar)",
    ]
    assert list(map(str, outputs)) == ["next state (float32, batch x 4)", "best:0 (int64, batch)"]
