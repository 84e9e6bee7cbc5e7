"""Generated C equals the reference bit for bit, and takes the bytes that were promised."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from small_networks import NETWORKS, images, integer

from sepnet.c99.program import Program, generate
from sepnet.core.packed_model import PackedModel
from sepnet.integer.model import IntegerModel
from sepnet.integer.reference import quantize, run

ROOT = Path(__file__).parents[2]
SANITIZED = "-O1 -fsanitize=address,undefined -fno-sanitize-recover"
needs_compiler = pytest.mark.skipif(not shutil.which("gcc") or not shutil.which("make"), reason="needs gcc and make")


def write(program: Program, folder: Path) -> None:
    """Its files."""
    for name, text in program.files.items():
        (folder / name).write_text(text)


def demo(model: IntegerModel, q: npt.NDArray[np.uint8], folder: Path, flags: str) -> list[list[int]]:
    """What the compiled demo prints for each image."""
    write(generate(model), folder)
    subprocess.run(["make", "-s", "-C", str(folder), "CC=gcc", f"CFLAGS={flags}"], check=True)
    ran = subprocess.run([folder / "demo"], input=q.transpose(0, 2, 3, 1).tobytes(), capture_output=True, check=True)
    assert not ran.stderr
    return [[int(number) for number in line.split(b":")[1].split()] for line in ran.stdout.splitlines()]


@needs_compiler
@pytest.mark.parametrize("name", NETWORKS)
def test_equals_the_reference(name: str, tmp_path: Path) -> None:
    model = integer(NETWORKS[name]())
    q = quantize(model.values[model.input], images(3) * 3)
    assert demo(model, q, tmp_path, SANITIZED) == run(model, q).reshape(len(q), -1).tolist()


@needs_compiler
def test_lenet5(tmp_path: Path) -> None:
    model = integer(PackedModel.read(ROOT / "zoo" / "lenet5-mnist.sepnet"))
    q = quantize(model.values[model.input], images(5, (1, 28, 28)) * 2)
    assert demo(model, q, tmp_path, "-O1") == run(model, q).reshape(len(q), -1).tolist()
    assert generate(model).weight_bytes < 7_500
