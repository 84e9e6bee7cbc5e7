"""Damaged and hostile packed files: always `FormatError`, at once, and without memory."""

from __future__ import annotations

import json
import tracemalloc
import zlib
from typing import Any

import hostile
import numpy as np
import pytest
from golden_model import INPUT
from hostile import GOOD, add_node, constant, external_tensor, graph_with, setting, with_graph, with_header, with_text
from onnx import TensorProto, helper

from sepnet.core.errors import FormatError
from sepnet.core.limits import Limits
from sepnet.core.packed_model import PackedModel
from sepnet.packing.restore import onnx_model, state_dict
from sepnet.runtimes.onnxruntime import OnnxRuntime
from sepnet.steps.info import info


def use(data: bytes) -> None:
    """Everything that can be done with a file."""
    model = PackedModel.from_bytes(data)
    info(model)
    state_dict(model)
    with pytest.raises(FormatError) as unused:
        OnnxRuntime(model).run(INPUT)
    raise unused.value


def test_the_good_file_is_good() -> None:
    with pytest.raises(pytest.fail.Exception):
        use(GOOD)
    header, graph, payloads = hostile.parts()
    with pytest.raises(pytest.fail.Exception):
        use(hostile.assemble(json.dumps(header).encode(), graph, hostile.chunks_of(payloads)))


def test_cut_at_every_length() -> None:
    for length in range(len(GOOD)):
        with pytest.raises(FormatError, match=r"truncated|not a packed file|damaged"):
            PackedModel.from_bytes(GOOD[:length])


@pytest.mark.parametrize("mask", [0xFF, 0x01, 0x80])
def test_every_byte_flipped(mask: int) -> None:
    for at in range(len(GOOD)):
        damaged = bytearray(GOOD)
        damaged[at] ^= mask
        with pytest.raises(FormatError):
            PackedModel.from_bytes(bytes(damaged))


