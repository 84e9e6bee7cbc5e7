"""Files are written whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from pathlib import Path

import pytest

from sepnet.core.errors import OutputError, UsageError
from sepnet.core.files import check_paths, check_writable, replacing, write_bytes, write_folder


def test_it_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_mode_is_that_of_any_new_file(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == stat.S_IMODE((tmp_path / "b").stat().st_mode)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    expected = OutputError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), replacing(path) as temporary:
        temporary.write_bytes(b"half")
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace", "chmod"])
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "a"
    path.write_bytes(b"old")
    monkeypatch.setattr(os, call, full)
    with pytest.raises(
        OutputError, match=r"cannot write .*a: No space left on device; what was there before is intact"
    ):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path, words in (
        (tmp_path, "it is a folder; give a file name"),
        (tmp_path / "missing" / "a", "missing does not exist; make it first"),
        (tmp_path / "file" / "a", "file does not exist; make it first"),
        (Path("/dev/null"), "it is no regular file"),
    ):
        with pytest.raises(OutputError, match=words):
            check_writable(path)
        with pytest.raises(OutputError, match=words):
            write_bytes(path, b"x")
    assert not stat.S_ISREG(os.stat("/dev/null").st_mode)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    for path, mode in ((tmp_path / "a", 0o444), (tmp_path, 0o555)):
        path.chmod(mode)
        with pytest.raises(OutputError, match="no permission"):
            write_bytes(tmp_path / "a", b"x")
        path.chmod(0o755)
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_folder_that_refuses_the_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    with pytest.raises(OutputError, match="Read-only file system"):
        write_bytes(tmp_path / "a", b"x")


def test_long_names(tmp_path: Path) -> None:
    write_bytes(tmp_path / ("a" * 255), b"x")
    with pytest.raises(OutputError, match="File name too long"):
        write_bytes(tmp_path / ("a" * 256), b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["a" * 255]


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_folder(tmp_path / "new", {"a": b"1", "b": b"2"})
    write_folder(tmp_path / "new", {"a": b"3"})
    assert {each.name: each.read_bytes() for each in (tmp_path / "new").iterdir()} == {"a": b"3", "b": b"2"}
    with pytest.raises(OutputError):
        write_folder(tmp_path / "other", {"a": b"1", "b/c": b"2"})
    assert [each.name for each in tmp_path.iterdir()] == ["new"]


@pytest.mark.parametrize("writes, folder", [({"-o": Path("a"), "--log": Path("-")}, None), ({"-o": None}, Path("-"))])
def test_the_standard_output_is_no_path(writes: dict[str, Path | None], folder: Path | None) -> None:
    with pytest.raises(UsageError, match="found - as what to write; expected a path"):
        check_paths({"FILE": None}, writes, folder)
