"""docs/networks.md lists the whole catalogue with its arguments and defaults, docs/data.md the options of the data sets."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from sepnet.datasets import DATASETS
from sepnet.networks import NETWORKS, build

DOCS = Path(__file__).parents[2] / "docs"


def rows(page: str) -> list[list[str]]:
    """Cells of the rows of all tables."""
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_is_listed_with_its_arguments(name: str) -> None:
    (row,) = [row for row in rows("networks.md") if len(row) == 5 and f"`{name}`" in row[1]]
    arguments = dict(inspect.signature(NETWORKS[name]).parameters)
    size = arguments.pop("image_size", None)
    common = [str(arguments.pop(key).default) for key in ("num_classes", "in_channels")]
    common.append("any" if size is None else str(size.default or build(name).input_shape[1]))
    assert re.match(", ".join(common) + r"\b", row[2]), row[2]
    dropout = arguments.pop("dropout", None)
    assert row[3] == ("" if dropout is None else f"{dropout.default:g}")
    for argument, parameter in arguments.items():
        assert f"`{argument}`" in row[4]
        if parameter.default is not None and "likewise" not in row[4]:
            default = f"{parameter.default:g}" if isinstance(parameter.default, float) else parameter.default
            assert f"({default})" in row[4].replace("`", "")


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "folder"])
def test_every_option_of_a_data_set_is_listed(name: str) -> None:
    at, listed = "", {}
    for row in rows("data.md"):
        if len(row) == 4:
            at = row[0] or at
            listed[at, row[1].strip("`")] = row[2].strip("`")
    for option, parameter in inspect.signature(DATASETS[name]).parameters.items():
        if option != "data_dir":
            assert listed[f"`{name}`", option] == str(parameter.default)


def test_every_option_of_folder_is_listed() -> None:
    listed = {row[0].strip("`") for row in rows("data.md") if len(row) == 3}
    assert set(inspect.signature(DATASETS["folder"]).parameters) - {"path"} <= listed
