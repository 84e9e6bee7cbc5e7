"""What cannot be read cannot be written, and limits that are raised on purpose."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import hostile
import msgspec
import pytest
from golden_model import golden_model
from test_hostile_files import HEADERS

from sepnet.core.container import CONTAINERS
from sepnet.core.errors import FormatError, UnknownNameError, UsageError
from sepnet.core.header import Header, ZeroEntry
from sepnet.core.limits import UNLIMITED, Limits, limits_of
from sepnet.core.packed_model import PackedModel
from sepnet.packing.restore import read_back

GOOD = golden_model(preset=True)
LIMIT = Limits().elements


def with_header(**changes: Any) -> PackedModel:
    """The golden model with other parts of a header, as a program may make them."""
    return PackedModel.of(msgspec.structs.replace(GOOD.header, **changes), GOOD.graph, GOOD.payloads)


def refused(model: PackedModel, folder: Path, words: str, limits: Limits = Limits()) -> None:
    """It can be had neither as bytes nor as a file, in no container; what was there stays."""
    path = folder / "net.sepnet"
    path.write_bytes(b"old")
    with pytest.raises(FormatError, match=words):
        model.to_bytes(limits=limits)
    for container in CONTAINERS:
        with pytest.raises(FormatError, match=words):
            model.write(path, container, limits=limits)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old" and list(folder.iterdir()) == [path]


@pytest.mark.parametrize(("change", "words"), HEADERS.values(), ids=HEADERS)
def test_headers_that_are_not_read_are_not_written(change: hostile.Change, words: str, tmp_path: Path) -> None:
    header, graph, payloads = hostile.parts()
    change(header)
    try:
        model = PackedModel.of(msgspec.json.decode(json.dumps(header), type=Header), graph, payloads)
    except msgspec.ValidationError:
        return
    try:
        PackedModel.from_bytes(hostile.with_header(change))
    except FormatError:
        refused(model, tmp_path, words)
    else:
        with pytest.raises(FormatError, match=words):
            read_back(model)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"params": -1}, "cannot be read: .*does not parse.*>= 0"),
        ({"params": 1 << 62}, "does not parse"),
        ({"made": {"loss": float("nan")}}, "does not parse"),
        ({"made": {"target_bytes": 1 << 70}}, "does not parse"),
        ({"norms": tuple(msgspec.structs.replace(norm, eps=float("inf")) for norm in GOOD.header.norms)}, "not parse"),
        ({"zeros": (ZeroEntry("z", (-1, 3)),)}, "does not parse.*>= 0"),
        ({"zeros": (ZeroEntry("z", (LIMIT,)),)}, "cannot be read: found .* numbers; the limit is 268,435,456"),
        ({"tensors": GOOD.header.tensors[:-1]}, "its header accounts for"),
    ],
)
def test_headers_that_programs_can_make(changes: dict[str, Any], words: str, tmp_path: Path) -> None:
    refused(with_header(**changes), tmp_path, words)


def test_graphs_and_headers_above_the_limits(tmp_path: Path) -> None:
    refused(GOOD, tmp_path, r"found [\d,]+ bytes of graph; the limit is 10 \(raise it", Limits(graph_bytes=10))
    refused(GOOD, tmp_path, r"found [\d,]+ bytes of header; the limit is 10 \(raise it", Limits(header_bytes=10))


def test_text_that_is_none() -> None:
    with pytest.raises(FormatError, match=r"'caf\\udce9' is no Unicode text"):
        with_header(network="caf\udce9")


def test_a_limit_that_is_raised_on_purpose(tmp_path: Path) -> None:
    model, path = with_header(zeros=(ZeroEntry("z", (1 << 14, 1 << 15)),)), tmp_path / "large.sepnet"
    model.write(path, limits=Limits(elements=1 << 30))
    again = PackedModel.read(path, Limits(elements=1 << 30))
    assert again == model == PackedModel.read(path, UNLIMITED)
    with pytest.raises(
        FormatError, match=r"large.sepnet: found .*raise it with --limit elements=N, in Python with Limits\(ele"
    ):
        PackedModel.read(path)
    with pytest.raises(FormatError, match="--limit file_bytes=N"):
        PackedModel.read_from(io.BytesIO(path.read_bytes()), Limits(elements=1 << 30, file_bytes=100))


def test_limits_as_text() -> None:
    assert limits_of(None) == limits_of([]) == Limits()
    assert limits_of(["elements=5", "dimensions=9"]) == Limits(elements=5, dimensions=9)
    with pytest.raises(UnknownNameError, match="unknown limit 'element'; did you mean 'elements'"):
        limits_of(["element=5"])
    for text in ("elements", "elements=", "elements=many", "elements=1e9"):
        with pytest.raises(UsageError, match="expected elements=N, a whole number"):
            limits_of([text])
    for text in ("elements=0", "tensors=-1", "dimensions=33", "graph_bytes=4294967296"):
        with pytest.raises(UsageError, match=r"expected 1 to "):
            limits_of([text])
