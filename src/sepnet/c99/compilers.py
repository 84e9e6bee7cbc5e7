"""Compilers, where there are any: how many bytes of code a generated program has, and a library of it for this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from sepnet.c99.program import Program
from sepnet.core.errors import OutputError, UsageError, brief

__all__ = ["TARGETS", "Sizes", "Target", "compile_library", "find_compiler", "has_lanes", "measure", "write_files"]

VECTORS = (("__AVX2__",), ("__aarch64__", "__ARM_NEON"))
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")


@dataclass(frozen=True)
class Target:
    """A processor that programs are compiled for: the prefix of its tools, and what they are told."""

    name: str
    tools: str
    flags: tuple[str, ...]


@dataclass(frozen=True)
class Sizes:
    """Bytes of flash and RAM by `size` of the object files: code with its small tables, weights, static memory."""

    code: int
    weights: int
    ram: int


TARGETS = (
    Target("Cortex-M4", "arm-none-eabi-", ("-mcpu=cortex-m4", "-mthumb")),
    Target("Cortex-M0+", "arm-none-eabi-", ("-mcpu=cortex-m0plus", "-mthumb")),
)


def measure(program: Program, target: Target, optimize: str = "-Os") -> Sizes | None:
    """What the compiler makes of a program; None where there is no such compiler."""
    if not shutil.which(f"{target.tools}gcc") or not shutil.which(f"{target.tools}size"):
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(program, folder)
        found = []
        for part in ("model", "model_weights"):
            _run([f"{target.tools}gcc", *STRICT, *target.flags, optimize, "-c", f"{part}.c", "-o", f"{part}.o"], folder)
            counted = _run([f"{target.tools}size", f"{part}.o"], folder)
            found.append([int(each) for each in counted.splitlines()[1].split()[:3]])
    (code, data, zeros), (weights, more, _) = found
    return Sizes(code, weights + more, data + zeros)


def find_compiler() -> list[str]:
    """$CC, gcc, cc or clang, the first that is here; [] for none.

    >>> isinstance(find_compiler(), list)
    True
    """
    chosen = os.environ.get("CC", "").split()
    return chosen or [name for name in ("gcc", "cc", "clang") if shutil.which(name)][:1]


def has_lanes() -> bool:
    """Whether programs for this machine have vectors: AVX2 or more of x86, NEON of 64-bit ARM."""
    compiler = find_compiler()
    if not compiler:
        return False
    try:
        defined = _run([*compiler, "-march=native", "-dM", "-E", "-x", "c", os.devnull], Path())
    except OutputError:  # another kind of compiler
        return False
    return any(all(f"#define {name} " in defined for name in names) for names in VECTORS)


def compile_library(program: Program, extra: str, folder: Path) -> Path:
    """A shared library of the program and of the C text `extra`, for this machine, as fast as its compiler can.

    Raises `UsageError` where there is no C compiler.
    """
    compiler = find_compiler()
    if not compiler:
        raise UsageError(
            "the runtime c99 compiles the network and found no C compiler; expected gcc, cc or clang, or $CC"
        )
    write_files(program, folder)
    (folder / "extra.c").write_text(extra)
    library = folder / "model.so"
    flags = ["-std=c99", "-O3", "-march=native", "-shared", "-fPIC"]
    _run([*compiler, *flags, "model.c", "model_weights.c", "extra.c", "-o", library.name], folder)
    return library


def write_files(program: Program, folder: Path) -> None:
    """The program's files into a folder of one's own."""
    for name, text in program.files.items():
        (folder / name).write_text(text)


def _run(command: list[str], folder: Path) -> str:
    try:
        ran = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    except OSError as error:
        raise UsageError(
            f"cannot run the C compiler {command[0]}: {error.strerror or error}; expected gcc, cc or clang, or $CC"
        ) from error
    if ran.returncode:
        reason = brief(ran.stderr) or f"exit status {ran.returncode}, no reason given"
        raise OutputError(f"{command[0]} does not compile the network: {reason}")
    return ran.stdout
