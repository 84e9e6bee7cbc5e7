"""Files of arrays: what is read, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sepnet.core.errors import DataError
from sepnet.datasets.arrays import arrays_of, load_arrays


def test_npz_has_names_and_npy_has_none(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=np.arange(3), **{"serving:0": np.zeros((2, 2))})
    np.save(tmp_path / "f.npy", np.ones((2, 3)))
    found = load_arrays(tmp_path / "f.npz")
    assert found.name == "f.npz" and sorted(found.arrays) == ["serving:0", "x"]
    assert load_arrays(tmp_path / "f.npy").arrays[""].shape == (2, 3)


@pytest.mark.parametrize("name", ["f.npz", "f.npy"])
@pytest.mark.parametrize("data", [b"", b"PK\3\4 no archive", b"\x93NUMPY\1\0\xff\xff{", b"text\n", b"\x80\4."])
def test_damaged_files_are_refused(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=f"{name} is no file of arrays of numbers"):
        load_arrays(tmp_path / name)


def test_a_truncated_archive_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "f.npz", x=np.arange(1000))
    whole = (tmp_path / "f.npz").read_bytes()
    (tmp_path / "f.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="no file of arrays"):
        load_arrays(tmp_path / "f.npz")


def test_what_is_no_numbers_is_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", x=np.array([{}], object))
    np.savez(tmp_path / "texts.npz", x=np.array(["a"]))
    with pytest.raises(DataError, match="no file of arrays of numbers"):
        load_arrays(tmp_path / "objects.npz")
    with pytest.raises(DataError, match=r"texts\.npz: x is of type <U1; expected numbers"):
        load_arrays(tmp_path / "texts.npz")
    with pytest.raises(DataError, match=r"cannot read .*missing.npz: No such file"):
        load_arrays(tmp_path / "missing.npz")
    with pytest.raises(DataError, match="cannot read"):
        (tmp_path / "folder.npz").mkdir()
        load_arrays(tmp_path / "folder.npz")
    with pytest.raises(DataError, match="arrays: x is no array"):
        arrays_of({"x": [[1], [2, 3]]})
