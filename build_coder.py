"""Compile the adaptive coder while sepnet is installed; without a C compiler its Python twin does the work."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FOLDER = Path(__file__).parent / "src" / "sepnet" / "codecs" / "adaptive"
LIBRARY = FOLDER / f"_adaptive.{ {'win32': 'dll', 'darwin': 'dylib'}.get(sys.platform, 'so') }"
FLAGS = ("-O3", "-std=c11", "-shared", "-fPIC", "-DSEPNET_FAST", "-DSEPNET_WRITER")


class CustomBuildHook(BuildHookInterface):
    """Puts the compiled coder beside its source, and into wheels, which are then of this platform only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, or say why not."""
        if self.target_name != "wheel":
            return
        compiler = find_compiler()
        if compiler is None:
            self.app.display_warning("no C compiler found (set CC): packing and reading will be slow")
            return
        part = LIBRARY.with_name(f"{LIBRARY.name}.{os.getpid()}.part")
        done = subprocess.run(
            [*compiler, *FLAGS, "-o", str(part), str(FOLDER / "adaptive.c")], capture_output=True, text=True
        )
        if done.returncode:
            self.app.display_warning(
                f"the coder does not compile, packing and reading will be slow: {done.stderr[:500]}"
            )
            return
        os.replace(part, LIBRARY)
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append(f"/{LIBRARY.relative_to(Path(__file__).parent).as_posix()}")


def find_compiler() -> list[str] | None:
    """The command of $CC, or the first C compiler that is installed."""
    if os.environ.get("CC"):
        return shlex.split(os.environ["CC"])
    found = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    return [found] if found else None
