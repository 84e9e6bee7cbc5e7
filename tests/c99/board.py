"""Runs generated programs on a Cortex-M board in QEMU, and counts instructions."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sepnet.c99.compilers import STRICT, Target, write_files
from sepnet.c99.program import Program

__all__ = ["BoardRun", "missing_tools", "run_on_board"]

BOARD = Path(__file__).parent / "board"
QEMU = ["qemu-system-arm", "-M", "mps2-an386", "-nographic", "-monitor", "none", "-serial", "none", "-semihosting"]
COUNTED = ["-icount", "shift=0"]
STUB = """#include "model.h"
static uint8_t none[MODEL_INPUT_BYTES];
uint8_t *model_input(void) { return none; }
void model_run(void) { }
int model_output(int at) { return at; }
"""


@dataclass(frozen=True)
class BoardRun:
    """What a board did.

    Attributes:
        outputs: a row an image.
        instructions: of one run, to within 40.
        stack: bytes that a run used of it.
        flash: bytes of the linked image less those of an image without a network.
        ram: static bytes, likewise.
    """

    outputs: list[list[int]]
    instructions: int
    stack: int
    flash: int
    ram: int


def missing_tools() -> str:
    """The tools that are not here, "" if all are."""
    return ", ".join(
        name for name in ("arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm") if not shutil.which(name)
    )


def run_on_board(
    program: Program, q: npt.NDArray[np.uint8], target: Target, folder: Path, optimize: str = "-O2"
) -> BoardRun:
    """Compile for a processor, link into a bare image with the inputs `q`, and run it; the board has a Cortex-M4."""
    write_files(program, folder)
    numbers = ",".join(map(str, q.transpose(0, 2, 3, 1).tobytes()))
    images = f"const int board_count = {len(q)};\nconst uint8_t board_images[] = {{{numbers}}};\n"
    (folder / "images.c").write_text(
        f'#include "model.h"\nextern const uint8_t board_images[];\nextern const int board_count;\n{images}'
    )
    (folder / "stub.c").write_text(STUB)
    whole = _link(target, optimize, folder, ["model.c", "model_weights.c"], "board.elf")
    empty = _link(target, optimize, folder, ["stub.c"], "empty.elf")
    ran = subprocess.run(
        [*QEMU, *COUNTED, "-kernel", "board.elf"], cwd=folder, capture_output=True, text=True, timeout=600
    )
    found: dict[str, list[int]] = {}
    for line in (ran.stdout + ran.stderr).splitlines():
        name, number = line.split()
        found.setdefault(name, []).append(int(number))
    outputs = np.array(found["output"]).reshape(len(q), -1).tolist()
    ram = whole[1] - empty[1] + int(np.prod(q.shape[1:]))
    return BoardRun(outputs, max(found["instructions"]), max(found["stack"]), whole[0] - empty[0], ram)


def _link(target: Target, optimize: str, folder: Path, parts: list[str], name: str) -> tuple[int, int]:
    """Bytes of flash and of static RAM."""
    flags = [*target.flags, optimize, "-ffunction-sections", "-fdata-sections"]
    objects = []
    for part in parts:
        strict = STRICT if part != "stub.c" else ()
        subprocess.run(["arm-none-eabi-gcc", *strict, *flags, "-c", part, "-o", f"{part}.o"], cwd=folder, check=True)
        objects.append(f"{part}.o")
    script = ["-nostartfiles", "--specs=nosys.specs", "-T", str(BOARD / "board.ld"), "-Wl,--gc-sections"]
    sources = [str(BOARD / "start.c"), "images.c", *objects]
    subprocess.run(["arm-none-eabi-gcc", *flags, "-I.", *script, *sources, "-o", name], cwd=folder, check=True)
    counted = subprocess.run(["arm-none-eabi-size", name], cwd=folder, check=True, capture_output=True, text=True)
    text, data, zeros = (int(each) for each in counted.stdout.splitlines()[1].split()[:3])
    return text + data, data + zeros
