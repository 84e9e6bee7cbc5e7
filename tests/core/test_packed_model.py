"""The packed file: parts to bytes and back, what it says of its own size, and what it is written with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from golden_model import golden_model
from hypothesis import given, settings
from hypothesis import strategies as st

from sepnet.core.coded_tensor import CodedTensor, Half
from sepnet.core.errors import FormatError
from sepnet.core.header import Header, state_names
from sepnet.core.limits import Limits
from sepnet.core.packed_model import PackedModel
from sepnet.packing.pack import encode_tensor
from sepnet.packing.restore import coded_tensors, state_dict

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
shapes = st.lists(st.integers(0, 5), max_size=4).map(tuple)


@st.composite
def models(draw: st.DrawFn) -> PackedModel:
    """Any few tensors, any texts, any graph bytes."""
    encoded = []
    for name in draw(st.lists(names, unique=True, max_size=4)):
        shape = draw(shapes)
        random = np.random.default_rng(draw(st.integers(0, 99)))
        codes = random.integers(-9, 9, size=shape)
        scale = Half.of(random.normal(size=shape[:1])) if shape and draw(st.booleans()) else None
        encoded.append(encode_tensor(CodedTensor(name, codes, "integer", ("x",), scale)))
    header = Header(
        network=draw(st.text(st.characters(codec="utf-8"), max_size=9)),
        params=draw(st.integers(0, 2**40)),
        tensors=tuple(entry for entry, _ in encoded),
        classes=tuple(draw(st.lists(names, max_size=3))),
    )
    return PackedModel.of(header, draw(st.binary(max_size=300)), [payload for _, payload in encoded])


@settings(max_examples=60, deadline=None)
@given(models())
def test_round_trip(model: PackedModel) -> None:
    data = model.to_bytes()
    again = PackedModel.from_bytes(data)
    assert again == model
    assert again.bytes == model.bytes == len(data)
    assert again.ratio == 4 * model.header.params / len(data)
    assert again.to_bytes() == data
    for old, new in zip(coded_tensors(model), coded_tensors(again), strict=True):
        np.testing.assert_array_equal(old.restore(), new.restore())


def test_the_state_dict_has_every_name_once() -> None:
    model = golden_model(preset=True)
    assert sorted(state_dict(model)) == sorted(state_names(model.header))


def test_write_and_read(tmp_path: Path) -> None:
    model, path = golden_model(preset=True), tmp_path / "a.sepnet"
    model.write(path)
    assert PackedModel.read(path) == model == PackedModel.read(str(path))
    assert path.stat().st_size == model.bytes


@pytest.mark.parametrize("name", ["missing.sepnet", ".", "broken.sepnet", "empty.sepnet"])
def test_errors_name_the_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.sepnet").write_bytes(golden_model(preset=True).to_bytes()[:-1])
    (tmp_path / "empty.sepnet").write_bytes(b"")
    with pytest.raises(FormatError, match=name):
        PackedModel.read(tmp_path / name)


def test_limits_are_the_callers() -> None:
    data = golden_model(preset=True).to_bytes()
    elements = sum(entry.elements for entry in golden_model(preset=True).header.tensors)
    PackedModel.from_bytes(data, Limits(elements=elements + 100))
    for limits in (Limits(elements=elements - 1), Limits(tensors=3), Limits(graph_bytes=10), Limits(header_bytes=10)):
        with pytest.raises(FormatError, match="limit"):
            PackedModel.from_bytes(data, limits)