@pytest.mark.parametrize("more", [b"\0", b"\n", GOOD])
def test_bytes_at_the_end(more: bytes) -> None:
    with pytest.raises(FormatError, match=r"its header accounts for \d+$"):
        PackedModel.from_bytes(GOOD + more)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "starts with nothing"),
        (b"PK\x03\x04 a zip file", "not a packed file"),
        (b"\x80\x02 a pickle", "not a packed file"),
        (GOOD.replace(b"\r\n", b"\n"), "line ends were changed"),
        (GOOD.replace(b"\n", b"\r\n"), "line ends were changed"),
        (GOOD.replace(b"\r", b"\n"), "line ends were changed"),
        (bytes(byte & 127 for byte in GOOD), "not a packed file"),
        (GOOD.decode("latin-1").encode(), "not a packed file"),
        (GOOD[:8] + b"\x02" + GOOD[9:], r"version 2\.0; this sepnet reads version 1; install a newer"),
        (GOOD[:8] + b"\x00" + GOOD[9:], r"version 0\.0"),
        (GOOD[:10] + b"\x02" + GOOD[11:], "unknown flags 0200"),
        (GOOD[:11] + b"\x80" + GOOD[12:], "unknown flags 0080"),
    ],
)
def test_the_first_bytes(data: bytes, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        PackedModel.from_bytes(data)


def test_a_newer_minor_version_and_unknown_keys_are_read() -> None:
    header, graph, payloads = hostile.parts()
    header["invented_later"] = {"a": [1, 2]}
    header["tensors"][0]["invented_later"] = 1
    start = GOOD[:9] + b"\x07" + GOOD[10:12]
    model = PackedModel.from_bytes(
        hostile.assemble(json.dumps(header).encode(), graph, hostile.chunks_of(payloads), start=start)
    )
    assert model.header == PackedModel.from_bytes(GOOD).header


DEEP = b'{"network":"n","params":1,"tensors":' + b"[" * 100_000
TEXTS = {
    "nothing": b"",
    "no json": b"no json",
    "half": json.dumps(hostile.parts()[0]).encode()[:-1],
    "twice": json.dumps(hostile.parts()[0]).encode() * 2,
    "a list": b"[]",
    "null": b"null",
    "empty": b"{}",
    "no utf-8": b'{"network":"\xff","params":1,"tensors":[]}',
    "half a surrogate": b'{"network":"\\ud800","params":1,"tensors":[]}',
    "deep": DEEP,
    "deep unknown": b'{"network":"n","params":1,"tensors":[],"later":' + b"[" * 100_000,
    "deep made": b'{"network":"n","params":1,"tensors":[],"made":{"a":' + b"[" * 100_000,
    "many digits": b'{"network":"n","params":' + b"9" * 6000 + b',"tensors":[]}',
    "infinite": b'{"network":"n","params":1e999,"tensors":[]}',
    "nan": b'{"network":"n","params":NaN,"tensors":[]}',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_headers_that_do_not_parse(text: bytes) -> None:
    with pytest.raises(FormatError, match=r"header does not parse|accounts for"):
        PackedModel.from_bytes(with_text(text))


def twice(header: dict[str, Any]) -> None:
    header["tensors"][1]["name"] = header["tensors"][0]["name"]


HEADERS: dict[str, tuple[hostile.Change, str]] = {
    "params text": (lambda h: h.update(params="1"), "does not parse"),
    "params below zero": (lambda h: h.update(params=-1), "does not parse.*>= 0"),
    "params huge": (lambda h: h.update(params=1 << 100), "does not parse"),
    "tensors object": (lambda h: h.update(tensors={}), "does not parse"),
    "shape text": (setting("bn.bias", "shape", "2"), "does not parse"),
    "shape float": (setting("bn.bias", "shape", [2.5]), "does not parse"),
    "shape bool": (setting("bn.bias", "shape", [True]), "does not parse"),
    "side below zero": (setting("bn.bias", "shape", [-2, -1]), "does not parse.*>= 0"),
    "bytes below zero": (setting("bn.bias", "bytes", [8, -4]), "does not parse.*>= 0"),
    "bytes of one": (setting("bn.bias", "bytes", [8]), "does not parse"),
    "bytes too many": (setting("bn.bias", "bytes", [0, 1 << 40]), "truncated.*accounts for"),
    "bytes too few": (setting("bn.bias", "bytes", [0, 1]), "damaged.*accounts for"),
    "made nested": (lambda h: h.update(made={"a": [1]}), "does not parse"),
    "exponent": (setting("mix.weight", "scale_exponent", 128), "does not parse.*127"),
    "value exponent": (setting("mix.bias", "value_exponent", -150), "does not parse.*-149"),
    "nine dimensions": (setting("bn.bias", "shape", [1] * 8 + [2]), "9 dimensions of tensor 'bn.bias'; the limit is 8"),
    "huge": (setting("spare.dense", "shape", [1 << 20, 1 << 20]), r"1,099,511,\d+,\d+ numbers; the limit is 268,435,456"),
    "huge side": (setting("spare.dense", "shape", [1 << 60]), r"1,152,921,\d+,\d+,\d+,\d+ numbers; the limit"),
    "huge and empty": (setting("spare.empty", "shape", [0, 1 << 60]), "impossible shape"),
    "larger and empty": (setting("spare.empty", "shape", [0, 1 << 27, 1 << 27]), "impossible shape"),
    "huge empty zeros": (lambda h: h["zeros"][0].update(shape=[0, 1 << 28, 1 << 28]), "impossible shape"),
    "huge zeros": (lambda h: h["zeros"][0].update(shape=[1 << 14, 1 << 15]), "numbers; the limit"),
    "duplicate": (twice, "'conv.weight' 2 times"),
    "duplicate zero": (lambda h: h["zeros"].append({"name": "order", "shape": []}), "'order' 2 times"),
    "duplicate norm": (lambda h: h["norms"].append(h["norms"][0]), "2 times"),
    "duplicate alias": (lambda h: h["aliases"].update(order="mix.bias"), "'order' 2 times"),
    "a derived name": (lambda h: h["zeros"].append({"name": "bn.running_mean", "shape": [2]}), "2 times"),
    "no name": (setting("spare.dense", "name", ""), "without a name"),
    "no name for a zero": (lambda h: h["zeros"].append({"name": "", "shape": []}), "without a name"),
    "zero of another type": (lambda h: h["zeros"][0].update(dtype="complex64"), "'complex64'; expected float32 or int64"),
    "alias to nothing": (lambda h: h["aliases"].update(a="nothing"), "tied to 'nothing', which it does not hold"),
    "alias to itself": (lambda h: h["aliases"].update(a="a"), "tied to 'a'"),
    "alias to an alias": (lambda h: h["aliases"].update(a="again.weight"), "tied to 'again.weight'"),
    "norm without bias": (setting("bn.bias", "name", "other"), "lacks the bias of the batch normalization 'bn'"),
    "norm without weight": (setting("norm.weight", "name", "other"), "lacks the weight of the batch normalization 'norm'"),
    "input without sides": (lambda h: h["input"].update(shape=[0, 6, 6]), "wants input of shape"),
    "huge input": (lambda h: h["input"].update(shape=[1, 1 << 30, 1 << 30]), "wants input of shape"),
    "input of other channels": (lambda h: h["input"].update(mean=[0.5, 0.5]), "one mean and one std above 0 a channel"),
    "input over zero": (lambda h: h["input"].update(std=[0.0]), "one mean and one std above 0 a channel"),
    "unknown codec": (setting("spare.dense", "codec", "zip"), "unknown codec 'zip'.*newer sepnet"),
    "unknown option": (setting("spare.relative_index", "codec", "relative_index:99"), "'99'.*newer sepnet"),
    "option of none": (setting("spare.dense", "codec", "dense:3"), "option '3'.*newer sepnet"),
    "unknown values": (setting("spare.dense", "values", "complex"), "unknown values kind 'complex'"),
    "unknown scale": (setting("mix.weight", "scale", "row"), "unknown scale 'row'"),
    "scale a filter of nothing": (setting("mix.weight", "shape", []), "bytes|scale|found|expected"),
    "more scales": (setting("mix.weight", "scale", "filter"), "expected 10 for 5 scales"),
    "fewer scales": (setting("mix.weight", "scale", "none"), "2 bytes of side information, expected 0"),
    "codebook for integers": (setting("mix.weight", "codebook", 1), "1 shared values for values 'integer'"),
    "no codebook": (setting("spare.dense", "values", "codebook"), "codes from -8 to 12; values 'codebook' allow"),
    "integers as signs": (setting("spare.dense", "values", "sign"), "codes from -8 to 12; values 'sign' allow 0 to 1"),
    "integers as halves": (setting("spare.dense", "values", "float16"), "allow 0 to 65535"),
    "integers as floats": (setting("spare.dense", "values", "float32"), "allow 0 to 4294967295"),
    "another shape": (setting("spare.dense", "shape", [4, 7]), "tensor 'spare.dense': "),
    "empty with bytes": (setting("spare.dense", "shape", [0, 7]), "unused bytes"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), HEADERS.values(), ids=HEADERS)
def test_headers_that_lie(change: hostile.Change, words: str) -> None:
    with pytest.raises(FormatError, match=words):
        use(with_header(change))


def test_codes_out_of_the_codebook() -> None:
    header, graph, payloads = hostile.parts()
    entry = hostile.tensor(header, "fc.weight")
    at = header["tensors"].index(entry)
    entry["codebook"], entry["bytes"][0] = 3, entry["bytes"][0] - 2
    payloads[at] = payloads[at][:8] + payloads[at][10:]
    with pytest.raises(FormatError, match=r"'fc.weight': codes from 0 to 3; values 'codebook' allow 0 to 2"):
        use(hostile.assemble(json.dumps(header).encode(), graph, hostile.chunks_of(payloads)))


@pytest.mark.parametrize("half", ["007c", "00fc", "007e", "01fc"], ids=["inf", "-inf", "nan", "-nan"])
@pytest.mark.parametrize("name", ["mix.weight", "fc.weight", "deep.weight"])
def test_scales_that_are_no_numbers(name: str, half: str) -> None:
    header, _, payloads = hostile.parts()
    at = header["tensors"].index(hostile.tensor(header, name))
    with pytest.raises(FormatError, match=f"{name}.*not finite"):
        use(hostile.with_payload(name, bytes.fromhex(half) + payloads[at][2:]))


def test_random_payloads_with_good_checksums() -> None:
    random = np.random.default_rng(0)
    header, _, payloads = hostile.parts()
    for at, entry in enumerate(header["tensors"]):
        for _ in range(8):
            payload = bytearray(payloads[at])
            if payload:
                payload[int(random.integers(len(payload)))] = int(random.integers(256))
            try:
                model = PackedModel.from_bytes(hostile.with_payload(entry["name"], bytes(payload)))
                info(model)
                state_dict(model)
            except FormatError as error:
                assert entry["name"] in str(error)


@pytest.mark.parametrize(
    "change",
    [HEADERS[name][0] for name in ("huge", "huge side", "huge and empty", "huge zeros")],
)
def test_huge_shapes_take_no_memory(change: hostile.Change) -> None:
    data = with_header(change)
    tracemalloc.start()
    try:
        with pytest.raises(FormatError):
            PackedModel.from_bytes(data)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_chunk_of_a_few_bytes_within_the_limit_is_read() -> None:
    def change(header: dict[str, Any]) -> None:
        hostile.tensor(header, "spare.empty").update(shape=[1000, 1000])

    with pytest.raises(FormatError, match=r"spare\.empty"):
        use(with_header(change))


def test_aliases_count_as_numbers() -> None:
    data = with_header(lambda header: header["aliases"].update({f"a{n}": "fc.weight" for n in range(100)}))
    PackedModel.from_bytes(data)
    with pytest.raises(FormatError, match=r"18,\d\d\d numbers; the limit is 10,000 \(raise it"):
        PackedModel.from_bytes(data, Limits(elements=10_000))


def test_deflate_bombs() -> None:
    header, graph, payloads = hostile.parts()
    text, chunks = json.dumps(header).encode(), hostile.chunks_of(payloads)
    blank = b" " * (16 << 20)
    bombs = [
        hostile.assemble(text + blank, graph, chunks),
        hostile.assemble(text + blank, graph, chunks, raw_sizes=(len(text), len(graph))),
        hostile.assemble(text, graph + blank, chunks, raw_sizes=(len(text), len(graph))),
        hostile.assemble(text, graph, chunks, raw_sizes=(1 << 32 - 1, len(graph))),
        hostile.assemble(text, graph, chunks, raw_sizes=(len(text), (1 << 32) - 1)),
        hostile.assemble(text, graph, chunks, raw_sizes=(len(text) - 1, len(graph))),
        hostile.assemble(text, graph, chunks, raw_sizes=(len(text), len(graph) + 1)),
        hostile.assemble(text, graph, chunks, raw_sizes=(0, 0)),
    ]
    for bomb in bombs:
        tracemalloc.start()
        try:
            with pytest.raises(FormatError, match=r"the limit is|inflate to|parse"):
                PackedModel.from_bytes(bomb)
            assert tracemalloc.get_traced_memory()[1] < 4_000_000
        finally:
            tracemalloc.stop()


def test_header_or_graph_that_do_not_inflate() -> None:
    good = bytearray(hostile.assemble(b"{}", b"", b""))
    good[32:34] = b"\xff\xff"
    good[28:32] = zlib.crc32(good[32:], zlib.crc32(good[:28])).to_bytes(4, "little")
    with pytest.raises(FormatError, match="do not inflate"):
        PackedModel.from_bytes(bytes(good))


def external_places() -> dict[str, bytes]:
    """Graphs that refer to a file of the system, in every place where a tensor can be."""
    outside = external_tensor()
    sparse = helper.make_sparse_tensor(outside, external_tensor(), [4])
    node = constant(outside)
    return {
        "initializer": graph_with(lambda p: p.graph.initializer.append(outside)),
        "location alone": graph_with(lambda p: p.graph.initializer.append(external_tensor(entries=False))),
        "entries alone": graph_with(lambda p: p.graph.initializer.append(external_tensor(location=False))),
        "sparse initializer": graph_with(lambda p: p.graph.sparse_initializer.append(sparse)),
        "constant": graph_with(lambda p: add_node(p, node)),
        "sparse constant": graph_with(
            lambda p: add_node(p, helper.make_node("Constant", [], ["outside"], sparse_value=sparse))
        ),
        "tensors": graph_with(lambda p: add_node(p, helper.make_node("Constant", [], ["outside"], values=[outside]))),
        "arm": graph_with(lambda p: add_node(p, hostile.branch(node))),
        "function": graph_with(lambda p: p.functions.append(hostile.function_with(node))),
        "training": graph_with(lambda p: p.training_info.add().algorithm.initializer.append(outside)),
        "second piece": hostile.golden_graph() + graph_with(lambda p: (p.Clear(), p.graph.initializer.append(outside))),  # type: ignore[func-returns-value]
    }


@pytest.mark.parametrize("place", external_places())
def test_data_outside_the_file_is_refused(place: str) -> None:
    model = PackedModel.from_bytes(with_graph(external_places()[place]))
    with pytest.raises(FormatError, match="data in another file, which is refused"):
        onnx_model(model)
    with pytest.raises(FormatError, match="data in another file, which is refused"):
        OnnxRuntime(model)


def deep_graph(depth: int) -> bytes:
    """An If within an If within ..."""
    node = helper.make_node("Relu", ["input"], ["outside"])
    for _ in range(depth):
        node = hostile.branch(node)
    return graph_with(lambda p: add_node(p, node))


def rename_weight(proto: Any) -> None:
    proto.graph.node[0].input[1] = "conv.missing"


def no_input(proto: Any) -> None:
    del proto.graph.node[:], proto.graph.input[:]
    proto.graph.node.append(
        helper.make_node(
            "Constant", [], ["output"], value=helper.make_tensor("c", TensorProto.FLOAT, [1, 5], [0.0] * 5)
        )
    )


def text_output(proto: Any) -> None:
    del proto.graph.node[:], proto.graph.output[:]
    value = helper.make_tensor("c", TensorProto.STRING, [1, 5], [b"a"] * 5)
    proto.graph.node.append(helper.make_node("Constant", [], ["output"], value=value))
    proto.graph.output.append(helper.make_tensor_value_info("output", TensorProto.STRING, [1, 5]))


def huge_output(proto: Any) -> None:
    del proto.graph.node[:]
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [1 << 40, 1 << 20])
    proto.graph.node.append(helper.make_node("Constant", [], ["shape"], value=shape))
    proto.graph.node.append(helper.make_node("ConstantOfShape", ["shape"], ["output"]))


GRAPHS = {
    "nothing": b"",
    "garbage": bytes(range(256)) * 4,
    "text": b"not a graph at all",
    "zeros": bytes(100),
    "cut": hostile.golden_graph()[:-7],
    "twice": hostile.golden_graph() * 2,
    "weight missing": graph_with(rename_weight),
    "nested": deep_graph(9),
    "unknown operator": graph_with(lambda p: add_node(p, helper.make_node("Nonsense", ["input"], ["x"]))),
    "unknown domain": graph_with(lambda p: add_node(p, helper.make_node("Relu", ["input"], ["x"], domain="own"))),
    "newer opset": graph_with(lambda p: setattr(p.opset_import[0], "version", 9999)),
    "newer version": graph_with(lambda p: setattr(p, "ir_version", 9999)),
    "cycle": graph_with(lambda p: p.graph.node[0].input.__setitem__(0, "v7")),
    "no output": graph_with(lambda p: p.graph.ClearField("output")),
    "no input": graph_with(no_input),
    "text output": graph_with(text_output),
    "huge output": graph_with(huge_output),
    "other types": graph_with(lambda p: p.graph.node[0].input.__setitem__(1, "order")),
}


@pytest.mark.parametrize("graph", GRAPHS.values(), ids=GRAPHS)
def test_graphs_that_do_not_run(graph: bytes, capfd: pytest.CaptureFixture[str]) -> None:
    model = PackedModel.from_bytes(with_graph(graph))
    state_dict(model)
    with pytest.raises(FormatError) as error:
        OnnxRuntime(model).run(INPUT)
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")
