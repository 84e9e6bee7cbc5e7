"""How commands read data sets: a terminal shows what is being read as long as it takes."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from rich.text import Text

from sepnet.cli import terminal
from sepnet.core.dataset import Dataset
from sepnet.core.examples import Arrays

__all__ = ["read_calibration", "read_dataset"]


def read_dataset(spec: str, data_dir: Path | None) -> Dataset:
    """The data set of an option such as --data."""
    from sepnet.datasets import load

    what = Text(f"reading {terminal.plain(spec)}")
    with terminal.console(sys.stderr).status(what) if terminal.is_live() else contextlib.nullcontext():
        return load(spec, data_dir)


def read_calibration(spec: str, data_dir: Path | None) -> Dataset | Arrays:
    """What an option --calibrate names: a data set, or a file of arrays."""
    from sepnet.datasets.arrays import is_array_file, load_arrays

    return load_arrays(spec) if is_array_file(spec) else read_dataset(spec, data_dir)
