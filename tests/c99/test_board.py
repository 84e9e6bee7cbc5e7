"""On Cortex-M in QEMU: the same outputs, and the bytes that were promised; RISC-V compiles."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from board import BOARD, missing_tools, run_on_board
from small_networks import NETWORKS, images, integer

from sepnet.c99.compilers import STRICT, TARGETS, Target, measure, write_files
from sepnet.c99.program import generate
from sepnet.core.packed_model import PackedModel
from sepnet.integer.reference import quantize, run

ROOT = Path(__file__).parents[2]
needs_board = pytest.mark.skipif(bool(missing_tools()), reason=f"needs {missing_tools()}")
RISCV = "riscv64-unknown-elf-gcc"


@needs_board
@pytest.mark.slow
@pytest.mark.parametrize("optimize", ["-O0", "-Os", "-O3"])
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("name", NETWORKS)
def test_small_networks(name: str, target: Target, optimize: str, tmp_path: Path) -> None:
    model = integer(NETWORKS[name]())
    q = quantize(model.values[model.input], images(2) * 3)
    found = run_on_board(generate(model), q, target, tmp_path, optimize)
    assert found.outputs == run(model, q).reshape(len(q), -1).tolist()


@needs_board
@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize(
    ("file", "most_flash", "most_ram", "most_instructions"),
    [
        ("lenet5-mnist", {"Cortex-M4": 30 << 10, "Cortex-M0+": 30 << 10}, 8 << 10, {"Cortex-M4": 3.2e6, "Cortex-M0+": 4.6e6}),
        ("resnet20-cifar10-pattern", {"Cortex-M4": 50 << 10, "Cortex-M0+": 50 << 10}, 26 << 10, {"Cortex-M4": 30e6, "Cortex-M0+": 50e6}),
    ],
)  # fmt: skip
def test_figures(
    file: str,
    most_flash: dict[str, int],
    most_ram: int,
    most_instructions: dict[str, float],
    target: Target,
    tmp_path: Path,
) -> None:
    packed = PackedModel.read(ROOT / "zoo" / f"{file}.sepnet")
    model = integer(packed)
    program = generate(model)
    q = quantize(model.values[model.input], images(1, model.values[model.input].shape))
    found = run_on_board(program, q, target, tmp_path)
    assert found.outputs == run(model, q).reshape(len(q), -1).tolist()
    assert found.flash <= most_flash[target.name]
    assert found.ram + found.stack <= most_ram
    assert found.instructions <= most_instructions[target.name]


@needs_board
def test_bytes_are_those_of_the_linker() -> None:
    program = generate(integer(NETWORKS["forms"]()))
    sizes = measure(program, TARGETS[0])
    assert sizes is not None
    assert (sizes.weights, sizes.ram) == (program.weight_bytes, program.ram_bytes)


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which(RISCV), reason=f"needs {RISCV}")
@pytest.mark.parametrize("name", NETWORKS)
def test_riscv_compiles(name: str, tmp_path: Path) -> None:
    write_files(generate(integer(NETWORKS[name]())), tmp_path)
    flags = ["-march=rv32imac", "-mabi=ilp32", "-ffreestanding", "-isystem", str(BOARD / "include"), "-Os"]
    for part in ("model.c", "model_weights.c"):
        subprocess.run([RISCV, *STRICT, *flags, "-c", part, "-o", "part.o"], cwd=tmp_path, check=True)
