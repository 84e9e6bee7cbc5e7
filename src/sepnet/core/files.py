"""Writing files so that nothing half-written is left behind, and nothing old is lost."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from sepnet.core.errors import OutputError, UsageError

__all__ = ["check_folder", "check_paths", "check_writable", "replacing", "write_bytes", "write_folder"]


def check_paths(
    reads: Mapping[str, Path | None], writes: Mapping[str, Path | None], folder: Path | None = None
) -> None:
    """Before any work: every output can be written, and none is the same file as an input or as another output.

    Args:
        reads, writes: paths by what the user calls them ("--weights"); None for what is not given.  Links are followed.
        folder: made later if it is not there, so outputs in it may be in a folder that does not exist.

    Raises:
        UsageError: two names of one file, or an output called `-`.  OutputError: a path that cannot be written, and why.

    >>> check_paths({"FILE": Path("a.sepnet")}, {"-o": Path("./a.sepnet")})
    Traceback (most recent call last):
    ...
    sepnet.core.errors.UsageError: FILE and -o are both a.sepnet; expected different files, so that nothing is lost
    """
    if Path("-") in (*writes.values(), folder):
        raise UsageError("found - as what to write; expected a path: nothing is written to the standard output")
    inputs = [(name, path) for name, path in reads.items() if path is not None]
    outputs = [(name, path) for name, path in writes.items() if path is not None]
    for at, (name, path) in enumerate(outputs):
        for other, taken in (*inputs, *outputs[:at]):
            if _same(path, taken):
                raise UsageError(
                    f"{other} and {name} are both {path}; expected different files, so that nothing is lost"
                )
    if folder is not None:
        check_folder(folder)
    for _, path in outputs:
        if folder is None or folder.is_dir() or path.parent != folder:
            check_writable(path)


def _same(first: Path, second: Path) -> bool:
    """Whether two paths lead to one file, be it there or not."""
    try:
        return os.path.realpath(first) == os.path.realpath(second) or os.path.samefile(first, second)
    except OSError:
        return False


def check_folder(folder: Path) -> None:
    """Raise `OutputError` unless `folder` is one to write into, or can be made because its parent is there."""
    if folder.is_dir():
        check_writable(folder / "file")
    elif os.path.lexists(folder):
        raise OutputError(f"cannot write into {folder}: it is no folder")
    else:
        check_writable(folder)


def check_writable(path: Path) -> None:
    """Raise `OutputError` now, before hours of work, if `path` could not be written later."""
    folder = path.parent
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = stat.S_IFREG
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}") from error
    if stat.S_ISDIR(mode):
        raise OutputError(f"cannot write {path}: it is a folder; give a file name")
    if not stat.S_ISREG(mode):
        raise OutputError(f"cannot write {path}: it is no regular file")
    if not folder.is_dir():
        raise OutputError(f"cannot write {path}: the folder {folder} does not exist; make it first")
    if not os.access(folder, os.W_OK) or (path.exists() and not os.access(path, os.W_OK)):
        raise OutputError(f"cannot write {path}: no permission to write there")


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed when it does not.

    >>> import tempfile, pathlib
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with replacing(pathlib.Path(folder) / "a.txt") as temporary:
    ...         _ = temporary.write_text("whole")
    ...     (pathlib.Path(folder) / "a.txt").read_text()
    'whole'
    """
    target = Path(path)
    check_writable(target)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
        temporary = Path(name)
        os.close(handle)
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)
        os.replace(temporary, target)
    except OSError as error:
        raise OutputError(
            f"cannot write {target}: {error.strerror or error}; what was there before is intact"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike[str], data: bytes) -> None:
    """Write `data` to `path` whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_folder(path: str | os.PathLike[str], files: Mapping[str, bytes]) -> None:
    """Write files into a folder: a new folder whole or not at all, into one that is there file by file."""
    target = Path(path)
    check_folder(target)
    if target.is_dir():
        for name, data in files.items():
            write_bytes(target / name, data)
        return
    try:
        with tempfile.TemporaryDirectory(
            dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part"
        ) as temporary:
            made = Path(temporary) / "folder"
            made.mkdir()
            for name, data in files.items():
                write_bytes(made / name, data)
            os.rename(made, target)
    except OSError as error:
        raise OutputError(f"cannot write {target}: {error.strerror or error}") from error
