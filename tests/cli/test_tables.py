"""Tables of networks whose names are long: they stay as wide as the terminal, and JSON has the names whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table

from sepnet.cli.terminal import cut, table

onnx = pytest.importorskip("onnx")
LONG = "StatefulPartitionedCall/" + "block/" * 46  # as of TensorFlow's converters, 300 letters


def printed(rows: Table, width: int, terminal: bool) -> list[str]:
    target = io.StringIO()
    Console(file=target, width=width, force_terminal=terminal, markup=False, color_system=None).print(rows)
    return [line.rstrip() for line in target.getvalue().splitlines()]


def rows_of(name: str) -> Table:
    rows = table("", ["tensor", "shape"], ["bytes"])
    rows.add_row(f"{name}.weight", "8x3x3x3", "1,234,567")
    rows.add_row("short", "8", "9", style="bold")
    return rows


@pytest.mark.parametrize("width", [40, 80, 200])
def test_a_row_is_a_line_as_wide_as_the_terminal(width: int) -> None:
    lines = printed(rows_of(LONG), width, True)
    assert len(lines) == 3 and max(map(len, lines)) <= width
    assert lines[1].startswith("Stateful") and "…" in lines[1] and ".weight " in lines[1]
    assert lines[1].endswith("1,234,567") and lines[2].startswith("short ")


def test_off_a_terminal_names_of_a_hundred_letters_are_whole() -> None:
    name = LONG[:90]
    assert f"{name}.weight" in printed(rows_of(name), 400, False)[1]
    assert max(map(len, printed(rows_of(LONG), 400, False))) < 140


def test_prose_goes_on_in_the_next_line() -> None:
    rows = table("", ["network", "reason"], [], prose=["reason"])
    rows.add_row("lenet", "because " * 20)
    lines = printed(rows, 40, True)
    assert len(lines) > 3 and "…" not in "".join(lines)


def test_both_ends_of_a_name_are_shown() -> None:
    assert cut("abcdefghij", 5) == "ab…ij" and cut("abcdefghij", 6) == "abc…ij" and cut("abc", 3) == "abc"


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A layer and ends of long names."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(f"{LONG}:{at}", kind, ["n", 20]) for at in range(2)]
    weight = onnx.numpy_helper.from_array(np.eye(20, dtype=np.float32), f"{LONG}.weight")
    node = helper.make_node("Gemm", [ends[0].name, weight.name], [ends[1].name], name=LONG)
    graph = helper.make_graph([node], "g", [ends[0]], [ends[1]], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


def test_no_command_prints_long_lines(run: Any, network: Path, tmp_path: Path) -> None:
    packed = tmp_path / "net.sepnet"
    for command in (
        ("inspect", network),
        ("pack", network, "-o", packed),
        ("info", packed),
        ("export", packed, "--to", "onnx", "-o", tmp_path / "out.onnx"),
        ("bench", packed, "--batch", 1, "--seconds", 0.01),
    ):
        ran = run(*command)
        assert ran.code == 0, ran.err
        assert max(map(len, ran.out.splitlines())) < 250, ran.out
    assert LONG in run("info", packed, "--json").out and LONG in run("inspect", network, "--json").out
