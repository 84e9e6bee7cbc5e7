"""Frozen bytes: what was written once is written the same, and read, for ever."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fitting import GENERAL

from sepnet.codecs import CODECS, find

GOLDEN: dict[str, Any] = json.loads(Path(__file__).with_name("golden_payloads.json").read_text(encoding="utf-8"))
CASES = [(sample, name) for sample, golden in GOLDEN.items() for name in golden["payloads"]]


@pytest.mark.parametrize(("sample", "name"), CASES)
def test_golden_payload(sample: str, name: str) -> None:
    golden = GOLDEN[sample]
    codes = np.array(golden["codes"], dtype=np.int64).reshape(golden["shape"])
    data = bytes.fromhex(golden["payloads"][name])
    np.testing.assert_array_equal(find(name).decode(data, codes.shape), codes)
    assert find(name).encode(codes).hex() == data.hex()


def test_the_worked_example_of_the_specification() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "codecs.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z_:0-9]+)` \| `([0-9a-f]+)` \|$", page, flags=re.MULTILINE))
    codes = np.array([0, 3, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2])
    assert set(CODECS) - {"kernels_ab1", "kernels_ab1+"} < set(rows)
    for name, payload in rows.items():
        assert find(name).encode(codes).hex() == payload
        np.testing.assert_array_equal(find(name).decode(bytes.fromhex(payload), (16,)), codes)


def test_every_codec_has_golden_payloads() -> None:
    assert all({*GENERAL, "ab1", "mx1"} - set(golden["payloads"]) <= {"ab1", "mx1"} for golden in GOLDEN.values())
    assert {"ab1", "mx1"} <= set(GOLDEN["sparse"]["payloads"])
    assert set(CODECS) <= set(GOLDEN["patterns"]["payloads"])
