"""No command writes a packed file that cannot be read, and every command that reads one takes a raised limit."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import sepnet
from sepnet.core.errors import FormatError, WeightsError
from sepnet.core.header import Header, ZeroEntry
from sepnet.core.limits import Limits
from sepnet.core.packed_model import PackedModel

onnx = pytest.importorskip("onnx")
DATA = "digits?holdout=1100"


def weights_file(path: Path, name: str, shape: tuple[int, ...], dtype: str = "U8") -> Path:
    """A safetensors file of one tensor, which the package of that name would not write."""
    count = int(np.prod(shape, dtype=object))
    header = json.dumps({name: {"dtype": dtype, "shape": shape, "data_offsets": [0, count]}}).encode()
    with open(path, "wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + count)
    return path


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("a", (1,) * 9, "found 9 dimensions of tensor 'a'; the limit is 8 (raise it with --limit dimensions=N"),
        ("a", (1,) * 70, "found 70 dimensions of tensor 'a'; the limit is 8"),
        ("", (3, 1), "tensor 1 of 1, of shape [3, 1], is without a name"),
        (
            "a",
            ((1 << 28) + 1,),
            "found 268,435,457 numbers; the limit is 268,435,456 (raise it with --limit elements=N",
        ),
        ("a", (0, 1 << 62, 1 << 62), "tensor 'a' is of the impossible shape"),
    ],
)
def test_weights_that_no_packed_file_can_hold(
    run: Any, tmp_path: Path, name: str, shape: tuple[int, ...], message: str
) -> None:
    given, output = weights_file(tmp_path / "w.safetensors", name, shape), tmp_path / "w.sepnet"
    output.write_bytes(b"old")
    ran = run("pack", given, "-o", output)
    assert ran.code == 1 and f"{given} cannot be packed: {message}" in ran.error
    assert output.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 2
    with pytest.raises(WeightsError, match="cannot be packed"):
        sepnet.pack(given)


def test_a_file_name_that_is_no_text(run: Any, tmp_path: Path) -> None:
    given = tmp_path / os.fsdecode(b"caf\xe9.safetensors")
    try:
        weights_file(given, "a", (3,))
    except OSError:
        pytest.skip("this file system takes Unicode names alone")
    ran = run("pack", given, "-o", tmp_path / "w.sepnet")
    assert ran.code == 1 and "is no Unicode text" in ran.error and not (tmp_path / "w.sepnet").exists()


def test_a_limit_raised_by_whoever_packs_and_reads(run: Any, tmp_path: Path) -> None:
    given, output = weights_file(tmp_path / "w.safetensors", "a", (1,) * 9), tmp_path / "w.sepnet"
    raised = ("--limit", "dimensions=9")
    ran = run("pack", given, "-o", output, *raised, "--json")
    assert ran.code == 0 and ran.json["bytes"] == output.stat().st_size
    assert ran.err.startswith(f"note: whoever reads this file has to raise a limit, too: {output}: found 9 dimensions")
    again = ("-o", tmp_path / "again")
    for command in (
        ("info", output),
        ("info", output, "--verify"),
        ("unpack", output, *again),
        ("pack", output, *again),
    ):
        refused = run(*command)
        assert refused.code == 1 and "(raise it with --limit dimensions=N, in Python with Limits(" in refused.error
        assert not (tmp_path / "again").exists()
        assert run(*command, *raised).code == 0
        (tmp_path / "again").unlink(missing_ok=True)
    assert run("info", "-", *raised, stdin=output.read_bytes()).code == 0
    assert run("pack", given, "-o", output, "--limit", "dimensions=9", "--limit", "elements=1").code == 0
    assert run("pack", weights_file(given, "b", (2,)), "-o", output, "--limit", "elements=2").err == ""
    packed = sepnet.pack(weights_file(given, "a", (1,) * 9), limits=sepnet.Limits(dimensions=9))
    with pytest.raises(FormatError, match="9 dimensions"):
        packed.write(output)
    packed.write(output, limits=sepnet.Limits(dimensions=9))
    assert sepnet.read(output, sepnet.Limits(dimensions=9)).state_dict()["a"].shape == (1,) * 9


def test_limits_that_are_asked_for_wrongly(run: Any, network: Path, tmp_path: Path) -> None:
    for text, message in (
        ("numbers=5", "unknown limit 'numbers'"),
        ("elements=many", "expected elements=N, a whole number"),
        ("dimensions=99", "limit dimensions=99: expected 1 to 32"),
    ):
        ran = run("pack", network, "-o", tmp_path / "x", "--limit", text)
        assert ran.code == 2 and message in ran.error
    refused = run("evaluate", "mixed_cnn", "--weights", network, "--data", DATA, "--limit", "elements=5")
    assert refused.code == 2 and "found --limit and the network mixed_cnn" in refused.error


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose state dict has entries of more numbers than the limit, which its outputs do not depend on."""
    model = PackedModel.read("zoo/lenet5-mnist.sepnet")
    zeros = (ZeroEntry("unused", (1 << 14, (1 << 14) + 1)),)
    path = tmp_path_factory.mktemp("large") / "large.sepnet"
    large = PackedModel.of(msgspec.structs.replace(model.header, zeros=zeros), model.graph, model.payloads)
    large.write(path, limits=Limits(elements=1 << 29))
    return path


