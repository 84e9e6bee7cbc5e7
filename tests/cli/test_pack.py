"""The command pack: what it prints and writes, and what it refuses in one line."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import sepnet
from sepnet.core.errors import RuinedError, UsageError
from sepnet.core.packed_model import PackedModel
from sepnet.datasets import load
from sepnet.packing.pack import encode_tensor
from sepnet.packing.restore import coded_tensors, onnx_model

onnx = pytest.importorskip("onnx")
DATA = "digits?holdout=1100"


def test_pack_a_network(run: Any, network: Path, tmp_path: Path) -> None:
    output = tmp_path / "net.sepnet"
    ran = run("pack", network, "-o", output, "--json")
    assert ran.code == 0, ran.err
    assert ran.json["bytes"] == output.stat().st_size < ran.json["bytes_before"] == network.stat().st_size
    assert {row["name"] for row in ran.json["tensors"]} == {"a.weight", "a.bias", "b.weight", "b.bias"}
    assert 0 < ran.json["difference"] < 0.05 * ran.json["largest"] and ran.json["checked"] == 8
    alone = {row["name"]: row["alone"] for row in ran.json["tensors"]}
    assert alone["a.weight"]["y"] > 20 and alone["a.bias"] == {}
    assert "rounded alone" in run("pack", network, "-o", output).out
    assert "rounded alone" not in run("pack", network, "-o", output, "--no-effects").out
    table = run("pack", network, "-o", output, "--bits", 4)
    assert table.code == 0 and "max |difference|" in table.out and "6x1x5x5" in table.out
    assert run("evaluate", output, "--data", DATA).code == 0
    assert "does not say how" in run("run", output, "demo/none.png").error


def test_verbose_lists_the_passes_and_what_each_changed(run: Any, network: Path, tmp_path: Path) -> None:
    from sepnet.packing.onnx_source import PASSES

    ran = run("pack", network, "-o", tmp_path / "net.sepnet", "--verbose")
    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    start = lines.index("passes") + 2
    listed = lines[start : start + len(PASSES)]
    assert all(line.startswith(name) for line, (name, _) in zip(listed, PASSES, strict=True))
    assert listed[0].rstrip().endswith("nothing") and "weights of layers: 2, other tensors: 2" in ran.out
    assert "simplify" not in run("pack", network, "-o", tmp_path / "net.sepnet").out
    rows = run("pack", network, "-o", tmp_path / "net.sepnet", "--json").json["passes"]
    assert [row["name"] for row in rows] == [name for name, _ in PASSES]


def test_pack_weights_and_what_they_are_refused(run: Any, tmp_path: Path) -> None:
    given, output, again = (tmp_path / name for name in ("w.safetensors", "w.sepnet", "again.safetensors"))
    codes = np.arange(256, dtype=np.uint8).reshape(16, 16)
    save_file({"codes": codes, "scale": np.float32([0.1])}, given)
    ran = run("pack", given, "-o", output)
    assert ran.code == 0 and "exact" in ran.out and "uint8" in ran.out
    assert run("unpack", output, "-o", again).code == 0
    assert load_file(again)["codes"].dtype == np.uint8 and np.array_equal(load_file(again)["codes"], codes)
    assert run("info", output).code == 0
    for command in (("run", output, "image.png"), ("evaluate", output, "--data", DATA)):
        assert "weights alone, no graph" in run(*command).error
    assert "no graph that could be calibrated" in run("pack", given, "-o", output, "--calibrate", DATA).error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--bits", "9"), "--bits '9': expected 2 to 8, or auto"),
        (("--bits", "a=9"), "--bits 'a=9': expected 2 to 8, or auto, or LAYER=BITS"),
        (("--bits", "8", "--bits", "4"), "--bits: found 8 and 4; expected one"),
        (("--bits", "a=3", "--bits", "a=4"), "--bits a: found 3 and 4"),
        (("--keep", "c"), "no layer is called 'c'; the nearest of 4: "),
        (("--bits", "c=4"), "no layer is called 'c'; the nearest of 2: a.weight, b.weight"),
        (("--bits", "four"), "--bits 'four': expected 2 to 8, or auto"),
        (("--bits", "auto"), "bits auto needs examples to measure on; expected --calibrate DATA"),
        (("--target-bytes", "100"), "goes with bits auto"),
        (("--bits", "auto", "--calibrate", DATA, "--max-divergence", "0"), "above 0"),
        (
            ("--bits", "auto", "--calibrate", DATA, "--max-divergence", "1", "--target-bytes", "9"),
            "expected one of them",
        ),
        (("--calibrate", "nothing"), "unknown data set 'nothing'"),
    ],
)
def test_what_is_asked_wrongly(run: Any, network: Path, tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    ran = run("pack", network, "-o", tmp_path / "net.sepnet", *options)
    assert ran.code == 2 and message in ran.error
    assert not list(tmp_path.iterdir())


def test_files_that_cannot_be_packed(run: Any, network: Path, tmp_path: Path) -> None:
    other = tmp_path / "net.pt"
    other.write_bytes(b"PK")
    assert (
        "expected a network (.onnx), weights (.safetensors) or a packed file (.sepnet)"
        in run("pack", other, "-o", tmp_path / "a").error
    )
    assert "not an ONNX file" in run("pack", _copy(other, "x.onnx"), "-o", tmp_path / "a").error
    assert "not a safetensors file" in run("pack", _copy(other, "x.safetensors"), "-o", tmp_path / "a").error
    assert "cannot read" in run("pack", tmp_path / "none.safetensors", "-o", tmp_path / "a").error
    assert "different files" in run("pack", network, "-o", network).error
    assert not (tmp_path / "a").exists()


def _copy(path: Path, name: str) -> Path:
    (path.parent / name).write_bytes(path.read_bytes())
    return path.parent / name


def test_by_calibration(run: Any, network: Path, tmp_path: Path) -> None:
    output = tmp_path / "net.sepnet"
    by, bad = ("--calibrate", DATA, "--images", 100), ("--allow-bad",)  # of a network that nobody trained
    sizes = []
    for divergence in (0.001, 0.05):
        ran = run("pack", network, "-o", output, "--bits", "auto", *by, "--max-divergence", divergence, *bad, "--json")
        assert ran.code == 0, ran.err
        assert ran.json["agreement"]["divergence"] <= divergence and ran.json["agreement"]["images"] == 100
        sizes.append(ran.json["bytes"])
    assert sizes[0] > sizes[1] == output.stat().st_size
    target = (sizes[0] + sizes[1]) // 2
    ran = run("pack", network, "-o", output, "--bits", "auto", *by, "--target-bytes", target, *bad, "--json")
    assert ran.code == 0 and ran.json["bytes"] <= target
    assert PackedModel.read(output).header.made["calibrate"] == DATA
    few = run("pack", network, "-o", output, "--bits", "auto", *by, "--target-bytes", 300)
    assert few.code == 1 and "found no codes that fit 300 bytes" in few.error
    four = run("pack", network, "-o", output, "--bits", 4, *by, *bad, "--json")
    blind = run("pack", network, "-o", output, "--bits", 4, "--json")
    assert four.code == 0 and four.json["agreement"]["images"] == 100 and blind.json["agreement"] is None


def test_bits_of_single_layers(run: Any, network: Path, tmp_path: Path) -> None:
    output = tmp_path / "net.sepnet"
    asked = ("--bits", "6", "--bits", "a=4", "--keep", "b", "--keep", "a.bias")
    assert run("pack", network, "-o", output, *asked).code == 0
    found = {tensor.name: tensor.bits for tensor in coded_tensors(PackedModel.read(output))}
    assert found == {"a.weight": 4, "a.bias": 16, "b.weight": 16, "b.bias": 8}
    refused = run("pack", output, "-o", tmp_path / "again.sepnet", "--keep", "b")
    assert refused.code == 2 and "expected them with a network (.onnx)" in refused.error


def test_a_classifier_whose_answers_change_is_refused(run: Any, network: Path, tmp_path: Path) -> None:
    output = tmp_path / "net.sepnet"
    line = ("pack", network, "-o", output, "--bits", 2, "--calibrate", DATA, "--images", 100)
    ran = run(*line)
    assert ran.code == 1 and not output.exists()
    assert (
        "of the answers of 100 training images changed; expected 5% or fewer; try --bits 8, --keep LAYER" in ran.error
    )
    assert run(*line, "--allow-bad").code == 0 and output.exists()


def test_a_ruined_output_is_refused(run: Any, network: Path, tmp_path: Path) -> None:
    output = tmp_path / "net.sepnet"
    ran = run("pack", network, "-o", output, "--bits", 2)
    assert ran.code == 1 and not output.exists()
    assert "output y is ruined: " in ran.error and "--keep a.weight, or --allow-bad" in ran.error
    assert "--bits 8, --calibrate DATA" in ran.error
    assert run("pack", network, "-o", output, "--bits", 2, "--allow-bad").code == 0
    with pytest.raises(RuinedError):
        sepnet.pack(network, 2)
    assert sepnet.pack(network, 2, allow_bad=True).bytes == output.stat().st_size


def test_an_interrupted_run_leaves_nothing(
    run: Any, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("sepnet.quantizing.calibrated.choose_codes", interrupt)
    ran = run("pack", network, "-o", tmp_path / "net.sepnet", "--bits", 4, "--calibrate", DATA, "--images", 20)
    assert ran.code == 130 and "interrupted" in ran.err and not list(tmp_path.iterdir())


def test_the_same_in_python(network: Path, tmp_path: Path) -> None:
    packed = sepnet.pack(network, 4, DATA, images=20)
    assert packed.run(np.zeros((2, 1, 28, 28), np.float32)).shape == (2, 10)
    save_file({"n": np.arange(9, dtype=np.uint8)}, tmp_path / "n.safetensors")
    state = sepnet.pack(tmp_path / "n.safetensors").state_dict()
    assert state["n"].dtype == np.uint8
    with pytest.raises(UsageError, match="bits 9: expected 2 to 8"):
        sepnet.pack(network, 9)


def test_the_example_of_the_help_runs(run: Any, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    example = re.search(r"Example: sepnet (.*)", " ".join(run("pack", "--help").out.split()))
    assert example is not None
    (tmp_path / "model.onnx").write_bytes(network.read_bytes())
    monkeypatch.chdir(tmp_path)
    assert run(*shlex.split(example[1].replace("cifar10", DATA)), "--images", 50).code == 0
    assert (tmp_path / "model.sepnet").exists()


def test_a_packed_file_is_packed_again(run: Any, network: Path, tmp_path: Path) -> None:
    first, again = tmp_path / "first.sepnet", tmp_path / "again.sepnet"
    assert run("pack", network, "-o", first, "--bits", 5).code == 0
    old = PackedModel.read(first)
    plain = [encode_tensor(tensor, ("dense",)) for tensor in coded_tensors(old)]
    header = msgspec.structs.replace(old.header, tensors=tuple(entry for entry, _ in plain))
    PackedModel.of(header, old.graph, [payload for _, payload in plain], preset=False).write(first)
    for option in ((), ("--best",)):
        ran = run("pack", first, "-o", again, *option, "--json")
        assert ran.code == 0 and ran.json["bytes"] == again.stat().st_size < ran.json["bytes_before"]
        assert onnx_model(PackedModel.read(again)) == onnx_model(old)
        assert all(row["error"] is None for row in ran.json["tensors"])
    assert "packed already" in run("pack", first, "-o", again, "--bits", 4).error
    assert "packed already" in run("pack", first, "-o", again, "--calibrate", DATA).error
    assert "different files" in run("pack", first, "-o", first).error
    assert "not a packed file" in run("pack", _copy(network, "x.sepnet"), "-o", again).error


def test_in_a_container(run: Any, network: Path, tmp_path: Path) -> None:
    plain, wrapped, again = (tmp_path / name for name in ("net.sepnet", "net.safetensors", "again.safetensors"))
    assert run("pack", network, "-o", plain).code == 0
    ran = run("pack", network, "-o", wrapped, "--container", "safetensors", "--json")
    assert ran.code == 0 and ran.json["bytes"] == wrapped.stat().st_size, ran.err
    assert load_file(wrapped)["sepnet"].tobytes() == plain.read_bytes()
    for command in (("evaluate", "--data", DATA), ("info",), ("info", "--verify"), ("info", "--salvage")):
        found = [run(command[0], path, *command[1:], "--json") for path in (plain, wrapped)]
        assert found[0].code == found[1].code == 0 and found[0].json == found[1].json, found[1].err
    assert run("unpack", wrapped, "-o", again).code == 0 and "a.weight" in load_file(again)
    refused = run("info", again)
    assert refused.code == 1 and "expected one, 'sepnet'" in refused.error
    wrong = run("pack", network, "-o", tmp_path / "x", "--container", "zip")
    assert wrong.code == 2 and "container 'zip': expected one of none, safetensors" in wrong.error
    assert not (tmp_path / "x").exists()


def test_weights_in_a_second_file(run: Any, network: Path, tmp_path: Path) -> None:
    path, beside, output = tmp_path / "two.onnx", tmp_path / "two.onnx.data", tmp_path / "two.sepnet"
    options = {"save_as_external_data": True, "location": beside.name, "size_threshold": 0}
    onnx.save(onnx.load(network), path, **options)
    before = beside.read_bytes()
    refused = run("pack", path, "-o", beside)
    assert refused.code == 2 and "two.onnx.data beside FILE and -o are both" in refused.error
    assert beside.read_bytes() == before
    ran = run("pack", path, "-o", output, "--json")
    assert ran.code == 0 and ran.json["bytes_before"] == path.stat().st_size + len(before)
    beside.unlink()
    assert "keeps its weights in two.onnx.data, which is missing" in run("pack", path, "-o", output).error


def test_a_container_is_a_packed_file_whatever_its_name(run: Any, network: Path, tmp_path: Path) -> None:
    plain, wrapped, again = (tmp_path / name for name in ("net.sepnet", "net.safetensors", "again.sepnet"))
    assert run("pack", network, "-o", plain).code == 0
    assert run("pack", plain, "-o", wrapped, "--container", "safetensors").code == 0
    ran = run("pack", wrapped, "-o", again)
    assert ran.code == 0 and again.read_bytes() == plain.read_bytes()
    assert f"smaller than {wrapped.stat().st_size:,}" in ran.out
    assert "packed already" in run("pack", wrapped, "-o", again, "--bits", 4).error


@pytest.mark.parametrize("kind", ["network", "calibrated", "weights", "packed"])
def test_best_tries_codecs_that_read_slowly(run: Any, network: Path, tmp_path: Path, kind: str) -> None:
    paths = {"weights": tmp_path / "w.safetensors", "packed": Path("zoo/lenet5-mnist.sepnet")}
    random = np.random.default_rng(0)
    save_file({"w": (3 * random.standard_normal((32, 32))).astype(np.int8)}, paths["weights"])
    by = ("--calibrate", DATA, "--images", 20) if kind == "calibrated" else ()
    for options in ((), ("--best",)):
        assert run("pack", paths.get(kind, network), "-o", tmp_path / "m", *by, *options).code == 0
        codecs = {entry.codec for entry in PackedModel.read(tmp_path / "m").header.tensors}
        assert ("mx1" in codecs) == bool(options), codecs


def test_a_seed_decides_which_images(network: Path) -> None:
    data = load(DATA)
    packed = [sepnet.pack(network, 4, data, images=20, seed=seed, allow_bad=True) for seed in (1, 1, 2)]
    assert packed[0].to_bytes() == packed[1].to_bytes()
    assert packed[0].payloads != packed[2].payloads, "the header holds the seed, so look at the weights"


def test_coding_anew_makes_no_file_larger(run: Any, network: Path, tmp_path: Path) -> None:
    best, again = tmp_path / "best.sepnet", tmp_path / "again.sepnet"
    assert run("pack", network, "-o", best, "--bits", 4, "--best").code == 0
    ran = run("pack", best, "-o", again)
    assert ran.code == 0 and again.stat().st_size == best.stat().st_size and "bytes, as before" in ran.out


def test_images_without_a_data_set(run: Any, network: Path, tmp_path: Path) -> None:
    ran = run("pack", network, "-o", tmp_path / "net.sepnet", "--images", 10)
    assert ran.code == 2 and "--images goes with --calibrate" in ran.error


def test_a_graph_fixed_to_batches_of_four(run: Any, tmp_path: Path) -> None:
    """Also inside, so that no runtime could run another number at once."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    normal = np.random.default_rng(0).standard_normal
    arrays = {"w1": normal((8, 1, 3, 3), np.float32), "w2": normal((8, 10), np.float32), "shape": np.int64([4, 8])}
    nodes = [
        helper.make_node("Conv", ["x", "w1"], ["a"], strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Reshape", ["b", "shape"], ["c"]),
        helper.make_node("MatMul", ["c", "w2"], ["y"]),
    ]
    ends = [helper.make_tensor_value_info(*end) for end in (("x", kind, [4, 1, 28, 28]), ("y", kind, [4, 10]))]
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], tensors)
    path, file = tmp_path / "n.onnx", tmp_path / "n.sepnet"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    packed = run("pack", path, "-o", file)
    assert packed.code == 0 and "fixed to batches of 4; every command takes any number" in packed.out
    assert run("pack", path, "-o", file, "--json").json["fixed_batch"] == 4
    for verb in (
        ("evaluate", file, "--data", "digits"),
        ("bench", file, "--seconds", "0.01"),
        ("export", file, "--to", "onnx", "-o", tmp_path / "out.onnx", "--data", "digits"),
    ):
        ran = run(*verb)
        assert ran.code == 0, ran.err
    assert "outputs of 4 examples (digits)" in ran.out