@pytest.mark.parametrize(
    "command",
    [
        ("info", "FILE"),
        ("info", "FILE", "--verify"),
        ("info", "FILE", "--salvage"),
        ("evaluate", "FILE", "--data", DATA),
        ("run", "FILE", "IMAGE"),
        ("export", "FILE", "--to", "onnx", "-o", "OUTPUT"),
        ("bench", "FILE", "--seconds", "0.02", "--batch", "1", "--against", ""),
        ("pack", "FILE", "-o", "OUTPUT"),
    ],
    ids=" ".join,
)
def test_every_command_that_reads_a_file_takes_a_raised_limit(
    run: Any, large: Path, image: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    places = {"FILE": large, "IMAGE": image, "OUTPUT": tmp_path / "output"}
    command = tuple(str(places.get(word, word)) for word in command)
    refused = run(*command)
    assert refused.code == 1 and "--limit elements=N" in refused.error and not (tmp_path / "output").exists()
    ran = run(*command, "--limit", "elements=300_000_000")
    assert ran.code == 0, ran.err


def test_a_network_that_no_packed_file_can_hold(run: Any, network: Path, tmp_path: Path) -> None:
    few = run("pack", network, "-o", tmp_path / "x", "--limit", "elements=1000")
    assert few.code == 1 and f"{network} cannot be packed: found 1,110 numbers; the limit is 1,000" in few.error
    proto = onnx.load(network)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1,) * 8 + (10,) + (2,), np.float32), "ten"))
    proto.graph.node[-1].output[0] = "before"
    proto.graph.node.append(onnx.helper.make_node("Unsqueeze", ["before", "last"], ["column"]))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2]), "last"))
    proto.graph.node.append(onnx.helper.make_node("Add", ["column", "ten"], ["y"]))
    onnx.save(proto, tmp_path / "ten.onnx")
    ran = run("pack", tmp_path / "ten.onnx", "-o", tmp_path / "x")
    assert ran.code == 1 and "cannot be read: found 10 dimensions of tensor 'ten'; the limit is 8" in ran.error
    assert not (tmp_path / "x").exists()
    assert run("pack", tmp_path / "ten.onnx", "-o", tmp_path / "x", "--limit", "dimensions=10").code == 0


def test_a_graph_that_does_not_load_is_not_written(
    run: Any, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto = onnx.load(network)
    proto.graph.input[0].type.tensor_type.shape.dim[2].dim_param = "height"
    onnx.save(proto, tmp_path / "free.onnx")
    assert run("pack", tmp_path / "free.onnx", "-o", tmp_path / "free.sepnet").code == 0
    (tmp_path / "free.sepnet").unlink()
    monkeypatch.setattr("sepnet.steps.pack.onnx_model", lambda _: b"no network")
    ran = run("pack", tmp_path / "free.onnx", "-o", tmp_path / "free.sepnet")
    assert ran.code == 1 and "ONNX Runtime refuses" in ran.error and not (tmp_path / "free.sepnet").exists()


def test_a_graph_that_refers_to_other_files_is_not_coded_anew(run: Any, tmp_path: Path) -> None:
    outside = onnx.TensorProto(name="outside", data_location=onnx.TensorProto.EXTERNAL, dims=[4], data_type=1)
    graph = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], [outside])).SerializeToString()
    PackedModel.of(Header("n", 0, ()), graph, ()).write(tmp_path / "a.sepnet")
    ran = run("pack", tmp_path / "a.sepnet", "-o", tmp_path / "b.sepnet")
    assert ran.code == 1 and "data in another file" in ran.error and not (tmp_path / "b.sepnet").exists()


def test_a_network_too_large_is_not_trained(
    run: Any, compress: Any, weights: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("it was trained")

    monkeypatch.setattr("sepnet.training.fit.Fit.run", never)
    output, stages = tmp_path / "net.sepnet", tmp_path / "stages"
    ran = run(*compress(weights, recipe, output), "--stages", stages, "--limit", "elements=100")
    assert ran.code == 1 and "numbers; the limit is 100 (raise it with --limit elements=N" in ran.error
    assert not list(tmp_path.iterdir())


def test_compress_with_a_raised_limit(
    run: Any, compress: Any, weights: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []
    whole = PackedModel.write

    def write(model: PackedModel, path: Path, *arguments: Any, limits: Limits = Limits()) -> None:
        given.append((path.name, limits))
        whole(model, path, *arguments, limits=limits)

    monkeypatch.setattr(PackedModel, "write", write)
    output = tmp_path / "net.sepnet"
    raised = ("--limit", "elements=1_000_000_000")
    ran = run(*compress(weights, recipe, output), "--epochs", 0, "--stages", tmp_path / "stages", *raised)
    assert ran.code == 0 and "note:" not in ran.err and run("info", output).code == 0
    assert [name for name, _ in given] == ["net.first.sepnet", "net.second.sepnet", "net.sepnet"]
    assert {limits for _, limits in given} == {Limits(elements=10**9)}


def test_compress_decodes_what_it_writes_before_it_writes_it(
    run: Any, compress: Any, weights: Path, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sepnet.steps import compress as step

    whole = step.pack

    def broken(*arguments: Any, **options: Any) -> PackedModel:
        """Only the last file has a scale that is no number."""
        made = whole(*arguments, **options)
        if len(options["codecs"]) <= len(step.PLAIN_CODECS):
            return made
        at = next(at for at, entry in enumerate(made.header.tensors) if entry.bytes[0])
        payloads = [b"\0\x7e" + each[2:] if place == at else each for place, each in enumerate(made.payloads)]
        return PackedModel.of(made.header, made.graph, payloads)

    monkeypatch.setattr(step, "pack", broken)
    output = tmp_path / "net.sepnet"
    output.write_bytes(b"old")
    ran = run(*compress(weights, recipe, output), "--epochs", 0)
    assert ran.code == 1 and "a scale or shared value is not finite" in ran.err.splitlines()[-1]
    assert output.read_bytes() == b"old"
